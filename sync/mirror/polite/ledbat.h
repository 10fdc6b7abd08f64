/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How many bytes may be on their way so that nobody else on the line notices: LEDBAT (RFC 6817),
 * with the decrease of LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus, 4.2). docs/decisions/ says
 * where the delay comes from.
 *
 *	ledbat_init(&ledbat);
 *	ledbat_arrived(&ledbat, bytes, in_flight, queue_ns);
 *	... ledbat.window
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Queues may grow by this much on our account: RFC 6817 allows 100 ms, LEDBAT++ takes 60. */
#define LEDBAT_TARGET_MS 60

/* Never less, and so much at first: ten segments and a bit (RFC 6928). */
#define LEDBAT_WINDOW_MIN 16384

struct ledbat {
	double window; /* bytes */
	bool is_starting;
	int64_t cut_ns; /* when it was last halved for a loss */
};

void ledbat_init(struct ledbat *ledbat);

/* `bytes` have come while `in_flight` were asked for and the line's queues took `queue_ns`. */
void ledbat_arrived(
	struct ledbat *ledbat, uint64_t bytes, uint64_t in_flight, int64_t queue_ns);

/* A segment was lost, or at least came late; once a round trip counts. */
void ledbat_lost(struct ledbat *ledbat, int64_t round_trip_ns, int64_t now_ns);
