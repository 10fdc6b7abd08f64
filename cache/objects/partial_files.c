/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/partial_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define PARTIAL_DIR "partial" /* of cache/content/content.c */

int partial_files_list(int cache_dirfd, digest_file_callback each, void *arg)
{
	int r = digest_files_each(cache_dirfd, PARTIAL_DIR, each, arg);

	return r == -ENOENT ? 0 : r;
}

int partial_file_remove(int cache_dirfd, struct usage *usage, const struct digest *digest,
	uint64_t *out_bytes)
{
	char path[sizeof(PARTIAL_DIR) + DIGEST_HEX_SIZE];
	char hex[DIGEST_HEX_SIZE];
	struct stat st;

	digest_to_hex(digest, hex);
	(void)snprintf(path, sizeof(path), PARTIAL_DIR "/%s", hex);
	if (fstatat(cache_dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		unlinkat(cache_dirfd, path, 0) < 0)
		return -errno;
	usage_move(usage, USAGE_PARTIALS, -(int64_t)st.st_blocks * 512);
	if (out_bytes)
		*out_bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}
