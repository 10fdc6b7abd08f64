/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A token bucket: holds an average rate and lets through a tenth of a second's worth at once.
 *
 *	rate_bucket_set(&bucket, 1000000, now);
 *	if (rate_bucket_wait_ns(&bucket, now) == 0)
 *		... read; rate_bucket_take(&bucket, bytes);
 *
 * One thread; no clock of its own.
 */
#pragma once

#include <stdint.h>

struct rate_bucket {
	uint64_t bytes_per_sec; /* 0: no limit */
	double tokens;		/* bytes; below zero: more came than was allowed */
	int64_t filled_ns;
};

/* From now on this rate; 0: none. What was saved up or is owed stays. */
void rate_bucket_set(struct rate_bucket *bucket, uint64_t bytes_per_sec, int64_t now_ns);

/* 0 if some bytes may be read now, else how long there is to wait for them. */
int64_t rate_bucket_wait_ns(struct rate_bucket *bucket, int64_t now_ns);

/* They were read; they may be more than there were tokens, which then takes longer to refill. */
void rate_bucket_take(struct rate_bucket *bucket, uint64_t bytes);
