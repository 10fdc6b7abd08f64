/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * FUSE passthrough (Linux 6.9): the kernel reads a complete object by itself, and this process
 * hears no more of it than that the file was opened. What is needed is agreed at INIT and
 * found out at the first object; where it cannot be had, one line in the log says why, and
 * every file is read the ordinary way (docs/passthrough.md).
 *
 *	passthrough_init(&p, is_wanted);
 *	passthrough_attach(&p, fuse);		(mounted, not looping yet)
 *	passthrough_negotiate(&p, conn);	(in the INIT callback)
 *	id = passthrough_take(&p, req, fd);	(0: not this file)
 *	r = passthrough_reply_open(req, fi, id);
 *	passthrough_drop(&p, req, id);		(when its last open file is closed)
 *
 * Any thread, except where a phase of the session is named.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct fuse_conn_info;
struct fuse_file_info;
struct fuse_req;
struct fuse_session;

struct passthrough {
	bool is_wanted;
	struct fuse_session *fuse;
	atomic_bool is_agreed; /* with the kernel, at INIT */
	atomic_bool is_off;    /* the first object showed that it cannot be had */
	atomic_uint_fast64_t
		init_unique; /* of an INIT that is not answered yet, else 0 */
};

void passthrough_init(struct passthrough *p, bool is_wanted);

void passthrough_attach(struct passthrough *p, struct fuse_session *fuse);

/* What fs/session/device.c reads and writes passes through here: where libfuse has no passthrough
 * of its own (before 3.17), INIT and OPEN replies lack what the kernel wants. The second is
 * writev(2). */
void passthrough_see_request(struct passthrough *p, const void *request, size_t len);
ssize_t passthrough_write_reply(
	struct passthrough *p, int fd, const struct iovec *iov, int count) WARN_UNUSED;

/* Asks for it if the kernel offers it. */
void passthrough_negotiate(struct passthrough *p, struct fuse_conn_info *conn);

/* Whether files may be open in passthrough mode, now or from before. */
bool passthrough_is_agreed(const struct passthrough *p);

/* Registers a complete object with the kernel, which keeps a reference of its own: `fd` may be
 * closed. Returns its backing id, or 0 if this file is to be read the ordinary way. */
int passthrough_take(struct passthrough *p, struct fuse_req *req, int fd);
void passthrough_drop(struct passthrough *p, struct fuse_req *req, int backing_id);

/* fuse_reply_open() with a backing id; 0 for an ordinary open. Returns what that returns:
 * -ENOENT if the opener is gone and no release will come. */
int passthrough_reply_open(
	struct fuse_req *req, struct fuse_file_info *fi, int backing_id);
