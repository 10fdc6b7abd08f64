/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How far the disk is known to be durable. Content lands without fsync; a checkpoint flushes
 * the file system once (syncfs) and records the moment. After the machine went down, what
 * landed later is not trusted until its digest was checked; after a mere kill of the process
 * the kernel still holds every byte, which the unchanged boot id tells.
 *
 *	r = checkpoint_open(cache_dirfd, &checkpoint);
 *	if (checkpoint_is_doubtful(checkpoint, mtime_ns)) ...verify...
 *	r = checkpoint_write(checkpoint, false);	(every half minute; true at the end)
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

struct checkpoint;

/* Reads DIR/checkpoint; a missing or unreadable one trusts nothing, nor does that of another
 * directory, which came with a copy of it. Then notes there that a session is open. Borrows
 * `cache_dirfd`. */
int checkpoint_open(int cache_dirfd, struct checkpoint **out) WARN_UNUSED;
void checkpoint_free(struct checkpoint *c);

/* Whether a file with this modification time may have been lost in a crash before this
 * session. Any thread. */
bool checkpoint_is_doubtful(const struct checkpoint *c, int64_t mtime_ns);

/* Whether this session landed or verified it. Any thread. */
bool checkpoint_is_new(const struct checkpoint *c, int64_t mtime_ns);

/* Whether the machine went down under a session and not all has been verified since. Times of
 * files that are written in place say nothing then. */
bool checkpoint_is_after_crash(const struct checkpoint *c);

/* Everything doubtful has been verified or removed: trust all from now on. */
void checkpoint_settle(struct checkpoint *c);

/* Flushes the file system and records that; does nothing while anything is in doubt, so that
 * a crash now doubts it again. `is_last`: nothing is written after it. A flush that fails puts
 * everything in doubt for the next session. Returns 0 or -errno. One thread at a time. */
int checkpoint_write(struct checkpoint *c, bool is_last) WARN_UNUSED;
