/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Progress for a log: one line that grows as progress is made and is never written over,
 *	fetching  |...25%...50%...75%..100%|
 *
 *	struct progress_line line = {0};
 *	fputs(progress_line_grow(&line, done, total), file);	("" most of the time)
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PROGRESS_LINE_STEPS 16

struct progress_line {
	unsigned int steps; /* of PROGRESS_LINE_STEPS that were written */
	char text[32];
};

/* What is to be appended now; it ends with "100%|" when done reaches total, once. The text lives in
 * `line`. A total of 0 means that it is not known: nothing. */
const char *progress_line_grow(struct progress_line *line, uint64_t done, uint64_t total);
