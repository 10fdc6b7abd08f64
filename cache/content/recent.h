/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verified frames of small files, in memory while their files land on disk and are read for the first
 * time: who goes through many small files is served while they land, and opens none of them. Bounded:
 * the oldest go first, and all of them when nobody has wanted any for some seconds. A frame stays when
 * its files have been read, since a content has many names (a package's translations share a sixth of
 * theirs).
 *
 *	recent_put(&table, catalog, frame, data);
 *	memory = recent_take(&table, catalog, chunk);	(a copy of the chunk, or NULL)
 *	found = recent_copy(&table, catalog, chunk, buffer);
 *	next_ns = recent_expire(&table);		(now and then)
 *
 * Any thread.
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/catalog/catalog.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECENT_BUCKETS 256
#define RECENT_BYTES   (32 * 1024 * 1024) /* what is fetched ahead at most, decoded */
#define RECENT_IDLE_NS (INT64_C(5) * 1000 * 1000 * 1000)

struct recent_frame;

struct recent_table {
	atomic_size_t bytes; /* held; 0: a look costs one load */
	struct mutex lock;   /* guards what follows; clang 14 cannot say so for members */
	struct recent_frame *buckets[RECENT_BUCKETS];
	struct recent_frame *oldest;
	struct recent_frame *newest;
	int64_t used_ns; /* when somebody last put or took something */
};

void recent_init(struct recent_table *table);
void recent_release(struct recent_table *table);

/* Costs one load. */
static inline bool recent_is_empty(struct recent_table *table)
{
	return atomic_load_explicit(&table->bytes, memory_order_relaxed) == 0;
}

/* Keeps a copy of the decoded frame. Without memory, nothing. */
void recent_put(struct recent_table *table, const struct catalog *catalog, uint32_t frame,
	const uint8_t *data);

/* Lets go of the frames of catalogs that nobody but such tables holds any more. */
void recent_let_go(struct recent_table *table);

/* Copies the chunk's bytes to `out`, which has room for them, if its frame is here. */
bool recent_copy(struct recent_table *table, const struct catalog *catalog,
	const struct catalog_chunk *chunk, uint8_t *out);

/* A copy of the chunk's bytes, which the caller frees, if its frame is here. */
uint8_t *recent_take(struct recent_table *table, const struct catalog *catalog,
	const struct catalog_chunk *chunk);

/* Lets go what nobody has wanted for RECENT_IDLE_NS. When to look again; 0: nothing is held. */
int64_t recent_expire(struct recent_table *table);
