/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The hours in which background work may run, and how fast: "mon-fri 20:00-06:00 rate 20M, sat,
 * sun rate idle" (docs/schedules.md). Pure: nothing here reads a clock.
 *
 *	struct window_list windows = {0};	no windows: always open
 *	r = window_parse("mon-fri 20:00-06:00, sat, sun", &windows, reason);
 *	window_at(&windows, zone, clock_real_ns(), &state);
 *	... state.is_open, until state.changes_ns
 *
 * Any thread.
 */
#pragma once

#include "cache/base/threads/rate_limit.h"
#include "sync/jobs/calendar/time_zone.h"
#include "sync/jobs/calendar/words.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WINDOW_MAX   32
#define WINDOW_NEVER INT64_MAX

/* Begins on each of `days`; an end that is not later than the start is on the next day. */
struct window {
	uint8_t days;		/* bit 0 is Sunday */
	unsigned int start;	/* minutes since midnight */
	unsigned int end;	/* 0 to 1440 */
	struct rate_limit rate; /* RATE_UNLIMITED when none was given */
};

struct window_list {
	struct window items[WINDOW_MAX];
	size_t count;
};

struct window_state {
	bool is_open;
	struct rate_limit
		rate; /* while it is open; of the first window of the list that is */
	int64_t changes_ns; /* when one of the two becomes another; WINDOW_NEVER */
};

/* Appends to `list`, or leaves it alone; a comma may end the text. Returns 0, or -EINVAL with the reason. */
int window_parse(const char *text, struct window_list *list,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

void window_at(const struct window_list *list, const struct time_zone *zone,
	int64_t now_ns, struct window_state *out);
