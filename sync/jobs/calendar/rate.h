/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How admins write a rate (cache/base/threads/rate_limit.h). Pure; any thread. */
#pragma once

#include "cache/base/threads/rate_limit.h"
#include "sync/jobs/calendar/words.h"

#define RATE_TEXT_SIZE 32

/* "20M" is 20 million bytes a second, "20Mbit" a eighth of that; k, M, G and none, in either
 * case, a decimal fraction, "B" or "/s" behind it; "idle"; "unlimited". Returns 0, or -EINVAL
 * with the reason. */
int rate_parse(const char *text, struct rate_limit *out,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* What rate_parse() has read, in the shortest form that it reads back as this rate. */
void rate_format(const struct rate_limit *rate, char out[RATE_TEXT_SIZE]);

/* Both at once: idle if one is, and no more than the smaller number. */
struct rate_limit rate_both(
	const struct rate_limit *a, const struct rate_limit *b) WARN_UNUSED;
