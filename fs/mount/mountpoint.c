/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mount/mountpoint.h"

#include "cache/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <mntent.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define FSTYPE "fuse.depotfs"

/* Whether a mount of ours is (or was) on `path`. */
static bool is_ours(const char *path)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent entry;
	char line[8192];
	bool found = false;

	if (!mounts)
		return false;
	while (getmntent_r(mounts, &entry, line, sizeof(line)))
		if (strcmp(entry.mnt_dir, path) == 0)
			found = strcmp(entry.mnt_type, FSTYPE) == 0;
	endmntent(mounts);
	return found;
}

static int check_empty(const char *path)
{
	DIR *dir = opendir(path);
	int r = 0;

	if (!dir)
		return log_error_errno(-errno, "cannot open mountpoint %s: %s", path,
			log_strerror(errno));
	for (const struct dirent *d; r == 0 && (d = readdir(dir));)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			r = -ENOTEMPTY;
	closedir(dir);
	if (r < 0)
		return log_error_errno(r,
			"mountpoint %s is not empty: what is in it would be hidden; "
			"name an empty directory",
			path);
	return 0;
}

/* Attributes may still come from the kernel's memory when the daemon is gone; these cannot. */
static bool is_dead(const char *path)
{
	struct statfs st;

	return statfs(path, &st) < 0 && errno == ENOTCONN && is_ours(path);
}

int mountpoint_prepare(const char *path)
{
	struct stat st;

	if (is_dead(path)) {
		log_warn("taking away the dead mount on %s", path);
		if (umount2(path, MNT_DETACH) < 0)
			return log_error_errno(-errno,
				"the dead mount on %s cannot be taken away: %s; try "
				"'fusermount3 -uz %s'",
				path, log_strerror(errno), path);
	}
	if (stat(path, &st) < 0)
		return log_error_errno(-errno,
			"mountpoint %s: %s; make it with 'mkdir -p %s'", path,
			log_strerror(errno), path);
	if (!S_ISDIR(st.st_mode))
		return log_error_errno(
			-ENOTDIR, "mountpoint %s is not a directory", path);
	if (is_ours(path))
		return log_error_errno(-EBUSY,
			"a depot is mounted on %s already; 'depotfs umount %s' ends it",
			path, path);
	return check_empty(path);
}
