/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Globs as the admin writes them, one a line, taken apart.
 *
 *	r = glob_list_parse("npm/typescript/5.4*\ndeb/a*", &list);
 *	if (glob_list_has_path(&list, "npm/typescript/5.4.2/lib/tsc.js")) ...
 *	glob_list_release(&list);
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct glob_list {
	char *text;
	const char **globs; /* into text */
	size_t count;
};

/* NULL and "" hold none. 0 or -ENOMEM. */
int glob_list_parse(const char *text, struct glob_list *out) WARN_UNUSED;
void glob_list_release(struct glob_list *list);
#define AUTO_GLOB_LIST CLEANUP(glob_list_release)

/* Whether one of them matches the whole path; '*' and '?' match '/', too. */
bool glob_list_has_path(const struct glob_list *list, const char *path);
