/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session_state.h"

#include <errno.h>
#include <fcntl.h>

/* The kernel sends RELEASE when every READ was answered. The thread sanitizer follows that
 * through write(2), but not through splice(2): it must be told. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define BEFORE_ANSWER(file) __tsan_release(file)
#define AFTER_ANSWERS(file) __tsan_acquire(file)
#endif
#endif
#ifndef BEFORE_ANSWER
#define BEFORE_ANSWER(file) ((void)(file))
#define AFTER_ANSWERS(file) ((void)(file))
#endif

/* A file's handle is its content record; an empty file has none. */
static struct content_file *file_of(const struct fuse_file_info *fi)
{
	return (struct content_file *)(uintptr_t)fi->fh;
}

void ops_file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *session = session_of(req);
	struct content_file *file = NULL;
	struct view_node node;
	int r = view_resolve(session->config.view, ino, &node);

	if (r == 0 && (fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	const struct catalog_content *content =
			r == 0 ? catalog_content_of(node.catalog, node.entry) : NULL;

	if (content)
		r = content_open(session->config.contents, node.catalog, content, &file);
	if (r < 0) {
		fuse_reply_err(req, session_errno(r));
		return;
	}
	fi->fh = (uintptr_t)file;
	fi->keep_cache = 1; /* a node's content never changes */
	if (fuse_reply_open(req, fi) == -ENOENT && file)
		content_close(file); /* the opener was interrupted: no release will come */
}

void ops_file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	AFTER_ANSWERS(file_of(fi));
	if (file_of(fi))
		content_close(file_of(fi));
	fuse_reply_err(req, 0);
}

static int read_run(struct session *session, fuse_req_t req, const struct parked_args *args)
{
	struct content_file *file = (struct content_file *)(uintptr_t)args->handle;
	struct content_span span;

	(void)session;
	ssize_t n = content_read(file, (uint64_t)args->offset, args->size, &span, NULL);

	if (n == -EAGAIN)
		return -EAGAIN;
	BEFORE_ANSWER(file);
	if (n < 0) {
		fuse_reply_err(req, session_errno((int)n));
	} else if (n == 0) {
		fuse_reply_buf(req, NULL, 0);
	} else {
		struct fuse_bufvec data = FUSE_BUFVEC_INIT((size_t)n);

		if (span.fd >= 0) {
			data.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
			data.buf[0].fd = span.fd;
			data.buf[0].pos = span.offset;
		} else {
			data.buf[0].mem = span.memory;
		}
		fuse_reply_data(req, &data, FUSE_BUF_SPLICE_MOVE);
		content_span_release(&span);
	}
	return 0;
}

static int read_wait(struct session *session, const struct parked_args *args, struct waiter *w)
{
	struct content_file *file = (struct content_file *)(uintptr_t)args->handle;
	struct content_span span;

	(void)session;
	ssize_t n = content_read(file, (uint64_t)args->offset, args->size, &span, w);

	content_span_release(&span);
	return n < 0 ? (int)n : 0;
}

static void read_hold(const struct parked_args *args)
{
	content_ref((struct content_file *)(uintptr_t)args->handle);
}

static void read_unhold(const struct parked_args *args)
{
	content_close((struct content_file *)(uintptr_t)args->handle);
}

static const struct parked_op read_op = {.run = read_run,
		.wait = read_wait,
		.hold = read_hold,
		.unhold = read_unhold};

void ops_file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		struct fuse_file_info *fi)
{
	struct session *session = session_of(req);

	if (!file_of(fi)) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	struct parked_args args = {.ino = ino,
			.handle = fi->fh,
			.size = size,
			.offset = offset,
			.timeout_ns = session->config.timeout_ns};

	parked_start(session, req, &read_op, &args);
}

/* SEEK_DATA and SEEK_HOLE from the catalog: holes are known before anything was fetched. */
static off_t seek(const struct catalog *c, const struct catalog_content *content,
		uint64_t offset, int whence)
{
	uint32_t i;
	uint32_t end;

	catalog_pieces_in(c, content, offset, content->size - offset, &i, &end);
	for (uint64_t at = offset; i < end; i++) {
		const struct catalog_piece *p = &c->pieces[i];

		if (whence == SEEK_DATA)
			return (off_t)(p->position > offset ? p->position : offset);
		if (p->position > at)
			return (off_t)at;
		at = p->position + c->chunks[p->chunk].length;
		if (i + 1 == end)
			return (off_t)at;
	}
	return whence == SEEK_DATA ? -ENXIO : (off_t)offset;
}

void ops_file_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
		struct fuse_file_info *fi)
{
	struct view_node node;
	int r = view_resolve(session_of(req)->config.view, ino, &node);

	(void)fi;
	if (r < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
		fuse_reply_err(req, r < 0 ? session_errno(r) : EINVAL);
		return;
	}
	const struct catalog_content *content = catalog_content_of(node.catalog, node.entry);

	if (!content || offset < 0 || (uint64_t)offset >= content->size) {
		fuse_reply_err(req, ENXIO);
		return;
	}
	off_t found = seek(node.catalog, content, (uint64_t)offset, whence);

	if (found < 0)
		fuse_reply_err(req, ENXIO);
	else
		fuse_reply_lseek(req, found);
}
