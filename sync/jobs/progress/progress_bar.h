/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How far something has come, as one line for a terminal: a bar, bytes, rate and time left. Pure
 * text; where it goes is sync/jobs/progress/progress_show.h.
 *
 *	struct progress_bar bar;
 *	progress_bar_init(&bar, clock_mono_ns());
 *	progress_bar_set(&bar, clock_mono_ns(), done, total);
 *	progress_bar_render(&bar, "fetching", 80, line, sizeof(line));
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_TEXT_SIZE 512

struct progress_bar {
	uint64_t done_bytes;
	uint64_t total_bytes; /* 0: not known yet */
	uint64_t rated_bytes; /* those that the rate has seen */
	int64_t rated_ns;
	double rate; /* bytes a second, smoothed; 0: not known yet */
};

void progress_bar_init(struct progress_bar *bar, int64_t now_ns);

/* Where it stands. The rate is smoothed exponentially over some seconds, and counts nothing that was
 * done before the first call. */
void progress_bar_set(struct progress_bar *bar, int64_t now_ns, uint64_t done_bytes,
	uint64_t total_bytes);

/* One line of at most `width` columns, no line feed, no escapes; what does not fit is left out, the
 * bar first shrinks, then goes. `label` is plain ASCII. */
void progress_bar_render(const struct progress_bar *bar, const char *label,
	unsigned int width, char *out, size_t size);

/* "0:07", "12:40", "3:05:00". */
void progress_format_time(double seconds, char *out, size_t size);
