/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a publish has to do: which packages differ from what the state knows, and which of
 * their entries have to be read.
 */
#pragma once

#include "sync/master/catalog/packages.h"
#include "sync/master/catalog/previous.h"
#include "sync/master/ingest/ingest.h"

struct work_list {
	struct ingest_item *items; /* by package, each in the order of a reader's walk */
	size_t count;
	uint64_t files; /* regular ones among them */
	uint64_t bytes;
	/* names of linked files that another item reads */
	struct tree_entry **followers;
	size_t follower_count;
};

/* Sets every package's is_dirty, and what is known of the clean ones. */
int work_list_compare(struct packages *packages, struct scan_state *state,
	const struct depot *depot) WARN_UNUSED;

/* Recalls what is unchanged in dirty packages and lists the rest. */
int work_list_make(struct tree *tree, struct packages *packages, struct history *history,
	struct work_list *out) WARN_UNUSED;

/* After the items were read: gives the followers what their file's reader found. */
void work_list_share(struct work_list *w);

void work_list_release(struct work_list *w);
