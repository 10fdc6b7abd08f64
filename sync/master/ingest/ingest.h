/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reads entries on several threads and stores what is new of them, in order, in packs.
 *
 *	struct ingest_options options = {...};
 *	r = ingest_run(&options, items, count, &result);
 */
#pragma once

#include "sync/master/depot/depot.h"
#include "sync/master/ingest/chunks/chunk_table.h"
#include "sync/master/ingest/pack_writer.h"
#include "sync/master/walk/scan_state.h"
#include "sync/master/walk/tree.h"

/* An entry to read. The items of a package follow each other, in the order of a reader's walk. */
struct ingest_item {
	struct tree_dir *dir;
	struct tree_entry *entry;
	const struct package *package;
};

struct ingest_options {
	struct tree *tree;
	const struct depot *depot;
	struct scan_state
		*state; /* where chunks of the depot are looked up; NULL: nowhere */
	struct chunk_table *chunks;
	struct pack_writer *packs;
	unsigned int threads;
	int level;
};

struct ingest_result {
	uint64_t files;
	uint64_t bytes_read;
	uint64_t bytes_stored;
};

/* Fills in the entries. Everything it makes lives in the tree's arena or the chunk table.
 * Returns 0 or -errno; errors are logged. */
int ingest_run(const struct ingest_options *options, const struct ingest_item *items,
	size_t count, struct ingest_result *out) WARN_UNUSED;
