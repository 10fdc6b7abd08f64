/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/polite/ledbat.h"

#include "cache/base/threads/clock.h"

#define TARGET_NS     (LEDBAT_TARGET_MS * NS_PER_MS)
#define SEGMENT_BYTES 1460.0
#define GAIN	      1.0 /* RFC 6817: at most 1, so that it grows no faster than TCP */
#define WINDOW_MAX    (64.0 * 1024 * 1024)

void ledbat_init(struct ledbat *ledbat)
{
	*ledbat = (struct ledbat){.is_starting = true, .window = LEDBAT_WINDOW_MIN};
}

static void grow(struct ledbat *ledbat, double bytes, double off_target)
{
	/* slow start doubles the window each round trip, until a queue shows */
	if (ledbat->is_starting && off_target < 0.5)
		ledbat->is_starting = false;
	if (ledbat->is_starting)
		ledbat->window += bytes;
	else
		ledbat->window +=
			GAIN * off_target * bytes * SEGMENT_BYTES / ledbat->window;
}

/* A window's worth takes away as much as the queue is over its target, half of it at most. RFC
 * 6817 alone takes a segment or two: minutes, on a fast line. */
static void shrink(struct ledbat *ledbat, double bytes, double off_target)
{
	ledbat->is_starting = false;
	ledbat->window += bytes * (off_target > -0.5 ? off_target : -0.5);
}

void ledbat_arrived(
	struct ledbat *ledbat, uint64_t bytes, uint64_t in_flight, int64_t queue_ns)
{
	double off_target = (double)(TARGET_NS - queue_ns) / (double)TARGET_NS;

	if (off_target < 0)
		shrink(ledbat, (double)bytes, off_target);
	else if ((double)in_flight * 2 >= ledbat->window)
		grow(ledbat, (double)bytes, off_target); /* it is what limits us */
	if (ledbat->window > WINDOW_MAX)
		ledbat->window = WINDOW_MAX;
	if (ledbat->window <= LEDBAT_WINDOW_MIN) {
		ledbat->window = LEDBAT_WINDOW_MIN;
		/* as TCP after a time-out: it has given up all it had */
		ledbat->is_starting = true;
	}
}

void ledbat_lost(struct ledbat *ledbat, int64_t round_trip_ns, int64_t now_ns)
{
	if (now_ns - ledbat->cut_ns < round_trip_ns)
		return;
	ledbat->cut_ns = now_ns;
	ledbat->is_starting = false;
	ledbat->window /= 2;
	if (ledbat->window < LEDBAT_WINDOW_MIN)
		ledbat->window = LEDBAT_WINDOW_MIN;
}
