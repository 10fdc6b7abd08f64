/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Frames on their way. A frame serves every open file that has a piece in it, and is asked for
 * once however many readers miss on it at the same time; what else it brings (its neighbours'
 * small files) lands too.
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/catalog/catalog.h"
#include "cache/content/fetch/ahead.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct content_file;
struct content_store;
struct flight;
struct batch;

#define FLIGHT_BUCKETS 1024

struct flight_table {
	struct mutex lock;
	struct flight *buckets[FLIGHT_BUCKETS]; /* lock */
	struct batch *leads; /* lock; small requests that others wait for */
};

void flight_table_init(struct flight_table *table);
void flight_table_release(struct flight_table *table);

/* Asks the source for the frames of these pieces (indexes counted from the content's first,
 * ascending), and for those that the read-ahead wants, in the same request if they follow. Each piece is landed or failed, exactly once, from a worker thread or, when
 * memory is short, from here. No lock may be held. */
void flight_request(struct content_file *file, const uint32_t *pieces, size_t count,
	struct ahead_range ahead);

/* Asks for frames that nobody waits for yet, but for those that are on their way or whose
 * content is here. No lock may be held. */
void flight_request_ahead(struct content_store *store, const struct catalog *c,
	uint32_t first, uint32_t count);

/* Likewise from the first frame on, until so many stored bytes are asked for, or AHEAD_FRAMES are
 * here or on their way; *out_end is the frame behind them. Returns the bytes. */
uint64_t flight_request_first(struct content_store *store, const struct catalog *c,
	uint64_t most_bytes, uint32_t *out_end);

/* Who makes contents complete and is told of each frame, without waiting for it. Embedded. */
struct flight_watch {
	struct flight_watch *next; /* the table's own */
	bool is_first; /* set by flight_watch_frames(): the frame was not on its way yet */

	/* The frame has landed, or what had not been here of it: `data` is the decoded frame,
	 * borrowed for the call, and `error` why some of it may not be on disk. NULL data: it
	 * did not come, because of `error`. No lock is held. */
	void (*landed)(struct flight_watch *watch, const uint8_t *data, int error);
};

/* Joins the flights of frames [first, first + count), or starts them in the background. Each watch
 * is called once, from a worker thread or, when memory is short, from here, unless it is taken back
 * before. No lock may be held. */
void flight_watch_frames(struct content_store *store, const struct catalog *c,
	uint32_t first, struct flight_watch *const *watches, size_t count);

/* Takes a watch back; the frame comes all the same. False: it has been called, or is being. */
bool flight_unwatch(struct content_store *store, const struct catalog *c, uint32_t frame,
	struct flight_watch *watch) WARN_UNUSED;
