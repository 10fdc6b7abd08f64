/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verified frames of small files, in memory for as long as their files land on disk and are read for
 * the first time: who goes through many small files is served while they land, and opens none
 * of them. Bounded; the oldest go first, and a frame whose files have all been read goes at once,
 * since the kernel has their pages then.
 *
 *	recent_put(&table, catalog, frame, data);
 *	memory = recent_take(&table, catalog, chunk);	(a copy of the chunk, or NULL)
 *
 * Any thread.
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/catalog/catalog.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RECENT_BUCKETS 256
#define RECENT_BYTES   (16 * 1024 * 1024)

struct recent_frame;

struct recent_table {
	atomic_size_t bytes; /* held; 0: a look costs one load */
	struct mutex lock;   /* guards what follows; clang 14 cannot say so for members */
	struct recent_frame *buckets[RECENT_BUCKETS];
	struct recent_frame *oldest;
	struct recent_frame *newest;
};

void recent_init(struct recent_table *table);
void recent_release(struct recent_table *table);

/* Keeps a copy of the decoded frame. Without memory, nothing. */
void recent_put(struct recent_table *table, const struct catalog *catalog, uint32_t frame,
	const uint8_t *data);

/* Lets go of the frames of catalogs that nobody but such tables holds any more. */
void recent_let_go(struct recent_table *table);

/* A copy of the chunk's bytes, which the caller frees, if its frame is here. */
uint8_t *recent_take(struct recent_table *table, const struct catalog *catalog,
	const struct catalog_chunk *chunk);
