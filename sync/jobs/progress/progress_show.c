/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/progress/progress_show.h"

#include "cache/base/threads/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* 0 if there is none to be had. */
static unsigned int terminal_width(FILE *to)
{
	struct winsize size;

	return ioctl(fileno(to), TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void progress_show_begin(struct progress_show *show, FILE *to)
{
	const char *term = getenv("TERM");

	*show = (struct progress_show){.to = to};
	show->is_terminal = isatty(fileno(to)) && terminal_width(to) && term &&
			    strcmp(term, "dumb") != 0;
}

static void begin_label(struct progress_show *show, const char *label)
{
	progress_show_end(show);
	(void)snprintf(show->label, sizeof(show->label), "%s", label);
	progress_bar_init(&show->bar, clock_mono_ns());
	show->line = (struct progress_line){0};
}

void progress_show_set(struct progress_show *show, const char *label, uint64_t done_bytes,
	uint64_t total_bytes)
{
	if (strcmp(show->label, label) != 0)
		begin_label(show, label);
	if (show->is_terminal) {
		char text[PROGRESS_TEXT_SIZE];
		unsigned int width = terminal_width(show->to);

		progress_bar_set(&show->bar, clock_mono_ns(), done_bytes, total_bytes);
		/* the last column is left free: some terminals wrap there */
		progress_bar_render(&show->bar, show->label, width ? width - 1 : 0, text,
			sizeof(text));
		(void)fprintf(show->to, "\r%s\033[K", text);
	} else {
		const char *grown =
			progress_line_grow(&show->line, done_bytes, total_bytes);

		if (!*grown)
			return;
		(void)fprintf(show->to, "%s%s%s", show->is_drawn ? "" : show->label,
			show->is_drawn ? "" : "  |", grown);
	}
	show->is_drawn = true;
	(void)fflush(show->to);
}

void progress_show_end(struct progress_show *show)
{
	if (show->is_drawn)
		(void)fputc('\n', show->to);
	(void)fflush(show->to);
	show->is_drawn = false;
	show->label[0] = '\0';
}
