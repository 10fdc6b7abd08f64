/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "fs/session/session_state.h"

#include <errno.h>

/* Directory offsets: 1 is behind ".", 2 behind "..", then come view_cookie()s. */
#define OFFSET_DOTS 2

static void fill_entry(const struct view_node *node, struct fuse_entry_param *out)
{
	*out = (struct fuse_entry_param){
		.ino = node->id,
		.generation = node->generation,
		.attr_timeout = ENTRY_TIMEOUT_SEC,
		.entry_timeout = ENTRY_TIMEOUT_SEC,
	};
	ops_meta_attr(node, &out->attr);
}

/* The node `name` stands for below `parent`: 0, -ENOENT, -EAGAIN, -errno. */
static int find_child(
	struct view *view, uint64_t parent, const char *name, struct view_node *out)
{
	struct view_node node;
	struct view_dir dir;
	int r = view_resolve(view, parent, &node);

	if (r < 0)
		return r;
	/* an NFS server asks for these; the kernel itself never does */
	if (strcmp(name, ".") == 0) {
		*out = node;
		return 0;
	}
	if (strcmp(name, "..") == 0)
		return view_parent(view, &node, out);
	size_t len = strlen(name);

	if (len > CATALOG_NAME_MAX)
		return -ENAMETOOLONG;
	r = view_enter(view, &node, &dir, NULL);
	if (r < 0)
		return r;
	uint32_t index = catalog_lookup(dir.catalog, dir.index, name, len);

	if (index == CATALOG_NO_ENTRY)
		return -ENOENT;
	view_note_names(&dir);
	return view_child(view, &dir, index, out);
}

/* The kernel has let go of a node, or was not told of it after all. */
static void forget(struct session *session, uint64_t ino, uint64_t count)
{
	if (view_forget(session->config.view, ino, count))
		notify_reap(&session->notify);
}

void ops_dir_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	AUTO_EPOCH epoch = epoch_enter();

	forget(session_of(req), ino, count);
	fuse_reply_none(req);
}

void ops_dir_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *list)
{
	AUTO_EPOCH epoch = epoch_enter();

	for (size_t i = 0; i < count; i++)
		forget(session_of(req), list[i].ino, list[i].nlookup);
	fuse_reply_none(req);
}

static int lookup_run(
	struct session *session, fuse_req_t req, const struct parked_args *args)
{
	struct fuse_entry_param entry;
	struct view_node child;
	int r = find_child(session->config.view, args->ino, args->name, &child);

	if (r == -EAGAIN || r == -ERESTART)
		return r;
	if (r == -ENOENT) {
		/* a name that is not there comes with a flip: remember that too */
		entry = (struct fuse_entry_param){.entry_timeout = ENTRY_TIMEOUT_SEC};
		fuse_reply_entry(req, &entry);
	} else if (r < 0) {
		fuse_reply_err(req, r == -ENAMETOOLONG ? ENAMETOOLONG : session_errno(r));
	} else {
		fill_entry(&child, &entry);
		view_remember(&child);
		if (fuse_reply_entry(req, &entry) < 0)
			forget(session, child.id, 1);
	}
	return 0;
}

/* All that these requests ever wait for is the catalog of the directory they name. */
static int wait_for_directory(
	struct session *session, const struct parked_args *args, struct waiter *w)
{
	struct view_node node;
	struct view_dir dir;
	int r = view_resolve(session->config.view, args->ino, &node);

	return r < 0 ? r : view_enter(session->config.view, &node, &dir, w);
}

static const struct parked_op lookup_op = {.run = lookup_run, .wait = wait_for_directory};

static int64_t metadata_timeout(const struct session *session)
{
	int64_t timeout_ns = session->config.timeout_ns;

	return timeout_ns < METADATA_TIMEOUT_NS ? timeout_ns : METADATA_TIMEOUT_NS;
}

void ops_dir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct session *session = session_of(req);
	struct parked_args args = {
		.ino = parent, .name = name, .timeout_ns = metadata_timeout(session)};

	session_count(&session->lookups);
	parked_start(session, req, &lookup_op, &args);
}

/* A directory has no per-open state. After ENOSYS the kernel opens and caches directories without
 * asking; an older one is told to cache each. */
void ops_dir_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if (session_of(req)->is_opendir_needless) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->cache_readdir = 1;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

struct listing {
	fuse_req_t req;
	bool is_plus;
	char *buffer;
	size_t size;
	size_t used;
	uint32_t first; /* child listed, with `is_plus` remembered by the kernel */
	uint32_t end;
};

/* Adds one name; false when the buffer is full. The kernel takes an entry without a node
 * (".", "..") as a mere name. */
static bool list_name(struct listing *l, const char *name, const struct view_node *node,
	bool is_child, off_t next)
{
	char *at = l->buffer + l->used;
	size_t room = l->size - l->used;
	size_t need;

	if (l->is_plus) {
		struct fuse_entry_param entry;

		fill_entry(node, &entry);
		if (!is_child)
			entry.ino = 0;
		need = fuse_add_direntry_plus(l->req, at, room, name, &entry, next);
	} else {
		struct stat st = {
			.st_ino = node->entry->ino, .st_mode = node->entry->mode};

		need = fuse_add_direntry(l->req, at, room, name, &st, next);
	}
	if (need > room)
		return false;
	l->used += need;
	return true;
}

static int list_children(
	struct listing *l, struct view *view, const struct view_dir *dir, uint32_t from)
{
	const struct catalog_entry *top = catalog_entry(dir->catalog, dir->index);
	char name[CATALOG_NAME_MAX + 1];

	view_note_names(dir);
	l->first = from;
	l->end = from;
	for (uint32_t i = from; i < top->count; i++) {
		const struct catalog_entry *e =
			catalog_entry(dir->catalog, top->first + i);
		struct view_node child;
		int r = view_child(view, dir, top->first + i, &child);

		if (r < 0)
			return r;
		memcpy(name, catalog_name(dir->catalog, e), e->name_length);
		name[e->name_length] = '\0';
		if (!list_name(l, name, &child, true,
			    (off_t)(view_cookie(dir, i + 1) + OFFSET_DOTS)))
			break;
		if (l->is_plus)
			view_remember(&child);
		l->end = i + 1;
	}
	return 0;
}

static int list(struct listing *l, struct view *view, const struct view_node *node,
	const struct view_dir *dir, off_t offset)
{
	struct view_node parent;
	int r = view_parent(view, node, &parent);

	if (r < 0)
		return r;
	if (offset < 1 && !list_name(l, ".", node, false, 1))
		return 0;
	if (offset < OFFSET_DOTS && !list_name(l, "..", &parent, false, OFFSET_DOTS))
		return 0;
	uint32_t from = 0;

	if (offset > OFFSET_DOTS)
		from = view_position(dir, (uint64_t)offset - OFFSET_DOTS);
	return list_children(l, view, dir, from);
}

/* The kernel was not told of the children after all. `dir` need not be set if there are none. */
static void take_back(
	struct session *session, const struct listing *l, const struct view_dir *dir)
{
	for (uint32_t i = l->first; l->is_plus && i < l->end; i++) {
		uint32_t first = catalog_entry(dir->catalog, dir->index)->first;
		struct view_node child;

		/* it was found a moment ago, and stays as long as it is remembered */
		if (view_child(session->config.view, dir, first + i, &child) == 0)
			forget(session, child.id, 1);
	}
}

static int run_listing(struct session *session, fuse_req_t req,
	const struct parked_args *args, bool is_plus)
{
	struct view *view = session->config.view;
	struct view_node node;
	struct view_dir dir;
	int r = view_resolve(view, args->ino, &node);

	if (r == 0)
		r = view_enter(view, &node, &dir, NULL);
	if (r == -EAGAIN)
		return r;
	AUTO_FREE char *buffer = r == 0 ? mem_alloc(args->size) : NULL;
	struct listing l = {
		.req = req, .is_plus = is_plus, .buffer = buffer, .size = args->size};

	if (r == 0)
		r = buffer ? list(&l, view, &node, &dir, args->offset) : -ENOMEM;
	if (r < 0) {
		take_back(session, &l, &dir);
		if (r == -ERESTART)
			return r;
		fuse_reply_err(req, session_errno(r));
	} else if (fuse_reply_buf(req, l.buffer, l.used) < 0) {
		take_back(session, &l, &dir);
	} else if (is_plus) {
		pusher_listed(&session->pusher, node.id);
	}
	return 0;
}

static int readdir_run(
	struct session *session, fuse_req_t req, const struct parked_args *args)
{
	return run_listing(session, req, args, false);
}

static int readdirplus_run(
	struct session *session, fuse_req_t req, const struct parked_args *args)
{
	return run_listing(session, req, args, true);
}

static const struct parked_op readdir_op = {
	.run = readdir_run, .wait = wait_for_directory};
static const struct parked_op readdirplus_op = {
	.run = readdirplus_run, .wait = wait_for_directory};

static void start_listing(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	const struct parked_op *op)
{
	struct session *session = session_of(req);
	struct parked_args args = {.ino = ino,
		.size = size,
		.offset = offset,
		.timeout_ns = metadata_timeout(session)};

	session_count(&session->listings);
	parked_start(session, req, op, &args);
}

void ops_dir_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	(void)fi;
	start_listing(req, ino, size, offset, &readdir_op);
}

void ops_dir_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	(void)fi;
	start_listing(req, ino, size, offset, &readdirplus_op);
}
