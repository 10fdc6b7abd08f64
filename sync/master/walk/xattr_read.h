/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The extended attributes that travel, in the catalog's encoding. */
#pragma once

#include "cache/base/data/arena.h"
#include "sync/master/ingest/content.h"

/* Reads those of the open file `fd`, or, when `fd` is negative, of `path` itself, a symlink
 * not followed. *out is NULL when there are none to carry: user.* but user.depotfs.*, POSIX
 * ACLs, security.NTACL and security.capability. Memory from `arena`. Returns 0 or -errno. */
int xattr_read(int fd, const char *path, struct arena *arena,
	const struct blob **out) WARN_UNUSED;
