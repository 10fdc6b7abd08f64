/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * libfuse has had an interface for passthrough since 3.17. Before that its INIT and OPEN replies
 * leave out four things that the kernel wants; but its reads and writes are ours
 * (fs/session/device.h), so they are put in on the way to the kernel:
 *
 *	INIT reply   flags: FUSE_INIT_EXT; flags2: the passthrough bit; max_stack_depth: 1
 *	OPEN reply   open_flags: FOPEN_PASSTHROUGH; the last word: the backing id
 *
 * An INIT reply is known by its request's number, seen when that was read. An OPEN reply is
 * written by the thread that replies, within fuse_reply_open(): so a variable of the thread
 * carries the backing id.
 */
#include "fs/session/passthrough.h"

#include "cache/base/log.h"
#include "fs/session/session_state.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#define HAS_LIBFUSE_API (FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17))

#if !HAS_LIBFUSE_API
#include <linux/fuse.h>

/* From Linux 6.9's linux/fuse.h: that of the build machine may be older. */
#define INIT_EXT	   (UINT32_C(1) << 30)
#define INIT2_PASSTHROUGH  (UINT32_C(1) << 5) /* FUSE_PASSTHROUGH, bit 37, in flags2 */
#define OPEN_PASSTHROUGH   (UINT32_C(1) << 7)
#define OPEN_KEEP_CACHE	   (UINT32_C(1) << 1)
#define MAX_STACK_DEPTH	   1 /* objects on a plain file system only */
#define MAX_STACK_DEPTH_AT (offsetof(struct fuse_init_out, flags2) + sizeof(uint32_t))
#define BACKING_ID_AT	   (offsetof(struct fuse_open_out, open_flags) + sizeof(uint32_t))

struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};

#define IOC_BACKING_OPEN  _IOW(229, 1, struct backing_map)
#define IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

static _Thread_local int replying_with_backing_id;

static void note_init(struct passthrough *p, const void *request, size_t len)
{
	const struct fuse_in_header *header = request;
	const struct fuse_init_in *init = (const void *)(header + 1);

	if (len < sizeof(*header) || header->opcode != FUSE_INIT)
		return;
	if (len < sizeof(*header) + sizeof(*init) || !(init->flags & INIT_EXT) ||
		!(init->flags2 & INIT2_PASSTHROUGH))
		return;
	atomic_store(&p->init_unique, header->unique);
}

void passthrough_see_request(struct passthrough *p, const void *request, size_t len)
{
	if (p->is_wanted && !atomic_load_explicit(&p->is_agreed, memory_order_relaxed))
		note_init(p, request, len);
}

static ssize_t write_init(int fd, const struct iovec *iov, struct passthrough *p)
{
	union {
		struct fuse_init_out init;
		uint8_t bytes[sizeof(struct fuse_init_out)];
	} reply;
	struct iovec changed[2] = {
		iov[0], {.iov_base = &reply, .iov_len = iov[1].iov_len}};
	uint32_t depth = MAX_STACK_DEPTH;

	memcpy(&reply, iov[1].iov_base, iov[1].iov_len);
	reply.init.flags |= INIT_EXT;
	reply.init.flags2 |= INIT2_PASSTHROUGH;
	memcpy(reply.bytes + MAX_STACK_DEPTH_AT, &depth, sizeof(depth));
	/* before the kernel can send an OPEN */
	atomic_store(&p->is_agreed, true);
	return writev(fd, changed, 2);
}

static ssize_t write_open(int fd, const struct iovec *iov)
{
	union {
		struct fuse_open_out open;
		uint8_t bytes[sizeof(struct fuse_open_out)];
	} reply;
	struct iovec changed[2] = {
		iov[0], {.iov_base = &reply, .iov_len = sizeof(reply)}};
	uint32_t id = (uint32_t)replying_with_backing_id;

	memcpy(&reply, iov[1].iov_base, sizeof(reply));
	reply.open.open_flags |= OPEN_PASSTHROUGH;
	memcpy(reply.bytes + BACKING_ID_AT, &id, sizeof(id));
	return writev(fd, changed, 2);
}

ssize_t passthrough_write_reply(
	struct passthrough *p, int fd, const struct iovec *iov, int count)
{
	const struct fuse_out_header *header = iov[0].iov_base;

	if (replying_with_backing_id && count == 2 &&
		iov[1].iov_len == sizeof(struct fuse_open_out))
		return write_open(fd, iov);
	uint64_t init = atomic_load_explicit(&p->init_unique, memory_order_relaxed);

	if (init && header->unique == init && count == 2 && header->error == 0 &&
		iov[1].iov_len == sizeof(struct fuse_init_out)) {
		atomic_store(&p->init_unique, 0);
		return write_init(fd, iov, p);
	}
	return writev(fd, iov, count);
}

void passthrough_negotiate(struct passthrough *p, struct fuse_conn_info *conn)
{
	(void)conn;
	/* the flag goes into the reply, which libfuse is about to write */
	if (p->is_wanted && !atomic_load(&p->init_unique))
		log_info("no passthrough: the kernel does not offer it (Linux 6.9 does); "
			 "reads are spliced");
}

static int backing_open(struct passthrough *p, struct fuse_req *req, int fd)
{
	struct backing_map map = {.fd = fd};
	int id = ioctl(fuse_session_fd(p->fuse), IOC_BACKING_OPEN, &map);

	(void)req;
	return id > 0 ? id : -errno;
}

void passthrough_drop(struct passthrough *p, struct fuse_req *req, int backing_id)
{
	uint32_t id = (uint32_t)backing_id;

	(void)req;
	if (ioctl(fuse_session_fd(p->fuse), IOC_BACKING_CLOSE, &id) < 0)
		log_debug("backing id %u: %s", id, log_strerror(errno));
}

int passthrough_reply_open(
	struct fuse_req *req, struct fuse_file_info *fi, int backing_id)
{
	replying_with_backing_id = backing_id;
	int r = fuse_reply_open(req, fi);

	replying_with_backing_id = 0;
	return r;
}

#else

void passthrough_see_request(struct passthrough *p, const void *request, size_t len)
{
	(void)p;
	(void)request;
	(void)len;
}

ssize_t passthrough_write_reply(
	struct passthrough *p, int fd, const struct iovec *iov, int count)
{
	(void)p;
	return writev(fd, iov, count);
}

void passthrough_negotiate(struct passthrough *p, struct fuse_conn_info *conn)
{
	if (!p->is_wanted)
		return;
	if (!(conn->capable & FUSE_CAP_PASSTHROUGH)) {
		log_info("no passthrough: the kernel does not offer it (Linux 6.9 does); "
			 "reads are spliced");
		return;
	}
	conn->want |= FUSE_CAP_PASSTHROUGH;
	conn->max_backing_stack_depth = FUSE_BACKING_STACKED_UNDER;
	atomic_store(&p->is_agreed, true);
}

static int backing_open(struct passthrough *p, struct fuse_req *req, int fd)
{
	(void)p;
	errno = 0;
	int id = fuse_passthrough_open(req, fd);

	return id > 0 ? id : -(errno ? errno : EIO);
}

void passthrough_drop(struct passthrough *p, struct fuse_req *req, int backing_id)
{
	(void)p;
	(void)fuse_passthrough_close(req, backing_id);
}

int passthrough_reply_open(
	struct fuse_req *req, struct fuse_file_info *fi, int backing_id)
{
	fi->backing_id = backing_id;
	return fuse_reply_open(req, fi);
}

#endif

void passthrough_init(struct passthrough *p, bool is_wanted)
{
	*p = (struct passthrough){.is_wanted = is_wanted};
}

void passthrough_attach(struct passthrough *p, struct fuse_session *fuse)
{
	p->fuse = fuse;
}

bool passthrough_is_agreed(const struct passthrough *p)
{
	return atomic_load_explicit(&p->is_agreed, memory_order_relaxed);
}

/* Why no object of this mount will ever be taken; NULL if it was only this one. */
static const char *reason_of(int error)
{
	switch (error) {
	case EPERM:
		return "this process has no CAP_SYS_ADMIN";
	case ELOOP:
		return "the cache lies on a stacked file system";
	case EOPNOTSUPP:
	case ENOTTY:
	case EINVAL:
		return log_strerror(error);
	default:
		return NULL;
	}
}

int passthrough_take(struct passthrough *p, struct fuse_req *req, int fd)
{
	if (atomic_load_explicit(&p->is_off, memory_order_relaxed))
		return 0;
	int id = backing_open(p, req, fd);

	if (id > 0)
		return id;
	const char *reason = reason_of(-id);

	if (reason && !atomic_exchange(&p->is_off, true))
		log_info("no passthrough: %s; reads are spliced", reason);
	return 0;
}
