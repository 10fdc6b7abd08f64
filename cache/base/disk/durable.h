/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The one way to publish a file so that a crash leaves the old or the new one, whole:
 * write a temporary name, fsync, close, rename, fsync the directory.
 *
 *	r = durable_write(dirfd, "trust", data, len, 0644);
 *
 *	r = durable_adopt(tmpfd, tmpdir, tmpname, dirfd, name);	(a file written in pieces)
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stddef.h>
#include <sys/types.h>

/* Replaces dirfd/name by these bytes. The temporary name is name + ".tmp" and random digits,
 * in the same directory, removed on failure. Returns 0 or -errno. Any thread. */
int durable_write(int dirfd, const char *name, const void *data, size_t len,
	mode_t mode) WARN_UNUSED;

/* Makes the finished, still open file `fd` (known as from_dirfd/from_name) appear as
 * dirfd/name. The caller closes `fd`. Returns 0 or -errno. */
int durable_adopt(int fd, int from_dirfd, const char *from_name, int dirfd,
	const char *name) WARN_UNUSED;

/* Removes what writers that were killed left in this directory: names that end in ".tmp" and
 * eight digits. Only while nobody else writes there. Returns 0 or -errno. */
int durable_sweep(int dirfd) WARN_UNUSED;
