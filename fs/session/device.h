/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How libfuse reads requests from /dev/fuse and writes answers to it: through us, as it takes one
 * kind of end of a mount for an error, and leaves out of two answers what passthrough needs; and one
 * thread reads at a time (fs/session/turns.h).
 *
 *	r = device_attach(fuse);	(mounted, not looping yet)
 */
#pragma once

#include "cache/base/cleanup.h"

struct fuse_session;

/* The session's user data must be its struct session. 0 or -errno. */
int device_attach(struct fuse_session *fuse) WARN_UNUSED;
