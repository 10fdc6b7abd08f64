/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The partials as files: for whoever counts or removes them. What is in one: cache/content/partial.h. */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/data/hash.h"
#include "cache/objects/bounds/usage.h"

struct partial_file {
	struct digest digest; /* of the whole content */
	uint64_t disk_bytes;
	int64_t landed_ns; /* its last piece */
};

/* Called for each; it may be removed there. A return other than 0 ends the walk. */
typedef int (*partial_file_callback)(void *arg, const struct partial_file *file);

/* Returns what the last call did, or -errno. Any thread. */
int partial_files_list(
	int cache_dirfd, partial_file_callback each, void *arg) WARN_UNUSED;

/* Removes one; *out_bytes (may be NULL) says what it took on disk. 0, -ENOENT or -errno. Any
 * thread. */
int partial_file_remove(int cache_dirfd, struct usage *usage, const struct digest *digest,
	uint64_t *out_bytes) WARN_UNUSED;
