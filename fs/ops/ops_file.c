/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/session_state.h"

#include <errno.h>
#include <fcntl.h>

/* Opens of smaller files are answered with no more ado: their mode is always cached, and one
 * READ brings them into the kernel's memory (docs/decisions/0010). */
#define PASSTHROUGH_MIN_BYTES (UINT64_C(128) * 1024)

/* Whether the mode of this file's opens is kept account of. Never changes for a node. */
static bool is_counted(struct session *session, const struct catalog_content *content)
{
	return content && content->size >= PASSTHROUGH_MIN_BYTES &&
	       passthrough_is_agreed(&session->passthrough);
}

/* Counts an open and finds its mode: a backing id, 0 for cached mode, or -errno. */
static int count_open(struct session *session, fuse_req_t req, fuse_ino_t ino,
	const struct catalog_content *content)
{
	struct open_files *files = &session->open_files;
	int taken = 0;
	int id = 0;

	if (open_files_join(files, ino, &id))
		return id;
	/* its inode may have to come from the disk, and one in doubt is hashed */
	turns_pass(&session->turns);
	int fd = object_store_get(
		session->config.objects, &content->digest, content->size);

	if (fd >= 0) {
		taken = passthrough_take(&session->passthrough, req, fd);
		close(fd);
	}
	int r = open_files_begin(files, ino, taken, &id);

	if (taken && (r < 0 || id != taken))
		passthrough_drop(&session->passthrough, req, taken);
	return r < 0 ? r : id;
}

static void count_release(struct session *session, fuse_req_t req, fuse_ino_t ino)
{
	int id = open_files_leave(&session->open_files, ino);

	if (id)
		passthrough_drop(&session->passthrough, req, id);
}

void ops_file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *session = session_of(req);
	AUTO_EPOCH epoch = epoch_enter();
	struct view_node node;

	session_count(&session->opens);
	if (session->config.open_mode == SESSION_OPEN_NONE) {
		/* from now on the kernel opens without asking */
		fuse_reply_err(req, ENOSYS);
		return;
	}
	int r = view_resolve(session->config.view, ino, &node);

	if (r == 0 && (fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	const struct catalog_content *content =
		r == 0 ? catalog_content_of(node.catalog, node.entry) : NULL;
	bool counted = is_counted(session, content);

	if (counted)
		r = count_open(session, req, ino, content);
	if (r < 0) {
		fuse_reply_err(req, session_errno(r));
		return;
	}
	if (content && !counted)
		pusher_opened(&session->pusher, &node, content);
	/* the kernel may read it without us */
	if (counted)
		content_touch(session->config.contents, node.catalog, content);
	/* a node's content never changes; a backing file has pages of its own */
	fi->keep_cache = r == 0;
	if (passthrough_reply_open(req, fi, r) == -ENOENT && counted)
		count_release(session, req, ino); /* no release will come */
}

void ops_file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	count_release(session_of(req), req, ino);
	fuse_reply_err(req, 0);
}

/* The content a READ is for. Requests name the node alone. 0, or -ENODATA for an empty file. */
static int get_content(struct session *session, fuse_ino_t ino, struct open_file **out)
{
	struct view_node node;
	int r = view_resolve(session->config.view, ino, &node);

	if (r < 0)
		return r;
	const struct catalog_content *content =
		catalog_content_of(node.catalog, node.entry);

	return content ? open_files_get(
				 &session->open_files, ino, node.catalog, content, out)
		       : -ENODATA;
}

static void reply_span(fuse_req_t req, const struct content_span *span, size_t len)
{
	struct fuse_bufvec data = FUSE_BUFVEC_INIT(len);

	if (span->fd >= 0) {
		data.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
		data.buf[0].fd = span->fd;
		data.buf[0].pos = span->offset;
	} else {
		data.buf[0].mem = span->memory;
	}
	fuse_reply_data(req, &data, FUSE_BUF_SPLICE_MOVE);
}

static int read_run(
	struct session *session, fuse_req_t req, const struct parked_args *args)
{
	struct content_span span = {.fd = -1};
	struct open_file *file = NULL;
	ssize_t n = get_content(session, args->ino, &file);

	if (n == 0)
		n = content_read(open_file_content(file), (uint64_t)args->offset,
			args->size, &span, NULL);
	else if (n == -ENODATA)
		n = 0;
	if (n > 0)
		reply_span(req, &span, (size_t)n);
	else if (n == 0)
		fuse_reply_buf(req, NULL, 0);
	else if (n != -EAGAIN)
		fuse_reply_err(req, session_errno((int)n));
	content_span_release(&span);
	if (file)
		open_files_put(&session->open_files, file);
	return n == -EAGAIN ? -EAGAIN : 0;
}

static int read_wait(
	struct session *session, const struct parked_args *args, struct waiter *w)
{
	struct content_span span = {.fd = -1};
	struct open_file *file;
	int r = get_content(session, args->ino, &file);

	if (r < 0)
		return r;
	ssize_t n = content_read(
		open_file_content(file), (uint64_t)args->offset, args->size, &span, w);

	content_span_release(&span);
	open_files_put(&session->open_files, file);
	return n < 0 ? (int)n : 0;
}

static const struct parked_op read_op = {.run = read_run, .wait = read_wait};

void ops_file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	struct session *session = session_of(req);
	struct parked_args args = {.ino = ino,
		.size = size,
		.offset = offset,
		.timeout_ns = session->config.timeout_ns};

	(void)fi;
	session_count(&session->reads);
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
	AUTO_EPOCH epoch = epoch_enter();
	struct view_node node;
	int r = view_resolve(session_of(req)->config.view, ino, &node);

	(void)fi;
	if (r < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
		fuse_reply_err(req, r < 0 ? session_errno(r) : EINVAL);
		return;
	}
	const struct catalog_content *content =
		catalog_content_of(node.catalog, node.entry);

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
