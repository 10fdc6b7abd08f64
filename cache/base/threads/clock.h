/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Time, in nanoseconds, from one place that tests can set. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NS_PER_MS  INT64_C(1000000)
#define NS_PER_SEC INT64_C(1000000000)

/* Monotonic: for deadlines and durations. */
int64_t clock_mono_ns(void);

/* Since 1970, UTC: for records. */
int64_t clock_real_ns(void);

/* From now on both clocks stand at `real_ns`; 0 gives the real clocks back. For tests. */
void clock_fake(int64_t real_ns);

#define CLOCK_TEXT_SIZE 32

/* Writes `real_ns` as 2026-03-01T12:00:00Z into `out` (CLOCK_TEXT_SIZE bytes). */
void clock_format(int64_t real_ns, char out[CLOCK_TEXT_SIZE]);

/* Reads that form. Returns 0 or -EINVAL. */
int clock_parse(const char *text, int64_t *out_real_ns);
