/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Three families: what the master's files carry (from the catalog, listed), what depotfs says
 * of its cache (fs/ops/xattr_virtual.h, answered but not listed, so that copies do not carry it),
 * and the question by which Samba's glusterfs_fuse module finds a name without regard to case.
 */
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "fs/ops/xattr_virtual.h"
#include "fs/session/session_state.h"

#include <errno.h>

#define REAL_FILENAME "glusterfs.get_real_filename:"

/* Answers with a value the way getxattr(2) does: its length for size 0, ERANGE if too small. */
static void reply_value(fuse_req_t req, const void *value, size_t len, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, len);
	else if (len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, len);
}

static int real_filename_run(
	struct session *session, fuse_req_t req, const struct parked_args *args)
{
	struct view *view = session->config.view;
	struct view_node node;
	struct view_dir dir = {0};
	int r = view_resolve(view, args->ino, &node);

	if (r == 0)
		r = view_enter(view, &node, &dir, NULL);
	if (r == -EAGAIN)
		return r;
	if (r != 0) {
		fuse_reply_err(req, session_errno(r));
		return 0;
	}
	uint32_t index = catalog_lookup_folded(
		dir.catalog, dir.index, args->name, strlen(args->name));

	if (index == CATALOG_NO_ENTRY) {
		fuse_reply_err(req, ENODATA);
		return 0;
	}
	const struct catalog_entry *e = catalog_entry(dir.catalog, index);
	char name[CATALOG_NAME_MAX + 1];

	/* the module copies the value as a string: the NUL belongs to it */
	memcpy(name, catalog_name(dir.catalog, e), e->name_length);
	name[e->name_length] = '\0';
	reply_value(req, name, (size_t)e->name_length + 1, args->size);
	return 0;
}

static int real_filename_wait(
	struct session *session, const struct parked_args *args, struct waiter *w)
{
	struct view_node node;
	struct view_dir dir;
	int r = view_resolve(session->config.view, args->ino, &node);

	return r < 0 ? r : view_enter(session->config.view, &node, &dir, w);
}

static const struct parked_op real_filename_op = {
	.run = real_filename_run, .wait = real_filename_wait};

void xattr_answer_virtual(fuse_req_t req, uint64_t ino, const char *name, size_t size)
{
	struct session *session = session_of(req);
	struct xattr_virtual_context context = {
		.view = session->config.view,
		.contents = session->config.contents,
		.objects = session->config.objects,
		.pins = session->config.pins,
		.source = session->config.source,
		.channel = session->config.channel,
		.sync = session->config.sync,
	};
	AUTO_BUFFER struct buffer value = BUFFER_INIT(XATTR_VIRTUAL_MAX);
	int r = xattr_virtual_get(&context, ino, name, &value);

	if (r < 0)
		fuse_reply_err(req, r == -ENODATA ? ENODATA : session_errno(r));
	else
		reply_value(req, value.data, value.len, size);
}

void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct session *session = session_of(req);
	AUTO_EPOCH epoch = epoch_enter();
	struct view_node node;
	const uint8_t *value;
	size_t len;

	if (strncmp(name, REAL_FILENAME, strlen(REAL_FILENAME)) == 0) {
		struct parked_args args = {.ino = ino,
			.size = size,
			.name = name + strlen(REAL_FILENAME),
			.timeout_ns = METADATA_TIMEOUT_NS};

		if (args.timeout_ns > session->config.timeout_ns)
			args.timeout_ns = session->config.timeout_ns;
		parked_start(session, req, &real_filename_op, &args);
		return;
	}
	int r = view_resolve(session->config.view, ino, &node);

	if (r < 0) {
		fuse_reply_err(req, session_errno(r));
		return;
	}
	if (strncmp(name, XATTR_VIRTUAL_PREFIX, strlen(XATTR_VIRTUAL_PREFIX)) == 0) {
		/* looks at objects and partials on the disk */
		turns_pass(&session->turns);
		name += strlen(XATTR_VIRTUAL_PREFIX);
		if (!xattr_virtual_is_slow(&node, name))
			xattr_answer_virtual(req, ino, name, size);
		else if (sum_queue_push(&session->sums, req, ino, name, size) < 0)
			fuse_reply_err(req, EBUSY);
		return;
	}
	if (catalog_xattr_get(node.catalog, node.entry, name, &value, &len) < 0)
		fuse_reply_err(req, ENODATA);
	else
		reply_value(req, value, len, size);
}

void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	AUTO_BUFFER struct buffer names = BUFFER_INIT(64 * 1024);
	AUTO_EPOCH epoch = epoch_enter();
	struct view_node node;
	size_t cursor = 0;
	const char *name;
	size_t name_len;
	const uint8_t *value;
	size_t value_len;
	int r = view_resolve(session_of(req)->config.view, ino, &node);

	while (r == 0 && catalog_xattr_next(node.catalog, node.entry, &cursor, &name,
				 &name_len, &value, &value_len)) {
		r = buffer_add(&names, name, name_len);
		if (r == 0)
			r = buffer_add_zero(&names, 1);
	}
	if (r < 0)
		fuse_reply_err(req, session_errno(r));
	else
		reply_value(req, names.data, names.len, size);
}
