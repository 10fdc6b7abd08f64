/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which packages a job is about: globs over package paths (fnmatch(3); '*' stops at '/'), or
 * everything. What is below a selected package is selected with it.
 *
 *	r = selection_new(globs, count, &selection);
 *	if (selection_has(selection, "npm/left-pad")) ...
 *	else if (selection_reaches_below(selection, "npm")) ...
 *	selection_free(selection);
 *
 * Any thread.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct selection;

/* `globs`: copied; slashes at their ends do not count. None: everything. Returns 0, -EINVAL for a
 * glob that is empty or above 1024 bytes, or -ENOMEM. */
int selection_new(
	const char *const *globs, size_t count, struct selection **out) WARN_UNUSED;
void selection_free(struct selection *s);

bool selection_is_everything(const struct selection *s);

/* Whether a package of this path ("" for the root) is selected by its own name. */
bool selection_has(const struct selection *s, const char *path);

/* Whether below this directory there may be packages that are selected. */
bool selection_reaches_below(const struct selection *s, const char *path);

/* Whether this path, something above or something below may be selected. */
bool selection_concerns(const struct selection *s, const char *path);
