/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * When background transfers may read, how many may run, and how much each may ask for: so that
 * the line is free whenever a reader wants it, and the admin's rate is kept.
 *
 *	throttle_init(&throttle);
 *	throttle_set(&throttle, &limit, is_paused, now);
 *	if (throttle_wait_start_ns(&throttle, running, now) == 0)
 *		... ask for at most throttle_piece_bytes()
 *	if (throttle_wait_read_ns(&throttle, now) == 0)
 *		... read; throttle_arrived()
 *
 * What is asked for is what will come, whatever is done about it: nothing calls it back. So
 * background work asks for little at a time: what the line brings in a round trip and 50 ms
 * more, all transfers together. For RATE_IDLE it is LEDBAT's window. Those 50 ms are how long a
 * reader's answer can be behind in a queue.
 *
 * Of the transport's thread; no clock of its own.
 */
#pragma once

#include "cache/base/threads/rate_limit.h"
#include "sync/mirror/polite/delay.h"
#include "sync/mirror/polite/ledbat.h"
#include "sync/mirror/polite/rate_bucket.h"

#include <stdbool.h>
#include <stddef.h>

#define THROTTLE_SITES	  16
#define THROTTLE_PARALLEL 4
#define THROTTLE_RATES	  16

/* How fast the line has lately been at its best. */
struct line_rate {
	uint64_t rates[THROTTLE_RATES]; /* bytes a second, of intervals; a ring */
	unsigned int next;
	uint64_t bytes;	 /* of the interval under way ... */
	int64_t from_ns; /* ... which began then, or begins then */
};

struct throttle {
	struct rate_limit limit;
	bool is_paused;	      /* the admin's window is over */
	bool is_yielding;     /* a reader is served */
	int64_t free_from_ns; /* the last reader was, a moment ago */
	struct rate_bucket bucket;
	struct line_rate line;
	struct delay delays[THROTTLE_SITES];
	size_t site; /* that answered last */
	struct ledbat ledbat;
};

void throttle_init(struct throttle *throttle);

/* What the admin wants now. */
void throttle_set(struct throttle *throttle, const struct rate_limit *limit,
	bool is_paused, int64_t now_ns);

/* Readers are served: background work stops until a moment after the last of them. */
void throttle_yield(struct throttle *throttle, bool is_yielding, int64_t now_ns);

/* How long until one more transfer may start beside the `running`, and until those that run may
 * read on: 0 = now; INT64_MAX = not before something else changes. A pause of the admin's lets
 * run to their end what has started: that is little, and nothing of it comes twice. */
int64_t throttle_wait_start_ns(struct throttle *throttle, size_t running, int64_t now_ns);
int64_t throttle_wait_read_ns(struct throttle *throttle, int64_t now_ns);

/* What one transfer may ask for; at least a frame has to be asked for anyway. */
uint64_t throttle_piece_bytes(const struct throttle *throttle);

/* What one connection may have on its way. */
uint64_t throttle_window_bytes(const struct throttle *throttle);

/* An answer's first byte came so long after it was asked for. */
void throttle_answered(
	struct throttle *throttle, size_t site, int64_t delay_ns, int64_t now_ns);

/* `bytes` came of the `in_flight` that had been asked for. */
void throttle_arrived(
	struct throttle *throttle, uint64_t bytes, uint64_t in_flight, int64_t now_ns);

/* A connection has lost segments. */
void throttle_lost(struct throttle *throttle, int64_t now_ns);
