/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Progress for whoever waits at a command: a live bar on a terminal, a growing line elsewhere.
 *
 *	struct progress_show show;
 *	progress_show_begin(&show, stderr);
 *	progress_show_set(&show, "fetching", done, total);	(some times a second)
 *	progress_show_end(&show);
 *
 * One thread.
 */
#pragma once

#include "sync/jobs/progress/progress_bar.h"
#include "sync/jobs/progress/progress_line.h"

#include <stdio.h>

struct progress_show {
	FILE *to;
	bool is_terminal;
	bool is_drawn; /* something stands in the current line */
	char label[32];
	struct progress_bar bar;
	struct progress_line line;
};

/* Borrows `to`. A terminal without a width, or TERM=dumb, gets the growing line. */
void progress_show_begin(struct progress_show *show, FILE *to);

/* Another label than before begins a new line, the last one left as it stands. */
void progress_show_set(struct progress_show *show, const char *label, uint64_t done_bytes,
	uint64_t total_bytes);

/* Leaves what was drawn and ends its line. */
void progress_show_end(struct progress_show *show);
