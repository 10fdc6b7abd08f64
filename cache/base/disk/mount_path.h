/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One name for a mountpoint, however it was written: its sockets, ids and checks build on it. */
#pragma once

#include "cache/base/cleanup.h"

#include <limits.h>

/* Writes the absolute path without symlinks, dots or trailing slashes (PATH_MAX bytes); also
 * for a mount whose daemon is dead. Returns 0, -ENAMETOOLONG or what realpath(3) reports. */
int mount_path_of(const char *mountpoint, char out[PATH_MAX]) WARN_UNUSED;
