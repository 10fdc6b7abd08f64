/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Going through a directory's names. Any thread. */
#pragma once

#include "cache/base/cleanup.h"

/* What is done with one name. A return other than 0 ends the walk. */
typedef int (*dir_callback)(void *arg, int dirfd, const char *name);

/* Calls `each` for every name in dirfd/path but those that begin with a dot; it may remove what
 * it is called for. Returns what the last call did, or -errno. */
int dir_each(int dirfd, const char *path, dir_callback each, void *arg) WARN_UNUSED;
