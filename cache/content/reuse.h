/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Chunks that other contents hold on this machine, copied instead of fetched: a new version of a
 * file has most of its chunks from the old one. Catalogs are offered when contents of many chunks
 * in them are opened; their chunks are indexed when somebody misses one.
 *
 *	reuse_offer(table, catalog);
 *	bytes = reuse_pieces(store, catalog, content, pieces, count);
 *
 * What is copied is verified as if it had been fetched. Any thread, no lock held.
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/catalog/catalog.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct content_store;

/* No more pieces are indexed (12 bytes each, up to twice that in the table), nor catalogs held: a
 * superseded one stays mapped as long as it is here. A catalog of more pieces is left out; when there
 * are more, the older half of the catalogs goes. */
#define REUSE_PIECES_MAX   (512 * 1024)
#define REUSE_CATALOGS_MAX 64

/* Of them, these of what no view shows any more: the versions that those that are shown came
 * after. Memory must not grow with each that was ever shown. */
#define REUSE_SUPERSEDED_PIECES_MAX (32 * 1024)
#define REUSE_SUPERSEDED_MAX	    16

struct reuse_entry {
	uint16_t catalog; /* 1 + index into the table's; 0: free */
	uint16_t tag;	  /* of the chunk's digest */
	uint32_t content;
	uint32_t piece;
};

struct reuse_table {
	_Atomic(const struct catalog *) newest; /* the last that was offered */

	struct mutex lock; /* guards what follows; clang 14 cannot say so for members */
	const struct catalog *catalogs[REUSE_CATALOGS_MAX]; /* references, oldest first */
	size_t catalog_count;
	size_t indexed_count; /* so many of them are in the entries */
	struct reuse_entry *entries;
	size_t size; /* a power of two */
	size_t used;
};

void reuse_init(struct reuse_table *table);
void reuse_release(struct reuse_table *table);

/* Contents of this catalog may hold chunks that others want. Cheap; again is nothing. */
void reuse_offer(struct reuse_table *table, const struct catalog *catalog);

/* Lets go of catalogs that nobody but such tables holds any more, but for a few: who reads a new
 * version for the first time finds the one before. */
void reuse_let_go(struct reuse_table *table);

/* Whether some other content here holds this chunk of `catalog`. */
bool reuse_has(struct content_store *store, const struct catalog *catalog,
	const struct catalog_chunk *chunk);

/* Lands those of these pieces (counted from the content's first) whose chunks another content here
 * holds. Returns their bytes. */
uint64_t reuse_pieces(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, const uint32_t *pieces, size_t count);
