/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The tree a mirror shows: catalogs hung below each other, and how it is replaced by another.
 *
 * A node's number is (slot, entry index + 1). The entries of a leaf catalog, which names no
 * others, share the slot of the package they are in. A catalog that names others (the skeleton)
 * changes with every revision, so each of its entries has a slot of its own with one node, number
 * (slot, 1), which stays while the path stays the same kind of thing. The root is always
 * skeleton. docs/reconciler.md ("Flip") has the rules.
 *
 *	r = view_new(&config, &view);
 *	r = view_load(view);
 *	AUTO_EPOCH token = epoch_enter();
 *	r = view_resolve(view, VIEW_ROOT, &node);
 *	r = view_enter(view, &node, &dir, &waiter);	(may need the network: -EINPROGRESS)
 *	r = view_child(view, &dir, index, &child);
 *	view_note_names(&dir);				(likewise its name)
 *	view_remember(&child);				(it is about to be told to the kernel)
 *	...
 *	view_forget(view, child.id, 1);
 *	view_free(view);
 *
 * Nodes and directories are good until the end of the epoch (cache/base/threads/epoch.h) in which they
 * were found. Any thread; finding what was seen before takes no lock and allocates nothing.
 */
#pragma once

#include "cache/catalog/catalog.h"
#include "cache/catalog/catalog_store.h"
#include "cache/source.h"
#include "cache/view/view_changes.h"
#include "cache/waiter.h"

#include <stdbool.h>
#include <stdint.h>

/* As FUSE wants it. */
#define VIEW_ROOT UINT64_C(1)

struct view;
struct view_room;
struct view_slot;

struct view_node {
	const struct catalog *catalog; /* that holds the entry */
	const struct catalog_entry *entry;
	struct view_room *room; /* the place of that catalog */
	struct view_slot *slot; /* of the node: a package directory's own */
	uint32_t index;		/* of the entry in that catalog */
	uint32_t generation;	/* tells apart what had this number one after the other */
	uint64_t id;
};

/* A directory whose children are at hand. */
struct view_dir {
	const struct catalog *catalog;
	struct view_room *room;
	struct view_slot *slot; /* through which it was entered */
	uint32_t index;		/* of the directory in `catalog` */
};

struct view_config {
	struct catalog_store *catalogs;
	struct source *source; /* NULL: offline for good */
	struct catalog_ref root;
	uint64_t revision;
	int64_t fetch_deadline_ns; /* how long a catalog's fetch may be retried */
};

int view_new(const struct view_config *config, struct view **out) WARN_UNUSED;

/* Opens the root catalog, fetching it if need be: waits for that until the deadline, then
 * -ETIMEDOUT, else the reason. Before anything else is asked of the view; not in an epoch. */
int view_load(struct view *view) WARN_UNUSED;

/* Only when nobody uses a node or a catalog any more and the source has ended every request. */
void view_free(struct view *view);

/* Finds a node by number: 0 or -ESTALE for one that is not. */
int view_resolve(struct view *view, uint64_t id, struct view_node *out) WARN_UNUSED;

/* The directory behind a node: 0, -ENOTDIR, -EINPROGRESS when its catalog is being fetched
 * and `w` was queued (NULL: -EAGAIN instead, nothing is fetched), or why it could not be. */
int view_enter(struct view *view, const struct view_node *node, struct view_dir *out,
	struct waiter *w) WARN_UNUSED;

/* As view_enter() with what is on this machine: never fetches, nor makes a walk of it. -EAGAIN
 * when the catalog is not here. */
int view_enter_local(struct view *view, const struct view_node *node,
	struct view_dir *out) WARN_UNUSED;

/* The node of entry `index` of the directory's catalog. 0, -ENOMEM, or -ERESTART when a flip has
 * overtaken the caller, who resolves the directory again. A name of a hard-linked file gives
 * the node that all its names in the catalog share. */
int view_child(struct view *view, const struct view_dir *dir, uint32_t index,
	struct view_node *out) WARN_UNUSED;

/* Notes that the kernel is about to be told a name of the directory, before it is: who looks for
 * himself does not, or the kernel would be told to forget what it never knew. */
void view_note_names(const struct view_dir *dir);

/* The node of the directory that holds `node` (the root's is the root). Errors as view_child(). */
int view_parent(struct view *view, const struct view_node *node,
	struct view_node *out) WARN_UNUSED;

/* Where a listing goes on: a number that says "behind the first `listed` children", and the
 * index of the first child behind it. In the skeleton a flip may come between: then the number
 * means the name that was there, for the last VIEW_PAST flips of its catalog. */
#define VIEW_PAST 16
uint64_t view_cookie(const struct view_dir *dir, uint32_t listed);
uint32_t view_position(const struct view_dir *dir, uint64_t cookie);

/* The kernel is told of this node once more; it has forgotten it `count` times. What is superseded
 * lives as long as it is remembered. True: view_reap() has something to do. Both in an epoch: what
 * is forgotten may go at once. */
void view_remember(const struct view_node *node);
bool view_forget(struct view *view, uint64_t id, uint64_t count);

/* A package by the path of its catalog, among those that the catalog above it names. */
struct view_package {
	struct view_room *holder;
	uint32_t index; /* of its directory there */
};

/* All in an epoch, until whose end what they give is good; none waits for the network. 0, or -ENOENT
 * where there is none, or not at hand. */
int view_find_package(struct view *view, const char *path, size_t len,
	struct view_package *out) WARN_UNUSED;

/* The one that a walk through the tree comes to next. False: there is none below the same catalog. */
bool view_next_package(struct view_package *package) WARN_UNUSED;

/* What names its catalog. */
const struct catalog_nested *view_package_ref(const struct view_package *package);

/* Its catalog. -EAGAIN when it is not on this machine: then it is fetched ahead, if it may be. */
int view_package_catalog(struct view *view, const struct view_package *package,
	bool may_fetch, const struct catalog **out) WARN_UNUSED;

/* Notes that the kernel may ask for the file's pages from now on. Whether that was noted before; true
 * also for what no note is kept of: a node of the skeleton. Where memory was too short for a note, all
 * of the package counts as noted for good. All in the epoch in which the node was found. */
bool view_keeps_notes(const struct view_node *node);
bool view_note_open(const struct view_node *node);
bool view_is_noted_open(const struct view_node *node);

/* Revision that the node's package shows. */
uint64_t view_revision(const struct view *view, const struct view_node *node);

/* Whether the master has it no more: the entry, or a package directory above it. */
bool view_is_stale(const struct view *view, const struct view_node *node);

/* The root catalog: its header counts the whole tree. Good until the end of the epoch. */
const struct catalog *view_root_catalog(const struct view *view);

/* Shows another tree from now on: all at once, for whoever asks next. Returns when nobody is
 * answered out of the old one any more, with what the kernel may remember of it and must not; the
 * caller frees that. -EAGAIN, with nothing changed, when a catalog is missing that must be on this
 * machine: the root's, or one that takes the place of a skeleton catalog in use; -EBADMSG if it is
 * no root; -ENOMEM. One at a time, not in an epoch. */
int view_flip(struct view *view, const struct catalog_ref *root, uint64_t revision,
	struct view_changes **out) WARN_UNUSED;

/* Lets go what is superseded and remembered no more. Not in an epoch; may take as long as the
 * longest of them. */
void view_reap(struct view *view);

/* What the kernel may have cached below superseded directories that it remembers, but for what was
 * listed before. A name looked up while its directory was forgotten stays in its cache, and keeps
 * the directory, until memory is short; once it forgets it the directory can go. Whoever is in
 * there looks it up again: then the names of his directory (of a package's leaf catalog: all of its
 * names) are listed once more. 0 or -ENOMEM; the caller frees it. */
int view_list_superseded(struct view *view, struct view_changes **out) WARN_UNUSED;

struct view_usage {
	uint32_t slots; /* places that have a number */
	uint32_t
		superseded; /* of them, those that live only because they are remembered */
	uint32_t catalogs;  /* mapped, the past ones of the skeleton not counted */
};

void view_usage(struct view *view, struct view_usage *out);
