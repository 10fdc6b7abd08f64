/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Objects on their way into the depot: written under temporary names, flushed to disk all
 * together, renamed, and their directories flushed. Thousands of small objects so cost one
 * flush, not one each, and no object ever has its name before its bytes are safe.
 *
 *	staging_add(s, "pack", &digest, "pack-0");
 *	...
 *	r = staging_install(s);
 */
#pragma once

#include "sync/master/depot/depot.h"

struct staging;

/* `tmp_fd`, borrowed, is .publisher/tmp. Anything left in it by an interrupted publish is
 * removed, as are half-written records. */
int staging_new(const struct depot *depot, int tmp_fd, struct staging **out) WARN_UNUSED;

/* Removes what was not installed. */
void staging_free(struct staging *s);

/* Announces the complete file tmp_name as the object's. Any thread. */
int staging_add(struct staging *s, const char *kind, const struct digest *digest,
	const char *tmp_name) WARN_UNUSED;

/* Returns 0 or -errno, logged. One thread, the others done. */
int staging_install(struct staging *s) WARN_UNUSED;
