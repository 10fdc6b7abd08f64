/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/device.h"

#include "fs/session/session_state.h"

#include <errno.h>
#include <sys/uio.h>

/*
 * When a mount goes, the kernel tells those who read: ENODEV. But whoever has just taken a request
 * off its queue (the RELEASE of the last open file, say) when the connection is cut is told
 * ECONNABORTED (fuse_dev_do_read() in Linux's fuse/dev.c). To libfuse that is a failure: its
 * loop ends with an error; and it writes to stderr, in which another worker's ENODEV may have it
 * cancelled, with stderr locked for good.
 */
static ssize_t read_request(int fd, void *buffer, size_t size, void *userdata)
{
	struct session *session = userdata;
	ssize_t n = turns_read(&session->turns, fd, buffer, size);

	if (n > 0)
		passthrough_see_request(&session->passthrough, buffer, (size_t)n);
	else if (n < 0 && errno == ECONNABORTED)
		errno = ENODEV;
	return n;
}

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	struct session *session = userdata;

	return passthrough_write_reply(&session->passthrough, fd, iov, count);
}

static ssize_t splice_reply(int from, off_t *from_offset, int to, off_t *to_offset,
	size_t len, unsigned int flags, void *userdata)
{
	(void)userdata;
	return splice(from, from_offset, to, to_offset, len, flags);
}

static const struct fuse_custom_io custom_io = {
	.read = read_request,
	.writev = write_reply,
	.splice_send = splice_reply,
};

int device_attach(struct fuse_session *fuse)
{
	return fuse_session_custom_io(fuse, &custom_io, fuse_session_fd(fuse));
}
