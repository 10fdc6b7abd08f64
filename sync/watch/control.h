/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The way to talk to the daemon that serves a mountpoint: a Unix socket for its owner only.
 * One request and one reply a connection, each a JSON object up to the end of the stream.
 *
 *	r = control_start(mountpoint, handle, arg, &control);	(the daemon)
 *	...
 *	control_stop(control);
 *
 *	r = control_call(mountpoint, "{\"verb\":\"status\"}", &reply);	(the command)
 *
 * The socket is /run/depotfs/<hash of the real path>.sock for root, and below
 * $XDG_RUNTIME_DIR/depotfs for others; the directory is 0700, the socket 0600, and the peer's
 * user is checked besides.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/data/buffer.h"

#include <stdbool.h>

#define CONTROL_REQUEST_MAX (64 * 1024)
#define CONTROL_REPLY_MAX   (64 * 1024 * 1024)
#define CONTROL_PATH_SIZE   108 /* of sun_path */

/* Answers a request (NUL-terminated text, not yet parsed) by appending to `reply`. On a thread of
 * its own, up to 8 at once; who asks then waits for one of them to end. A negative return is sent as
 * {"error": "its words"} in place of what `reply` holds. */
typedef int (*control_handler)(void *arg, const char *request, struct buffer *reply);

struct control;

/* Makes the socket and its thread; replaces what a dead daemon left behind. Returns 0,
 * -EADDRINUSE if a living one serves this mountpoint, -EPERM if the directory is not ours
 * alone, -ENXIO if there is no place for the socket, or -errno. */
int control_start(const char *mountpoint, control_handler handle, void *arg,
	struct control **out) WARN_UNUSED;

/* Ends the thread and removes the socket; waits for the handlers that run. Not from one of them. */
void control_stop(struct control *control);

/* Sends `request` and appends the reply to `reply`, whose maximum bounds it. Returns 0,
 * -ENOENT if no daemon serves this mountpoint, -EACCES if it is another user's, -ETIMEDOUT
 * if it does not answer within 30 s, -EBADMSG for an empty reply, or -errno. */
int control_call(
	const char *mountpoint, const char *request, struct buffer *reply) WARN_UNUSED;

/* Whether this process is a hook of the daemon that serves `mountpoint`, which waits for its end. */
bool control_is_own_hook(const char *mountpoint) WARN_UNUSED;

/* Where the socket of `mountpoint` is; works on a mount whose daemon is dead. Returns 0,
 * -ENXIO, -ENAMETOOLONG or what realpath(3) reports. */
int control_path(const char *mountpoint, char out[CONTROL_PATH_SIZE]) WARN_UNUSED;
