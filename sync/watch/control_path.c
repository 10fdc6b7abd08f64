/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/watch/control.h"

#include "cache/base/data/hash.h"
#include "cache/base/disk/mount_path.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool control_is_own_hook(const char *mountpoint)
{
	const char *own = getenv("DEPOTFS_RUN") ? getenv("DEPOTFS_MOUNTPOINT") : NULL;
	char path[PATH_MAX];

	return own && mount_path_of(mountpoint, path) == 0 && strcmp(own, path) == 0;
}

int control_path(const char *mountpoint, char out[CONTROL_PATH_SIZE])
{
	char path[PATH_MAX];
	const char *base = "/run";
	int r = mount_path_of(mountpoint, path);

	if (r < 0)
		return r;
	if (geteuid() != 0)
		base = getenv("XDG_RUNTIME_DIR");
	if (!base || base[0] != '/')
		return -ENXIO;
	int n = snprintf(out, CONTROL_PATH_SIZE, "%s/depotfs/%016" PRIx64 ".sock", base,
		hash64(path, strlen(path), 0));

	return n < CONTROL_PATH_SIZE ? 0 : -ENAMETOOLONG;
}
