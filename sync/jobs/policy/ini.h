/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * INI text, line by line, with every mistake's line: the only user of inih. Private to
 * sync/jobs/policy.
 *
 *	struct ini_events events = {.context = ..., .begin = ..., .line = ..., .end = ...};
 *	r = ini_read(text, len, &events, reason);
 */
#pragma once

#include "sync/jobs/calendar/words.h"

/* Each returns 0, -EINVAL with a reason, or another error. The first error ends the reading. */
struct ini_events {
	void *context;
	int (*begin)(void *context, const char *section, char reason[TEXT_REASON_SIZE]);
	int (*line)(void *context, const char *key, const char *value,
		char reason[TEXT_REASON_SIZE]);
	int (*end)(void *context, char reason[TEXT_REASON_SIZE]); /* of a section */
};

/* A section that has no line is refused; lines before the first are in section "". A value that
 * goes on, in lines that begin with a blank, comes in as many calls with its key. Returns 0,
 * -EINVAL with "line 7: ..." in `reason`, or what a handler returned. */
int ini_read(const char *text, size_t len, const struct ini_events *events,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;
