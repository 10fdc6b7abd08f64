/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a view is made of; for the files in this folder only.
 *
 *	room	a catalog in its place, below the slot that owns it (the root's or a package's)
 *	slot	a node number's upper half: an entry of a skeleton room
 *	place	where a slot stands as of a flip: an entry in a room, and the room behind it
 *
 *	slot ──place──▶ (holder room, entry index)
 *	      └───────▶ room behind it, of a package ──owner──▶ slot
 *
 * A flip gives each slot that stays a new place, in a new room, and then makes them count all at
 * once by its number. Whoever reads follows pointers read with atomic_load() within an epoch. Who
 * writes holds view.lock; what is unhooked is freed an epoch later.
 *
 * What keeps what: a place its holder and the room behind it (room.refs); everything that stands
 * in a room, the slot that owns the room (slot.pins); a superseded room the slots that went on
 * from it, as its table still names them (slot.pins). A slot that is superseded goes when it has
 * no pins and the kernel remembers it no more.
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/view/view.h"

#include <stdatomic.h>

#define SLOT_PAGE_SIZE 1024
#define SLOT_PAGES     16384 /* sixteen million */
#define SLOT_NONE      UINT32_MAX

/* A catalog that was in this place before; listings may have begun in it. */
struct view_past {
	uint64_t since;
	const struct catalog *catalog; /* a reference */
};

struct view_room {
	struct view_slot *owner;
	struct catalog *catalog;	    /* a reference */
	uint64_t since;			    /* the flip that put it here */
	uint64_t revision;		    /* the root's: what the view shows */
	_Atomic(struct view_slot *) *slots; /* by entry, NULL: not seen; NULL in a leaf */
	/* a leaf's entries that were opened, a bit each; NULL: none was */
	_Atomic(atomic_uint_fast64_t *) opened;
	atomic_bool is_note_lost; /* one of them, for want of memory */
	struct view_past *past;	  /* the newest first */
	unsigned int past_count;
	unsigned int refs; /* view.lock */

	/* a walk through the nested catalogs, by their number in this one; view.lock */
	uint32_t walk_at;
	uint32_t walk_end; /* those below are asked for */
	uint32_t walk_window;
};

struct view_place {
	struct view_place *older; /* counts until the flip `since`; set before it */
	uint64_t since;
	struct view_room *holder;	  /* NULL: the root's */
	uint32_t index;			  /* of the entry in it */
	unsigned int refs;		  /* the slot's, a fetch's; view.lock */
	_Atomic(struct view_room *) room; /* behind it: NULL until it is entered */
	atomic_bool was_entered;
	struct catalog_fetch *fetch; /* under way; view.lock */
	struct waiter *waiters;	     /* view.lock */
};

struct view_slot {
	uint32_t number;
	uint32_t generation;
	_Atomic(struct view_place *) place;
	atomic_uint_fast64_t lookups; /* that the kernel remembers */
	atomic_bool is_superseded;    /* no name of the view leads here any more */
	/* a name below may have come into the kernel's cache since they were listed last */
	atomic_bool has_unlisted;
	unsigned int pins;	   /* view.lock, as all below */
	struct view_place *coming; /* while a flip is built */
	struct view_slot *prev;	   /* among the superseded */
	struct view_slot *next;
};

struct view_cell {
	_Atomic(struct view_slot *) slot;
	uint32_t generation; /* view.lock, both */
	uint32_t next_free;
};

struct view {
	struct view_config config;
	_Atomic(struct view_cell *) pages[SLOT_PAGES];
	struct view_slot *root;
	atomic_uint_fast64_t flip; /* places of this number and below count */

	struct mutex flip_lock; /* one flip or reaping at a time; before `lock` */
	struct mutex lock;
	uint32_t cell_count; /* lock, all below */
	uint32_t free_cell;
	struct view_slot *superseded;
	struct view_usage usage;
	bool is_ending;
};

static inline uint64_t slot_node_id(const struct view_slot *slot, uint32_t index)
{
	return ((uint64_t)slot->number << 32) + index + 1;
}

struct view_slot *slot_at(const struct view *view, uint32_t number);

/* Where the slot stands for those who ask now. */
struct view_place *slot_place(const struct view *view, const struct view_slot *slot);

/* What names the catalog behind a package's place (or the root's first one). */
struct catalog_ref place_ref(const struct view *view, const struct view_place *place);

/* All below: view.lock held. */

/* A place in `holder` (NULL: the root's). NULL when memory is short. */
struct view_place *place_new(
	struct view_room *holder, uint32_t index, uint64_t since) WARN_UNUSED;
void place_unref(struct view *view, struct view_place *place) REQUIRES(view->lock);

/* A slot with its place, a number and no lookups. */
int slot_new(struct view *view, struct view_room *holder, uint32_t index,
	struct view_slot **out) REQUIRES(view->lock) WARN_UNUSED;

/* A hidden one is not found by its number, and must be hidden to be freed. */
void slot_hide(struct view *view, struct view_slot *slot, bool is_hidden)
	REQUIRES(view->lock);
void slot_free(struct view *view, struct view_slot *slot) REQUIRES(view->lock);

/* Notes that no name of the view leads here any more. */
void slot_supersede(struct view *view, struct view_slot *slot) REQUIRES(view->lock);

/* A room for the catalog, whose reference it takes over on success, with no reference yet. */
struct view_room *room_new(struct view *view, struct view_slot *owner,
	struct catalog *catalog, uint64_t since) REQUIRES(view->lock) WARN_UNUSED;
void room_ref(struct view_room *room);
void room_unref(struct view *view, struct view_room *room) REQUIRES(view->lock);
void room_free(struct view *view, struct view_room *room) REQUIRES(view->lock);

/* The slot of entry `index`, made when first seen by one who came through slot `via`. 0, -ENOMEM or
 * -ERESTART; takes view.lock itself when it must. */
int room_slot(struct view *view, struct view_room *room, uint32_t index,
	const struct view_slot *via, struct view_slot **out) WARN_UNUSED;

/* view_fetch.c: the room behind a place, as view_enter(); -ERESTART when the place counts no more. */
int place_room(struct view *view, struct view_slot *slot, struct view_place *place,
	struct waiter *w, struct view_room **out) WARN_UNUSED;

/* Begins to fetch its catalog ahead of a walk. */
void place_fetch_ahead(
	struct view *view, struct view_slot *slot, struct view_place *place);

/* view_walk.c: the package behind `place` is entered for the first time. */
void walk_ahead(struct view *view, const struct view_place *place);
