/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a path of this machine lies: in which mount, and as what there. */
#pragma once

#include "cache/base/cleanup.h"

#include <limits.h>

struct mount_place {
	char mountpoint[PATH_MAX];
	char path[PATH_MAX]; /* from the mountpoint; "" for itself */
};

/* Follows symlinks; the path's last component need not exist (any more). Returns 0 or what
 * realpath(3) and stat(2) report. */
int mount_place_of(const char *path, struct mount_place *out) WARN_UNUSED;
