/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Directories and files of a test's own, /tmp/depotfs-NAME- and six letters.
 *
 *	char dir[TEMPORARY_SIZE];
 *	assert_true(temporary_dir(dir, sizeof(dir), "cache"));
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMPORARY_SIZE 32

/* What mkdtemp() and mkstemp() put their letters into. False: errno is ENAMETOOLONG. */
static inline bool temporary_template(char *out, size_t size, const char *name)
{
	size_t len = (size_t)snprintf(out, size, "/tmp/depotfs-%s-", name);

	if (len + 6 >= size) {
		errno = ENAMETOOLONG;
		return false;
	}
	memset(out + len, 'X', 6);
	out[len + 6] = '\0';
	return true;
}

/* False: errno says why. The caller removes it. */
static inline bool temporary_dir(char *out, size_t size, const char *name)
{
	return temporary_template(out, size, name) && mkdtemp(out);
}

/* Open for reading and writing; -1: errno says why. The caller closes and removes it. */
static inline int temporary_file(char *out, size_t size, const char *name)
{
	return temporary_template(out, size, name) ? mkstemp(out) : -1;
}
