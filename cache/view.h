/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The tree a mirror shows: catalogs hung below each other. A node is (slot, entry index): a
 * slot is the place of one catalog in the view, so nodes need no memory of their own and none
 * of them is ever forgotten or rebuilt. Node (slot, 0) is the package directory itself; its
 * attributes are those that the catalog above gives it, so that it can be listed before its
 * own catalog was fetched.
 *
 *	r = view_new(&config, &view);
 *	r = view_load(view);
 *	r = view_resolve(view, VIEW_ROOT, &node);
 *	r = view_enter(view, &node, &dir, &waiter);	(may need the network: -EINPROGRESS)
 *	r = view_child(view, &dir, index, &child);
 *	view_free(view);
 *
 * Any thread; resolving and entering what is here takes no lock and allocates nothing.
 */
#pragma once

#include "cache/catalog/catalog.h"
#include "cache/catalog/catalog_store.h"
#include "cache/source.h"
#include "cache/waiter.h"

#include <stdbool.h>
#include <stdint.h>

/* A node's number: slot in the upper half, entry index + 1 in the lower. The root is 1, as
 * FUSE wants it. */
#define VIEW_ROOT UINT64_C(1)

struct view;

struct view_node {
	const struct catalog *catalog; /* that holds the entry */
	const struct catalog_entry *entry;
	uint32_t index; /* of the entry in that catalog */
	uint32_t slot;	/* of the node: the nested catalog's for a package directory */
	uint64_t id;
};

/* A directory whose children are at hand: entries [first, first + count) of `catalog`. */
struct view_dir {
	const struct catalog *catalog;
	uint32_t index; /* of the directory in `catalog` */
	uint32_t slot;
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
 * -ETIMEDOUT, else the reason. Before anything else is asked of the view. */
int view_load(struct view *view) WARN_UNUSED;

/* Only when nobody uses a node or a catalog any more and the source has ended every request. */
void view_free(struct view *view);

/* Finds a node by number: 0 or -ESTALE for one that never was. */
int view_resolve(struct view *view, uint64_t id, struct view_node *out) WARN_UNUSED;

/* The directory behind a node: 0, -ENOTDIR, -EINPROGRESS when its catalog is being fetched
 * and `w` was queued (NULL: -EAGAIN instead, nothing is fetched), or why it could not be. */
int view_enter(struct view *view, const struct view_node *node, struct view_dir *out,
	struct waiter *w) WARN_UNUSED;

/* As view_enter() with what is on this machine: never fetches, nor makes a walk of it. -EAGAIN
 * when the catalog is not here. */
int view_enter_local(struct view *view, const struct view_node *node,
	struct view_dir *out) WARN_UNUSED;

/* The node of entry `index` of the directory's catalog. 0 or -ENOMEM. A name of a hard-linked
 * file gives the node that all its names in the catalog share. */
int view_child(struct view *view, const struct view_dir *dir, uint32_t index,
	struct view_node *out) WARN_UNUSED;

/* The node of the directory that holds `node` (the root's is the root). */
int view_parent(struct view *view, const struct view_node *node,
	struct view_node *out) WARN_UNUSED;

/* Revision that the node's package shows. */
uint64_t view_revision(const struct view *view, const struct view_node *node);

/* The root catalog: its header counts the whole tree. */
const struct catalog *view_root_catalog(const struct view *view);
