/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/disk/digest_files.h"

#include "cache/base/disk/dir.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct listing {
	digest_file_callback each;
	void *arg;
};

static int list_one(void *arg, int dirfd, const char *name)
{
	const struct listing *list = arg;
	struct digest_file file;
	struct stat st;

	if (digest_from_hex(name, &file.digest) < 0 || name[DIGEST_HEX_SIZE - 1] != '\0')
		return 0;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	file.disk_bytes = (uint64_t)st.st_blocks * 512;
	file.landed_ns = st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec;
	return list->each(list->arg, &file);
}

int digest_files_each(int dirfd, const char *path, digest_file_callback each, void *arg)
{
	struct listing list = {.each = each, .arg = arg};

	return dir_each(dirfd, path, list_one, &list);
}
