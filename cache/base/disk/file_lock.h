/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A lock that one process holds on a directory's behalf and that dies with it (flock(2)). */
#pragma once

#include "cache/base/cleanup.h"

#include <sys/types.h>

/* Takes dirfd/name (created 0600) without waiting and writes this process's id into it.
 * Returns the descriptor that holds the lock (closing it lets go), -EWOULDBLOCK when another
 * process has it (its id in *out_holder, 0 if unknown), or -errno. */
int file_lock_take(int dirfd, const char *name, pid_t *out_holder) WARN_UNUSED;
