/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The directory where a mount keeps what it has fetched: made, judged, and held by one daemon.
 *
 *	struct cache_dir dir = CACHE_DIR_INIT;
 *
 *	r = cache_dir_open(path, mountpoint, &dir);
 *	... dir.fd ...
 *	cache_dir_close(&dir);
 */
#pragma once

#include "cache/base/cleanup.h"

struct cache_dir {
	int fd;
	int lock; /* another daemon's mount is refused while it is open */
};

#define CACHE_DIR_INIT                                                                   \
	{                                                                                \
		.fd = -1, .lock = -1                                                     \
	}

/* Makes the directory if need be, refuses one that others may write to, that lies in the
 * mountpoint or the mountpoint in it, or that another daemon has, and removes what writers
 * that were killed left in it. Returns 0, or -errno after a message with the remedy. Close it
 * in both cases. */
int cache_dir_open(
	const char *path, const char *mountpoint, struct cache_dir *dir) WARN_UNUSED;
void cache_dir_close(struct cache_dir *dir);
