/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/partial_files.h"

#include "cache/base/disk/dir.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define PARTIAL_DIR "partial" /* of cache/content/content.c */

struct listing {
	partial_file_callback each;
	void *arg;
};

static int list_one(void *arg, int dirfd, const char *name)
{
	const struct listing *list = arg;
	struct partial_file file;
	struct stat st;

	if (digest_from_hex(name, &file.digest) < 0 || name[DIGEST_HEX_SIZE - 1] != '\0')
		return 0;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	file.disk_bytes = (uint64_t)st.st_blocks * 512;
	file.landed_ns = st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec;
	return list->each(list->arg, &file);
}

int partial_files_list(int cache_dirfd, partial_file_callback each, void *arg)
{
	struct listing list = {.each = each, .arg = arg};
	int r = dir_each(cache_dirfd, PARTIAL_DIR, list_one, &list);

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
