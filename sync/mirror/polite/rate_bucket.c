/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/polite/rate_bucket.h"

#include "cache/base/threads/clock.h"

/* What may come at once: long enough for a thread that is woken late, short for a reader. */
#define DEPTH_SHARE	10 /* of a second */
#define DEPTH_MIN_BYTES 16384

/* Once empty it fills to this share before it gives: not one wake-up for each token. */
#define WORTH_SHARE 4

static double depth_of(const struct rate_bucket *bucket)
{
	double depth = (double)bucket->bytes_per_sec / DEPTH_SHARE;

	return depth > DEPTH_MIN_BYTES ? depth : DEPTH_MIN_BYTES;
}

static void fill(struct rate_bucket *bucket, int64_t now_ns)
{
	double depth = depth_of(bucket);

	if (now_ns > bucket->filled_ns)
		bucket->tokens += (double)(now_ns - bucket->filled_ns) *
				  (double)bucket->bytes_per_sec / (double)NS_PER_SEC;
	bucket->filled_ns = now_ns;
	if (bucket->tokens > depth)
		bucket->tokens = depth;
}

void rate_bucket_set(struct rate_bucket *bucket, uint64_t bytes_per_sec, int64_t now_ns)
{
	fill(bucket, now_ns);
	if (bucket->bytes_per_sec == 0)
		bucket->tokens = 0;
	bucket->bytes_per_sec = bytes_per_sec;
}

int64_t rate_bucket_wait_ns(struct rate_bucket *bucket, int64_t now_ns)
{
	if (bucket->bytes_per_sec == 0)
		return 0;
	fill(bucket, now_ns);
	if (bucket->tokens > 0)
		return 0;
	double worth = depth_of(bucket) / WORTH_SHARE;
	double wait_ns = (worth - bucket->tokens) * (double)NS_PER_SEC /
			 (double)bucket->bytes_per_sec;

	return wait_ns < (double)NS_PER_SEC ? (int64_t)wait_ns + 1 : NS_PER_SEC;
}

void rate_bucket_take(struct rate_bucket *bucket, uint64_t bytes)
{
	if (bucket->bytes_per_sec)
		bucket->tokens -= (double)bytes;
}
