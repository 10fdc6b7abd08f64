/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/upkeep/mount_place.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* As realpath(3), but the last component may be missing. */
static int real_path(const char *path, char out[PATH_MAX])
{
	char copy[PATH_MAX];
	char parent[PATH_MAX];

	if (realpath(path, out))
		return 0;
	if (errno != ENOENT || strlen(path) >= sizeof(copy))
		return -errno;
	(void)snprintf(copy, sizeof(copy), "%s", path);
	if (!realpath(dirname(copy), parent))
		return -errno;
	(void)snprintf(copy, sizeof(copy), "%s", path);
	const char *name = basename(copy);
	int n = snprintf(
		out, PATH_MAX, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int mount_place_of(const char *path, struct mount_place *out)
{
	char whole[PATH_MAX];
	char top[PATH_MAX];
	struct stat here;
	struct stat above;
	int r = real_path(path, whole);

	if (r < 0)
		return r;
	(void)snprintf(top, sizeof(top), "%s", whole);
	char *slash = strrchr(top, '/');

	if (lstat(top, &here) < 0) {
		if (errno != ENOENT)
			return -errno;
		/* one that is gone lies where its directory does */
		slash[slash == top] = '\0';
		if (lstat(top, &here) < 0)
			return -errno;
	}
	/* up, as long as it is the same file system */
	while (strcmp(top, "/") != 0) {
		char parent[PATH_MAX];

		(void)snprintf(parent, sizeof(parent), "%s", top);
		slash = strrchr(parent, '/');
		slash[slash == parent] = '\0';
		if (lstat(parent, &above) < 0)
			return -errno;
		if (above.st_dev != here.st_dev)
			break;
		(void)snprintf(top, sizeof(top), "%s", parent);
	}
	size_t len = strcmp(top, "/") == 0 ? 0 : strlen(top);

	(void)snprintf(out->mountpoint, sizeof(out->mountpoint), "%s", top);
	(void)snprintf(out->path, sizeof(out->path), "%s",
		whole[len] == '/' ? whole + len + 1 : whole + len);
	return 0;
}
