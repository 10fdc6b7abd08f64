/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/disk/durable.h"

#include "cache/base/disk/dir.h"
#include "cache/base/disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define TMP_SUFFIX_LENGTH 12 /* ".tmp" and the digits of durable_write()'s names */

/* Flushes the directory that holds `name` (which may contain slashes). */
static int sync_parent(int dirfd, const char *name)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(name, '/');

	if (!slash)
		(void)snprintf(parent, sizeof(parent), ".");
	else
		(void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - name), name);
	AUTO_CLOSE int fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int durable_adopt(
	int fd, int from_dirfd, const char *from_name, int dirfd, const char *name)
{
	if (fsync(fd) < 0)
		return -errno;
	if (renameat(from_dirfd, from_name, dirfd, name) < 0)
		return -errno;
	return sync_parent(dirfd, name);
}

int durable_write(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
	char tmp[PATH_MAX];
	unsigned int salt;

	if (getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
		return -EIO;
	if (snprintf(tmp, sizeof(tmp), "%s.tmp%08x", name, salt) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	AUTO_CLOSE int fd = openat(
		dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0)
		return -errno;
	int r = io_write(fd, data, len);

	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0)
		r = durable_adopt(fd, dirfd, tmp, dirfd, name);
	if (r < 0)
		(void)unlinkat(dirfd, tmp, 0);
	return r;
}

static bool is_leftover(const char *name)
{
	size_t len = strlen(name);

	return len > TMP_SUFFIX_LENGTH &&
	       strncmp(name + len - TMP_SUFFIX_LENGTH, ".tmp", 4) == 0 &&
	       strspn(name + len - 8, "0123456789abcdef") == 8;
}

static int sweep_one(void *arg, int dirfd, const char *name)
{
	(void)arg;
	if (is_leftover(name) && unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int durable_sweep(int dirfd)
{
	return dir_each(dirfd, ".", sweep_one, NULL);
}
