/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * inih hands out key and value but no line, and says nothing of a section without keys. So it is
 * given the text through a reader that counts lines and sees the headers go by: when a header
 * has passed, the section before it has ended, and the next key begins the new one.
 */
#include "sync/jobs/policy/ini.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_LEN 190 /* less than Debian's INI_MAX_LINE and its three */

struct input {
	const char *next;
	const char *end;
	const struct ini_events *events;
	char *reason;
	int line;	  /* the one that inih works on */
	int section_line; /* of the header that passed last; 0: none */
	bool is_begun;	  /* events->begin() was called for it */
	int error;
	int error_line;
	int stop_line; /* where reading ended for it */
};

static void fail(struct input *in, int error, int line)
{
	if (in->error)
		return;
	in->error = error;
	in->error_line = line;
	in->stop_line = in->line;
}

static void end_section(struct input *in)
{
	int r = 0;

	if (in->is_begun)
		r = in->events->end(in->events->context, in->reason);
	else if (in->section_line)
		r = words_refuse(in->reason, "nothing stands in this section");
	if (r < 0)
		fail(in, r, in->section_line);
	in->is_begun = false;
}

/* As fgets(3); inih wants the line feed as well. */
static char *read_line(char *out, int size, void *stream)
{
	struct input *in = stream;
	size_t left = (size_t)(in->end - in->next);
	const char *lf = left ? memchr(in->next, '\n', left) : NULL;
	size_t len = lf ? (size_t)(lf - in->next) + 1 : left;

	if (in->error || !left)
		return NULL;
	in->line++;
	if (len > LINE_MAX_LEN || (int)len >= size) {
		fail(in,
			words_refuse(in->reason,
				"it is longer than %d bytes: go on in the next line, "
				"begun "
				"with a blank",
				LINE_MAX_LEN),
			in->line);
		return NULL;
	}
	if (*in->next == '[') {
		end_section(in);
		if (in->error)
			return NULL;
		in->section_line = in->line;
	}
	memcpy(out, in->next, len);
	out[len] = '\0';
	in->next += len;
	return out;
}

/* inih's handler: nonzero is success. */
static int take_line(void *user, const char *section, const char *key, const char *value)
{
	struct input *in = user;
	const struct ini_events *events = in->events;
	int r = 0;

	if (in->error)
		return 0;
	if (!in->is_begun) {
		r = events->begin(events->context, section, in->reason);
		if (r < 0)
			fail(in, r, in->section_line ? in->section_line : in->line);
		in->is_begun = r == 0;
	}
	if (r == 0) {
		r = events->line(events->context, key, value, in->reason);
		if (r < 0)
			fail(in, r, in->line);
	}
	return r == 0;
}

/* The lines' numbers of what cannot be text, before inih sees it. */
static int check_bytes(struct input *in)
{
	int line = 1;

	for (const char *p = in->next; p < in->end; p++) {
		if (*p == '\n')
			line++;
		else if (iscntrl((unsigned char)*p) && *p != '\t' && *p != '\r')
			fail(in,
				words_refuse(in->reason,
					"the byte 0x%02x is none of a text",
					(unsigned int)(unsigned char)*p),
				line);
	}
	return in->error;
}

int ini_read(const char *text, size_t len, const struct ini_events *events,
	char reason[TEXT_REASON_SIZE])
{
	char why[TEXT_REASON_SIZE] = "";
	struct input in = {
		.next = text, .end = text + len, .events = events, .reason = why};
	int syntax_line = 0;

	if (check_bytes(&in) == 0)
		syntax_line = ini_parse_stream(read_line, &in, take_line, &in);
	in.line++;
	if (!in.error)
		end_section(&in);
	/* inih counts a refusal of ours in that line as its own error, too */
	if (syntax_line > 0 && (!in.error || syntax_line < in.stop_line)) {
		in.error = words_refuse(
			why, "it is neither a [section] nor a line KEY = VALUE");
		in.error_line = syntax_line;
	}
	if (in.error == -EINVAL)
		(void)snprintf(reason, TEXT_REASON_SIZE, "line %d: %.*s", in.error_line,
			TEXT_REASON_SIZE - 24, why);
	return in.error;
}
