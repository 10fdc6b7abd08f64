/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/progress/progress_line.h"

#include "cache/base/cleanup.h"

#include <string.h>

const char *progress_line_grow(struct progress_line *line, uint64_t done, uint64_t total)
{
	/* what each sixteenth adds; "100%" is as wide as ".25%" */
	static const char *const parts[PROGRESS_LINE_STEPS] = {".", ".", ".", "25%", ".",
		".", ".", "50%", ".", ".", ".", "75%", ".", ".", "", "100%|"};
	unsigned int steps = 0;
	size_t len = 0;

	if (total && done >= total)
		steps = PROGRESS_LINE_STEPS;
	else if (total)
		steps = (unsigned int)((double)done / (double)total *
				       PROGRESS_LINE_STEPS);
	/* a share that is rounded up is not all of it */
	if (steps == PROGRESS_LINE_STEPS && done < total)
		steps--;
	line->text[0] = '\0';
	for (; line->steps < steps; line->steps++) {
		const char *part = parts[line->steps];

		memcpy(line->text + len, part, strlen(part) + 1);
		len += strlen(part);
	}
	return line->text;
}
