/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The stack of a plan's walk: a level is a directory that exists on one side or on both, a frame is
 * a catalog in the making. The levels below a nested catalog's top feed the frame that was begun
 * with it; those without a frame are only listed, because their catalog stands or goes as a whole.
 * For sync/reconcile/plan/plan_walk.c and plan_level.c only.
 *
 *	r = level_push(walk, &filled);			(or one of its kinds)
 *	while (level_next(walk->top, &o, &n)) ...	(what is below is pushed)
 *	r = level_pop(walk);				(its frame becomes a catalog)
 */
#pragma once

#include "cache/base/data/buffer.h"
#include "sync/reconcile/plan/plan_state.h"

/* The children of a directory on one side. */
struct side {
	const struct catalog *c; /* NULL: none */
	uint32_t at;
	uint32_t end;
	uint64_t revision;
	bool is_stale;
};

struct frame {
	struct compose *compose;
	bool is_of_new;	  /* its base is the new side's catalog, else the old one's */
	bool is_verbatim; /* all of the base so far, and nothing else */
	bool has_base;
	struct catalog_nested base;
	uint64_t revision; /* of its place */
};

struct level {
	struct level *up;
	struct plan_item o; /* the directory itself */
	struct plan_item n;
	struct side old;
	struct side new;
	struct frame *frame;   /* NULL: only listed */
	uint32_t handle;       /* of the directory there */
	uint32_t handle_above; /* where a frame begins: in the frame above */
	size_t path_length;
	size_t held; /* catalogs that were open before */
	int64_t more_links;
	uint32_t package;
	bool begins_frame;
	bool has_new; /* of the new side something selected was taken, here or below */
	bool is_selected;
	bool is_of_new;	   /* the directory's attributes are the new side's */
	bool is_tentative; /* is there only if something selected is below */
	bool is_removed;   /* with all that is below */
};

struct walk {
	const struct plan_config *config;
	const struct selection *selection;
	struct catalog_loader *loader;
	struct plan *plan;
	struct level *top;
	struct buffer path; /* of what is visited, a NUL behind it */
	size_t path_length;
	struct catalog **held;
	size_t held_count;
	size_t held_capacity;
	struct catalog_nested result; /* of the root */
};

bool plan_item_is_dir(const struct plan_item *i);

/* NULL: it is none, or hangs on no catalog of its own. */
const struct catalog_nested *plan_item_nested(const struct plan_item *i);
bool plan_is_same_catalog(const struct catalog_nested *a, const struct catalog_nested *b);

/* The path of what is visited. */
const char *walk_path(const struct walk *w);
int walk_set_path(
	struct walk *w, size_t parent, const char *name, size_t len) WARN_UNUSED;

/* Opens a catalog that is closed with the level that it was opened for, or with its frame. */
int walk_hold(struct walk *w, const struct catalog_ref *ref,
	const struct catalog **out) WARN_UNUSED;
void walk_close_held(struct walk *w, size_t mark);

int frame_new(const struct walk *w, const struct plan_item *top,
	struct frame **out) WARN_UNUSED;
void frame_free(struct frame *f);

/* Adds an entry to the frame, if there is one. */
int level_emit(struct level *l, const struct plan_item *item, bool is_stale,
	uint32_t *out_handle) WARN_UNUSED;

/* Hangs a catalog on the directory that was emitted. */
int level_attach(struct level *l, uint32_t handle, const struct plan_item *o,
	const struct plan_item *n, const struct catalog_nested *values, uint64_t revision,
	bool is_stale) WARN_UNUSED;

/* Which side's directory the level's directory was taken from: of a child's two the base's. */
const struct plan_item *level_base(
	const struct level *l, const struct plan_item *o, const struct plan_item *n);

/* What the directory's link count must be corrected by. */
void level_count_links(
	struct level *l, const struct plan_item *base, bool is_emitted_dir);

/* Puts a level on the stack and opens its sides; `l` was filled but for what follows from the
 * level above. */
int level_push(struct walk *w, const struct level *filled) WARN_UNUSED;

/* A level that lists what is below a directory; nested ones count as packages of their own. */
int level_push_listed(struct walk *w, const struct level *above,
	const struct plan_item *o, const struct plan_item *n,
	bool is_removed) WARN_UNUSED;

/* A level whose entries go where its directory went. */
int level_push_plain(struct walk *w, const struct level *above, uint32_t handle,
	const struct plan_item *o, const struct plan_item *n,
	bool is_selected) WARN_UNUSED;

/* A level that begins a catalog of its own. */
int level_push_frame(struct walk *w, uint32_t handle, const struct plan_item *o,
	const struct plan_item *n, bool is_selected) WARN_UNUSED;

/* The next name of the level, on one side or both; false at its end. */
bool level_next(struct level *l, struct plan_item *o, struct plan_item *n);

/* Ends the level on top of the stack, and its frame, if it began one. */
int level_pop(struct walk *w) WARN_UNUSED;

/* Takes it off the stack unfinished. */
void level_drop(struct walk *w, struct level *l);
