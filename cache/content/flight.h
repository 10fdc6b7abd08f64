/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Frames on their way. A frame serves every open file that has a piece in it, and is asked for
 * once however many readers miss on it at the same time; what else it brings (its neighbours'
 * small files) lands too.
 */
#pragma once

#include "cache/base/mutex.h"
#include "cache/catalog/catalog.h"

#include <stddef.h>
#include <stdint.h>

struct content_file;
struct content_store;
struct flight;

#define FLIGHT_BUCKETS 1024

struct flight_table {
	struct mutex lock;
	struct flight *buckets[FLIGHT_BUCKETS]; /* lock */
};

void flight_table_init(struct flight_table *table);
void flight_table_release(struct flight_table *table);

/* Asks the source for the frames of these pieces (indexes counted from the content's first,
 * ascending). Each piece is landed or failed, exactly once, from a worker thread or, when
 * memory is short, from here. No lock may be held. */
void flight_request(struct content_file *file, const uint32_t *pieces, size_t count);

/* Asks for frames that nobody waits for yet, but for those that are on their way or whose
 * content is here. No lock may be held. */
void flight_request_ahead(struct content_store *store, const struct catalog *c,
	uint32_t first, uint32_t count);
