/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mount/cache_dir.h"

#include "cache/base/disk/durable.h"
#include "cache/base/disk/file_lock.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

static bool is_within(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* A cache below the mount would be hidden by it; a mount in the cache would be swept with it. */
static int check_apart(const char *path, const char *mountpoint)
{
	char cache[PATH_MAX];

	if (!realpath(path, cache))
		return log_error_errno(-errno, "cannot find the cache directory %s: %s",
			path, log_strerror(errno));
	if (is_within(cache, mountpoint) || is_within(mountpoint, cache))
		return log_error_errno(-EINVAL,
			"the cache directory %s and the mountpoint %s must lie apart, "
			"neither in the other",
			path, mountpoint);
	return 0;
}

/* Who may write here decides what the mount shows: what lies in the cache counts as verified. */
static int check_owner(const char *path, int dirfd)
{
	struct stat st;

	if (fstat(dirfd, &st) < 0)
		return -errno;
	bool is_ours = st.st_uid == 0 || st.st_uid == geteuid();
	bool is_open = (st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX);

	if (is_ours && !is_open)
		return 0;
	return log_error_errno(-EPERM,
		"the cache directory %s can be changed by others than its daemon: make "
		"it belong to the daemon's user, with mode 0700",
		path);
}

static int take_lock(const char *path, struct cache_dir *dir)
{
	pid_t holder = 0;

	dir->lock = file_lock_take(dir->fd, "lock", &holder);
	if (dir->lock == -EWOULDBLOCK)
		return log_error_errno(-EBUSY,
			"the cache directory %s is in use by process %d: each mount "
			"needs one of its own",
			path, (int)holder);
	if (dir->lock < 0)
		return log_error_errno(dir->lock,
			"cannot write to the cache directory %s: %s", path,
			log_strerror(dir->lock));
	return 0;
}

static int sweep(const char *path, const struct cache_dir *dir)
{
	AUTO_CLOSE int heads =
		openat(dir->fd, "head", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = durable_sweep(dir->fd);

	if (r == 0 && heads >= 0)
		r = durable_sweep(heads);
	if (r < 0)
		return log_error_errno(r, "cannot tidy the cache directory %s: %s", path,
			log_strerror(r));
	return 0;
}

int cache_dir_open(const char *path, const char *mountpoint, struct cache_dir *dir)
{
	int r = io_mkdirs(path, 0700);

	if (r < 0)
		return log_error_errno(r, "cannot make the cache directory %s: %s", path,
			log_strerror(r));
	dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->fd < 0)
		return log_error_errno(-errno, "cannot open the cache directory %s: %s",
			path, log_strerror(errno));
	r = check_owner(path, dir->fd);
	if (r == 0)
		r = check_apart(path, mountpoint);
	if (r == 0)
		r = take_lock(path, dir);
	return r < 0 ? r : sweep(path, dir);
}

void cache_dir_close(struct cache_dir *dir)
{
	if (dir->lock >= 0)
		close(dir->lock);
	if (dir->fd >= 0)
		close(dir->fd);
	*dir = (struct cache_dir)CACHE_DIR_INIT;
}
