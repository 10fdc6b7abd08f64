/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The partials as files: for whoever counts or removes them. What is in one: cache/content/partial.h. */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/disk/digest_files.h"
#include "cache/objects/bounds/usage.h"

/* Each is named by the whole content's digest; it landed with its last piece. Returns what the
 * last call did, or -errno. Any thread. */
int partial_files_list(int cache_dirfd, digest_file_callback each, void *arg) WARN_UNUSED;

/* Removes one; *out_bytes (may be NULL) says what it took on disk. 0, -ENOENT or -errno. Any
 * thread. */
int partial_file_remove(int cache_dirfd, struct usage *usage, const struct digest *digest,
	uint64_t *out_bytes) WARN_UNUSED;
