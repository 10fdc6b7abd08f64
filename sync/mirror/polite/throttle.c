/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/polite/throttle.h"

#include "cache/base/threads/clock.h"

#include <string.h>

/* Readers come in rows, with a moment between them. */
#define LINGER_NS (100 * NS_PER_MS)

/* The queue at the line's narrow end that background work may cause. */
#define SLACK_NS (50 * NS_PER_MS)

#define INTERVAL_NS (50 * NS_PER_MS)

#define BUDGET_FIRST (512 * 1024) /* while nothing is known about the line */
#define PIECE_MIN    (128 * 1024)
#define PIECE_MAX    (4 * 1024 * 1024)
#define WINDOW_MIN   (32 * 1024)

/* Of a window a round trip: LEDBAT is held by its window, the bucket is for one that is smaller
 * than a frame. */
#define PACE_STARTING 2.0
#define PACE	      1.25

void throttle_init(struct throttle *throttle)
{
	*throttle = (struct throttle){0};
	ledbat_init(&throttle->ledbat);
}

static uint64_t line_rate_best(const struct line_rate *line)
{
	uint64_t best = 0;

	for (size_t i = 0; i < THROTTLE_RATES; i++)
		if (line->rates[i] > best)
			best = line->rates[i];
	return best;
}

static void line_rate_add(struct line_rate *line, uint64_t bytes, int64_t now_ns)
{
	if (now_ns < line->from_ns)
		return;
	line->bytes += bytes;
	if (now_ns - line->from_ns < INTERVAL_NS)
		return;
	/* one that was mostly silence tells nothing */
	if (now_ns - line->from_ns < 4 * INTERVAL_NS)
		line->rates[line->next++ % THROTTLE_RATES] =
			(uint64_t)((double)line->bytes * (double)NS_PER_SEC /
				   (double)(now_ns - line->from_ns));
	line->bytes = 0;
	line->from_ns = now_ns;
}

static int64_t base_ns(const struct throttle *throttle)
{
	return delay_base_ns(&throttle->delays[throttle->site]);
}

static int64_t round_trip_ns(const struct throttle *throttle)
{
	int64_t ns = delay_current_ns(&throttle->delays[throttle->site]);

	return ns ? ns : SLACK_NS;
}

/* All that may be on its way. */
static uint64_t budget(const struct throttle *throttle)
{
	uint64_t rate = line_rate_best(&throttle->line);
	uint64_t bytes = BUDGET_FIRST;

	if (throttle->limit.bytes_per_sec &&
		(rate == 0 || throttle->limit.bytes_per_sec < rate))
		rate = throttle->limit.bytes_per_sec;
	if (rate)
		bytes = (uint64_t)((double)rate * (double)(base_ns(throttle) + SLACK_NS) /
				   (double)NS_PER_SEC);
	if (throttle->limit.kind == RATE_IDLE && throttle->ledbat.window < (double)bytes)
		bytes = (uint64_t)throttle->ledbat.window;
	return bytes;
}

static size_t parallel(const struct throttle *throttle)
{
	uint64_t count = budget(throttle) / PIECE_MIN;

	if (count < 1)
		return 1;
	return count < THROTTLE_PARALLEL ? (size_t)count : THROTTLE_PARALLEL;
}

uint64_t throttle_piece_bytes(const struct throttle *throttle)
{
	uint64_t piece = budget(throttle) / parallel(throttle);

	if (piece < PIECE_MIN)
		return PIECE_MIN;
	return piece < PIECE_MAX ? piece : PIECE_MAX;
}

uint64_t throttle_window_bytes(const struct throttle *throttle)
{
	uint64_t window = budget(throttle) / parallel(throttle);

	return window > WINDOW_MIN ? window : WINDOW_MIN;
}

/* LEDBAT counts in windows; a window less than a frame becomes a rate. */
static void pace_idle(struct throttle *throttle, int64_t now_ns)
{
	const struct ledbat *ledbat = &throttle->ledbat;
	double rate = ledbat->window * (ledbat->is_starting ? PACE_STARTING : PACE) *
		      (double)NS_PER_SEC / (double)round_trip_ns(throttle);

	uint64_t most = throttle->limit.bytes_per_sec;
	uint64_t pace = (uint64_t)rate + 1;

	rate_bucket_set(&throttle->bucket, most && most < pace ? most : pace, now_ns);
}

void throttle_set(struct throttle *throttle, const struct rate_limit *limit,
	bool is_paused, int64_t now_ns)
{
	if (limit->kind == RATE_IDLE && throttle->limit.kind != RATE_IDLE)
		ledbat_init(&throttle->ledbat);
	throttle->limit = *limit;
	throttle->is_paused = is_paused;
	if (limit->kind == RATE_IDLE)
		pace_idle(throttle, now_ns);
	else
		rate_bucket_set(&throttle->bucket, limit->bytes_per_sec, now_ns);
}

void throttle_yield(struct throttle *throttle, bool is_yielding, int64_t now_ns)
{
	if (throttle->is_yielding && !is_yielding) {
		throttle->free_from_ns = now_ns + LINGER_NS;
		/* what has gathered in sockets says nothing about the line */
		throttle->line.bytes = 0;
		throttle->line.from_ns = throttle->free_from_ns + INTERVAL_NS;
	}
	throttle->is_yielding = is_yielding;
}

int64_t throttle_wait_read_ns(struct throttle *throttle, int64_t now_ns)
{
	if (throttle->is_yielding)
		return INT64_MAX;
	if (throttle->free_from_ns > now_ns)
		return throttle->free_from_ns - now_ns;
	return rate_bucket_wait_ns(&throttle->bucket, now_ns);
}

int64_t throttle_wait_start_ns(struct throttle *throttle, size_t running, int64_t now_ns)
{
	if (throttle->is_paused || running >= parallel(throttle))
		return INT64_MAX;
	return throttle_wait_read_ns(throttle, now_ns);
}

void throttle_answered(
	struct throttle *throttle, size_t site, int64_t delay_ns, int64_t now_ns)
{
	throttle->site = site < THROTTLE_SITES ? site : 0;
	delay_add(&throttle->delays[throttle->site], delay_ns, now_ns);
}

void throttle_arrived(
	struct throttle *throttle, uint64_t bytes, uint64_t in_flight, int64_t now_ns)
{
	rate_bucket_take(&throttle->bucket, bytes);
	line_rate_add(&throttle->line, bytes, now_ns);
	if (throttle->limit.kind != RATE_IDLE)
		return;
	ledbat_arrived(&throttle->ledbat, bytes, in_flight,
		delay_queue_ns(&throttle->delays[throttle->site]));
	pace_idle(throttle, now_ns);
}

void throttle_lost(struct throttle *throttle, int64_t now_ns)
{
	if (throttle->limit.kind == RATE_IDLE)
		ledbat_lost(&throttle->ledbat, round_trip_ns(throttle), now_ns);
}
