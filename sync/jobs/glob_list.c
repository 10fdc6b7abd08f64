/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/glob_list.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

int glob_list_parse(const char *text, struct glob_list *out)
{
	size_t lines = 1;
	char *rest;
	char *glob;

	*out = (struct glob_list){.text = mem_strdup(text ? text : "")};
	if (!out->text)
		return -ENOMEM;
	for (const char *c = out->text; *c; c++)
		lines += *c == '\n';
	out->globs = mem_calloc(lines, sizeof(*out->globs));
	if (!out->globs) {
		glob_list_release(out);
		return -ENOMEM;
	}
	rest = out->text;
	while ((glob = strsep(&rest, "\n")))
		if (*glob)
			out->globs[out->count++] = glob;
	return 0;
}

void glob_list_release(struct glob_list *list)
{
	free(list->text);
	free(list->globs);
	*list = (struct glob_list){0};
}

bool glob_list_has_path(const struct glob_list *list, const char *path)
{
	for (size_t i = 0; i < list->count; i++)
		if (fnmatch(list->globs[i], path, 0) == 0)
			return true;
	return false;
}
