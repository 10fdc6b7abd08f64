/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * invent_fs: a file system that makes up the tree of million_shape.h from nothing.
 *
 *   invent_fs [--packages 1000] [--files 1000] [--size 10240] [--open-enosys] [-o
 * OPTIONS] MNT
 *
 * It is the yardstick for listings: names, types and attributes are computed from the
 * node id, no byte is stored or looked up, and the kernel is told to cache all of it.
 * What a walk costs here is what the kernel, libfuse and find(1) cost; no file system on
 * libfuse is faster. Content is a pattern, not the stored tree's.
 *
 * It stays in the foreground until it is unmounted or gets SIGTERM.
 *
 * Node ids: 1 is the root, 2 is MILLION_TOP, then each package takes a span of ids:
 * itself, its sub-directories, ten-kib.bin, big.bin, and its text files in order.
 */
#define FUSE_USE_VERSION 34

#include "tests/trees/million_shape.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TOP_INO	     2
#define FIRST_INO    3
#define FOREVER_S    (365.0 * 86400)
#define PATTERN_SIZE (2 << 20)
#define DIR_BUF_MAX  (1 << 20)
#define MAX_COUNT    100000
#define PERIOD	     251

/* Positions within a package's span of node ids. */
#define SPAN_DIR     1
#define SPAN_TEN_KIB (SPAN_DIR + MILLION_DIRS)
#define SPAN_BIG     (SPAN_TEN_KIB + 1)
#define SPAN_TEXT    (SPAN_BIG + 1)

struct invention {
	struct million_shape shape;
	bool is_open_enosys;
	char *pattern;
};

struct child {
	char name[MILLION_NAME_SIZE];
	fuse_ino_t ino;
};

static const struct invention *invention_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static fuse_ino_t span_size(const struct invention *v)
{
	return SPAN_TEXT + v->shape.files - 2;
}

static fuse_ino_t package_ino(const struct invention *v, unsigned package)
{
	return FIRST_INO + package * span_size(v);
}

static unsigned package_of(const struct invention *v, fuse_ino_t ino)
{
	return (unsigned)((ino - FIRST_INO) / span_size(v));
}

static unsigned position_of(const struct invention *v, fuse_ino_t ino)
{
	return (unsigned)((ino - FIRST_INO) % span_size(v));
}

static bool is_dir(const struct invention *v, fuse_ino_t ino)
{
	return ino < FIRST_INO || position_of(v, ino) < SPAN_TEN_KIB;
}

static uint64_t file_bytes(const struct invention *v, fuse_ino_t ino)
{
	unsigned package = package_of(v, ino);
	unsigned position = position_of(v, ino);

	if (position == SPAN_TEN_KIB)
		return v->shape.ten_bytes;
	if (position == SPAN_BIG)
		return million_big_bytes(package);
	return million_file_bytes(package, position - SPAN_TEXT);
}

static void invent_stat(const struct invention *v, fuse_ino_t ino, struct stat *out)
{
	*out = (struct stat){.st_ino = ino, .st_nlink = 2, .st_blksize = 4096};
	if (is_dir(v, ino)) {
		out->st_mode = S_IFDIR | 0755;
	} else {
		out->st_mode = S_IFREG | 0644;
		out->st_nlink = 1;
		out->st_size = (off_t)file_bytes(v, ino);
		out->st_blocks = (out->st_size + 511) / 512;
	}
	out->st_mtim.tv_sec = (time_t)(1500000000 + ino);
	out->st_ctim = out->st_atim = out->st_mtim;
}

static void invent_entry(
	const struct invention *v, fuse_ino_t ino, struct fuse_entry_param *out)
{
	*out = (struct fuse_entry_param){
		.ino = ino, .attr_timeout = FOREVER_S, .entry_timeout = FOREVER_S};
	if (ino)
		invent_stat(v, ino, &out->attr);
}

static unsigned child_count(const struct invention *v, fuse_ino_t dir)
{
	unsigned position;

	if (dir == FUSE_ROOT_ID)
		return 1;
	if (dir == TOP_INO)
		return v->shape.packages;
	position = position_of(v, dir);
	if (position == 0)
		return MILLION_DIRS + 2;
	return million_first(&v->shape, position) -
	       million_first(&v->shape, position - 1);
}

static void child_at(
	const struct invention *v, fuse_ino_t dir, unsigned index, struct child *out)
{
	unsigned position;

	if (dir == FUSE_ROOT_ID) {
		(void)snprintf(out->name, sizeof(out->name), "%s", MILLION_TOP);
		out->ino = TOP_INO;
		return;
	}
	if (dir == TOP_INO) {
		million_package_name(out->name, index);
		out->ino = package_ino(v, index);
		return;
	}
	position = position_of(v, dir);
	if (position > 0) {
		unsigned file = million_first(&v->shape, position - 1) + index;

		million_file_name(out->name, file);
		out->ino = package_ino(v, package_of(v, dir)) + SPAN_TEXT + file;
		return;
	}
	out->ino = dir + SPAN_DIR + index;
	if (index < MILLION_DIRS)
		million_dir_name(out->name, index);
	else
		(void)snprintf(out->name, sizeof(out->name), "%s",
			index == MILLION_DIRS ? MILLION_TEN_KIB : MILLION_BIG);
}

/* The child that has this name, 0 if none: the number in the name says which it can be.
 */
static fuse_ino_t child_named(const struct invention *v, fuse_ino_t dir, const char *name)
{
	unsigned count = child_count(v, dir);
	unsigned position = dir < FIRST_INO ? 0 : position_of(v, dir);
	const char *digits = name + strcspn(name, "0123456789");
	unsigned index = (unsigned)strtoul(digits, NULL, 10);
	struct child child;

	if (position > 0)
		index -= million_first(&v->shape, position - 1);
	if (strcmp(name, MILLION_TEN_KIB) == 0)
		index = MILLION_DIRS;
	else if (strcmp(name, MILLION_BIG) == 0)
		index = MILLION_DIRS + 1;
	if (index >= count)
		return 0;
	child_at(v, dir, index, &child);
	return strcmp(child.name, name) == 0 ? child.ino : 0;
}

static void invent_init(void *data, struct fuse_conn_info *conn)
{
	(void)data;
	/* A walk looks at every entry: always send the attributes along. */
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
}

static void invent_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct invention *v = invention_of(req);
	struct fuse_entry_param entry;

	invent_entry(v, child_named(v, parent, name), &entry);
	(void)fuse_reply_entry(req, &entry);
}

static void invent_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	invent_stat(invention_of(req), ino, &st);
	(void)fuse_reply_attr(req, &st, FOREVER_S);
}

/* ENOSYS: the kernel asks no more, needs no release, and caches what it has read. */
static void invent_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	(void)fuse_reply_err(req, ENOSYS);
}

/* Adds the entry of @offset; 0 if it has no room in what is left of the buffer. */
static size_t add_entry(fuse_req_t req, char *buf, size_t room, fuse_ino_t dir,
	unsigned offset, bool is_plus)
{
	const struct invention *v = invention_of(req);
	struct child child = {".", dir};
	struct fuse_entry_param entry = {0};
	size_t used;

	if (offset == 1)
		child.name[1] = '.';
	else if (offset > 1)
		child_at(v, dir, offset - 2, &child);
	if (offset > 1 && is_plus)
		invent_entry(v, child.ino, &entry);
	entry.attr.st_ino = child.ino;
	entry.attr.st_mode = is_dir(v, child.ino) ? S_IFDIR | 0755 : S_IFREG | 0644;
	if (is_plus)
		used = fuse_add_direntry_plus(
			req, buf, room, child.name, &entry, offset + 1);
	else
		used = fuse_add_direntry(
			req, buf, room, child.name, &entry.attr, offset + 1);
	return used <= room ? used : 0;
}

static void list(fuse_req_t req, fuse_ino_t dir, size_t size, off_t start, bool is_plus)
{
	unsigned count = child_count(invention_of(req), dir) + 2;
	size_t used = 0;
	char *buf;

	size = size < DIR_BUF_MAX ? size : DIR_BUF_MAX;
	buf = malloc(size);
	if (!buf) {
		(void)fuse_reply_err(req, ENOMEM);
		return;
	}
	for (off_t offset = start; offset < count; offset++) {
		size_t added = add_entry(
			req, buf + used, size - used, dir, (unsigned)offset, is_plus);

		if (!added)
			break;
		used += added;
	}
	(void)fuse_reply_buf(req, buf, used);
	free(buf);
}

static void invent_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, offset, false);
}

static void invent_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, offset, true);
}

static void invent_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if (invention_of(req)->is_open_enosys) {
		(void)fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	(void)fuse_reply_open(req, fi);
}

static void invent_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	const struct invention *v = invention_of(req);
	off_t end = (off_t)file_bytes(v, ino);
	size_t left = offset < end ? (size_t)(end - offset) : 0;
	size_t shift = (size_t)((ino + (fuse_ino_t)offset) % PERIOD);

	(void)fi;
	size = size < left ? size : left;
	size = size < PATTERN_SIZE - PERIOD ? size : PATTERN_SIZE - PERIOD;
	(void)fuse_reply_buf(req, v->pattern + shift, size);
}

static void invent_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	(void)ino;
	(void)nlookup;
	fuse_reply_none(req);
}

static void invent_forget_multi(
	fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	(void)count;
	(void)forgets;
	fuse_reply_none(req);
}

static const struct fuse_lowlevel_ops invent_ops = {
	.init = invent_init,
	.lookup = invent_lookup,
	.forget = invent_forget,
	.forget_multi = invent_forget_multi,
	.getattr = invent_getattr,
	.opendir = invent_opendir,
	.readdir = invent_readdir,
	.readdirplus = invent_readdirplus,
	.open = invent_open,
	.read = invent_read,
};

static int serve(struct invention *v, const char *options, const char *mountpoint)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_loop_config config = {.clone_fd = 0, .max_idle_threads = 10};
	struct fuse_session *session = NULL;
	int status = 1;

	if (fuse_opt_add_arg(&args, "invent_fs") == 0 &&
		fuse_opt_add_arg(&args, "-o") == 0 &&
		fuse_opt_add_arg(&args, options) == 0)
		session = fuse_session_new(&args, &invent_ops, sizeof(invent_ops), v);
	fuse_opt_free_args(&args);
	if (!session)
		return 1;
	if (fuse_set_signal_handlers(session) == 0) {
		if (fuse_session_mount(session, mountpoint) == 0) {
			status = fuse_session_loop_mt(session, &config) < 0;
			fuse_session_unmount(session);
		}
		fuse_remove_signal_handlers(session);
	}
	fuse_session_destroy(session);
	return status;
}

static int parse_count(const char *text, unsigned min, unsigned *out)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end || value < min || value > MAX_COUNT)
		return -EINVAL;
	*out = (unsigned)value;
	return 0;
}

static int parse_arguments(
	int argc, char **argv, struct invention *v, const char **out_options)
{
	static const struct option long_options[] = {
		{"packages", required_argument, NULL, 'p'},
		{"files", required_argument, NULL, 'f'},
		{"size", required_argument, NULL, 's'},
		{"open-enosys", no_argument, NULL, 'e'}, {NULL, 0, NULL, 0}};
	unsigned size = (unsigned)v->shape.ten_bytes;
	int c, r = 0;

	while (r == 0 && (c = getopt_long(argc, argv, "o:", long_options, NULL)) != -1) {
		if (c == 'p')
			r = parse_count(optarg, 1, &v->shape.packages);
		else if (c == 'f')
			r = parse_count(optarg, 2, &v->shape.files);
		else if (c == 's')
			r = parse_count(optarg, 1, &size);
		else if (c == 'e')
			v->is_open_enosys = true;
		else if (c == 'o')
			*out_options = optarg;
		else
			r = -EINVAL;
	}
	v->shape.ten_bytes = size;
	return r < 0 || optind + 1 != argc ? -EINVAL : 0;
}

int main(int argc, char **argv)
{
	struct invention v = {.shape = MILLION_SHAPE_DEFAULT};
	const char *options = "fsname=invent_fs,ro,allow_other,default_permissions";
	int status;

	if (parse_arguments(argc, argv, &v, &options) < 0) {
		(void)fputs("usage: invent_fs [--packages N] [--files N] [--size BYTES] "
			    "[--open-enosys] [-o OPTIONS] MNT\n",
			stderr);
		return 2;
	}
	v.pattern = malloc(PATTERN_SIZE);
	if (!v.pattern)
		return 1;
	for (size_t i = 0; i < PATTERN_SIZE; i++)
		v.pattern[i] = (char)(i % PERIOD);
	status = serve(&v, options, argv[optind]);
	free(v.pattern);
	return status;
}
