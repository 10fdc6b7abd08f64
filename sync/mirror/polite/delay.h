/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How long a source's answers take, and how much of that is time in queues: the least of the last
 * few against the least of the last ten minutes (RFC 6817, 2.4.2 and 3.4.2: BASE_HISTORY,
 * CURRENT_FILTER).
 *
 *	delay_add(&delay, nanoseconds, now);
 *	queue = delay_queue_ns(&delay, now);
 */
#pragma once

#include <stdint.h>

#define DELAY_MINUTES 10
#define DELAY_RECENT  4

struct delay {
	int64_t least[DELAY_MINUTES]; /* by minute; 0: none came in it */
	int64_t minute;		      /* of the newest */
	int64_t recent[DELAY_RECENT]; /* a ring; 0: not filled yet */
	unsigned int next;
};

/* A sample; less than a microsecond counts as one. */
void delay_add(struct delay *delay, int64_t delay_ns, int64_t now_ns);

/* The least of ten minutes; 0: nothing is known. */
int64_t delay_base_ns(const struct delay *delay);

/* What the last few took at least; 0: nothing is known. */
int64_t delay_current_ns(const struct delay *delay);

/* The difference of the two: the time that queues take. */
int64_t delay_queue_ns(const struct delay *delay);
