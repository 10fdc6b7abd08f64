/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The files of a directory that are named by the digest of what they hold. Any thread. */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/data/hash.h"

struct digest_file {
	struct digest digest;
	uint64_t disk_bytes;
	int64_t landed_ns; /* its modification time */
};

/* Called for each; it may be removed meanwhile. A return other than 0 ends the walk. */
typedef int (*digest_file_callback)(void *arg, const struct digest_file *file);

/* Calls `each` for those in dirfd/path; other names are passed over. Returns what the last call
 * did, or -errno. */
int digest_files_each(
	int dirfd, const char *path, digest_file_callback each, void *arg) WARN_UNUSED;
