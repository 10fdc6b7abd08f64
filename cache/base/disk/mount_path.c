/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/disk/mount_path.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A dead mount cannot be looked into, but its parent can. */
int mount_path_of(const char *mountpoint, char out[PATH_MAX])
{
	char parent[PATH_MAX];
	AUTO_FREE char *copy = mem_strdup(mountpoint);

	if (!copy)
		return -ENOMEM;
	if (realpath(mountpoint, out))
		return 0;
	if (errno != ENOTCONN && errno != EIO && errno != ETIMEDOUT)
		return -errno;
	size_t len = strlen(copy);

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	char *slash = strrchr(copy, '/');
	const char *name = slash ? slash + 1 : copy;
	const char *above = !slash ? "." : slash == copy ? "/" : copy;

	if (slash && slash != copy)
		*slash = '\0';
	if (!realpath(above, parent))
		return -errno;
	int n = snprintf(out, PATH_MAX, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent,
		slash == copy ? copy + 1 : name);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}
