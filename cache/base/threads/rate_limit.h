/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How fast background work may fetch: what windows and schedules say and the transport obeys.
 */
#pragma once

#include <stdint.h>

struct rate_limit {
	enum {
		RATE_UNLIMITED, /* all zero: nothing was said */
		RATE_FIXED,	/* bytes_per_sec, averaged */
		RATE_IDLE,	/* only what the link has to spare: LEDBAT (RFC 6817) */
	} kind;
	uint64_t
		bytes_per_sec; /* RATE_FIXED: at least 1; RATE_IDLE: at most so much, 0: any */
};
