/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Finds out for a command that waits whether it waits for a window, so that it can say so: once, until
 * another window is what it waits for.
 *
 *	struct window_notice notice = {.mountpoint = mountpoint};
 *	... at each look at what it waits for:
 *	if (window_notice_look(&notice, how_far, &wait)) ...say it
 *
 * The daemon is asked only when nothing has moved for a moment.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define WINDOW_TIME_SIZE 64

struct window_wait {
	char until[128]; /* "until one opens at TIME", "and none opens" */
	double run;	 /* the one that has something to fetch; 0: none has */
};

struct window_notice {
	const char *mountpoint; /* borrowed */
	bool is_for_run;	/* it is one only while a run has something to fetch */
	char how_far[WINDOW_TIME_SIZE];
	int64_t since_ns; /* monotonic; when it was so far first */
	int64_t asked_ns;
	char told[WINDOW_TIME_SIZE]; /* of which window; "": of none */
};

/* `how_far` is any text that changes when something moves. */
bool window_notice_look(
	struct window_notice *notice, const char *how_far, struct window_wait *out);
