/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Read-ahead in pack space. Files that are neighbours in the tree are neighbours in a pack, so
 * one mechanism serves the sequential read of one large file and the storm of ten thousand
 * small ones: who moves forward through a catalog's frames is a stream, and a stream's window
 * of frames is asked for before it is reached. Progress widens the window, a seek begins a
 * new stream (as Linux' own read-ahead does for pages). Who has gone from file to file a few times
 * gets the whole window: all of a storm's small files are in a few requests.
 */
#pragma once

#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "cache/catalog/catalog.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define AHEAD_STREAMS 32

/* The widest window: 32 MiB decoded, more than 1 Gbit/s times 150 ms, compressed. */
#define AHEAD_FRAMES 128

/* Nobody has come to a stream for so long: it is nobody's, and what it has asked for may have failed
 * or be gone again. */
#define AHEAD_STALE_NS (60 * NS_PER_SEC)

struct ahead_stream {
	const struct catalog *catalog; /* a reference; NULL: unused */
	uint32_t position;	       /* the newest frame that was touched */
	uint32_t end;		       /* frames below are asked for */
	uint32_t marker;	       /* touching this one or beyond asks for more */
	uint32_t window;	       /* frames to keep ahead */
	uint32_t content;	       /* that was touched last */
	uint32_t contents;	       /* how often another one than before was */
	bool is_through;	       /* it has been said so */
	uint64_t last_use;
	int64_t last_ns;
};

struct ahead_table {
	struct mutex lock;
	atomic_uint active; /* streams in use: without any, a touch costs one load */
	uint64_t uses;	    /* lock */
	struct ahead_stream streams[AHEAD_STREAMS]; /* lock */
};

struct ahead_range {
	uint32_t first;
	uint32_t count;
	bool is_through; /* said once a stream: who reads here goes through it, and all of it is asked for */
};

void ahead_init(struct ahead_table *table);
void ahead_release(struct ahead_table *table);

/* Ends the streams of catalogs that nobody but such tables holds any more. Any thread. */
void ahead_let_go(struct ahead_table *table);

/* A reader wants the frames from `first` to `frame` for this content (an index), or some of them; a miss
 * also begins a stream where there is none. Returns the frames to ask for at once (count 0: none),
 * never beyond the catalog. They begin where the stream's window ended: behind `frame`, or with
 * `frame` itself when the reader has just reached that end. Who asks leaves out what is here or on its
 * way. Any thread. */
struct ahead_range ahead_touch(struct ahead_table *table, const struct catalog *catalog,
	uint32_t first, uint32_t frame, uint32_t content, bool is_miss);

/* A reader is expected, and the frames below `end` are asked for: his stream is there before him, as he
 * may miss nothing. Any thread. */
void ahead_expect(struct ahead_table *table, const struct catalog *catalog, uint32_t end);
