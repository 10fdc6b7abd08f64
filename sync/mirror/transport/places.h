/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How many transfers may run at a time, at each source and in all.
 *
 *	if (places_have_one(&places, transfer, class, now))
 *		places_take(&places, transfer, now);
 *	...
 *	if (places_too_many(&places, transfer, &result, taken, now))
 *		... it is worth another try
 *	places_leave(&places, transfer);
 *
 * Over HTTP/1.1 a transfer needs a connection of its own; with HTTP/2 streams are free. A small one
 * spends most of its time in a round trip, so more of these fill the line: 14 of the 34 kB of a
 * catalog are 92 % of 100 Mbit/s over 40 ms, where 6 are 39 %. Only over HTTP: an sshd turns away
 * logins beyond 10 that are under way (MaxStartups).
 *
 * A source that allows fewer connections than that refuses some, by a 503, by closing them, or by letting
 * them wait. From then
 * on it is asked for no more than PLACES_LARGE at a time; for PLACES_NARROW_NS, because a source
 * that was started anew refuses just so.
 *
 * Of the transport's thread; no clock of its own.
 */
#pragma once

#include "cache/base/threads/clock.h"
#include "sync/mirror/transport/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLACES_SMALL_BYTES ((uint64_t)64 * 1024)
#define PLACES_LARGE	   8  /* above that size, or not over HTTP */
#define PLACES_HTTP	   16 /* large and small */
#define PLACES_ALL	   32 /* of all sources; over HTTP/2 of one */
#define PLACES_NARROW_NS   (3600 * NS_PER_SEC)
#define PLACES_SITES	   16

struct site_places {
	size_t taken;
	size_t large;		 /* of them */
	bool is_multi;		 /* it speaks HTTP/2 */
	int64_t crowded_ns;	 /* when last one more came to PLACES_LARGE, or beyond */
	int64_t narrow_until_ns; /* 0: it has refused nothing */
};

struct places {
	size_t taken;
	struct site_places sites[PLACES_SITES];
};

/* Whether `t`, as one of this class, may start. A demand finds places that others leave free. */
bool places_have_one(const struct places *p, const struct transfer *t,
	enum fetch_class class, int64_t now_ns);

/* `t` runs; and no more. Its length and site stay what they are between the two. */
void places_take(struct places *p, const struct transfer *t, int64_t now_ns);
void places_leave(struct places *p, const struct transfer *t);

/* Its source has answered, in HTTP/2 or not. */
void places_set_multi(struct places *p, const struct transfer *t, bool is_multi);

/* Its source is asked for no more than PLACES_LARGE at a time from now on, if there were more at some
 * time since `t` took its place at `taken_ns`; else false. */
bool places_narrow(
	struct places *p, const struct transfer *t, int64_t taken_ns, int64_t now_ns);

/* Looks at what became of `t`, which took its place at `taken_ns`: true if its source refused it
 * although it might not have, had it been asked for less at a time, and from now on it is. */
bool places_too_many(struct places *p, const struct transfer *t,
	const struct transfer_result *result, int64_t taken_ns, int64_t now_ns);
