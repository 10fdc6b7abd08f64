/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/ingest/entry_reader.h"

#include "cache/base/data/buffer.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "sync/master/ingest/chunks/chunker.h"
#include "sync/master/walk/xattr_read.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#define READ_BYTES    (1024 * 1024) /* stays in the cache from read to hash to compressor */
#define PATH_TEXT_MAX (64 * 1024 * 1024)
#define TRIES	      3

struct entry_reader {
	struct tree *tree;
	chunk_sink sink;
	void *context;
	struct arena arena;
	uint8_t *buffer;
	struct digest_stream *whole;
	int dir_fd; /* of `dir`, -1: none */
	struct tree_dir *dir;

	/* the file being read */
	struct content_piece *pieces;
	size_t piece_count;
	size_t piece_capacity;
	uint64_t data_bytes;
	bool is_whole_hashed; /* `whole` was begun: the file has more than one chunk */
	struct digest only;   /* else the digest of its one chunk */

	uint64_t files;
	uint64_t bytes;
};

int entry_reader_new(
	struct tree *tree, chunk_sink sink, void *context, struct entry_reader **out)
{
	struct entry_reader *r = mem_calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->tree = tree;
	r->sink = sink;
	r->context = context;
	r->dir_fd = -1;
	r->buffer = mem_alloc(READ_BYTES);
	if (!r->buffer || digest_stream_new(&r->whole) < 0) {
		entry_reader_free(r, &tree->arena);
		return -ENOMEM;
	}
	*out = r;
	return 0;
}

void entry_reader_free(struct entry_reader *r, struct arena *arena)
{
	if (!r)
		return;
	arena_merge(arena, &r->arena);
	if (r->dir_fd >= 0)
		close(r->dir_fd);
	digest_stream_free(r->whole);
	free(r->buffer);
	free(r->pieces);
	free(r);
}

void entry_reader_counts(
	const struct entry_reader *r, uint64_t *out_files, uint64_t *out_bytes)
{
	*out_files = r->files;
	*out_bytes = r->bytes;
}

static int read_error(const struct entry_reader *r, const struct tree_dir *dir,
	const struct tree_entry *e, int error)
{
	struct buffer path AUTO_BUFFER = BUFFER_INIT(PATH_TEXT_MAX);

	if (tree_path(dir, e, &path) < 0)
		path.len = 0;
	if (error == -EAGAIN || error == -ENOENT || error == -ELOOP || error == -ENOTDIR)
		return log_error_errno(error,
			"%s/%.*s changed while it was read; nothing was published: "
			"publish again when nobody writes to it, or from a snapshot",
			r->tree->path, (int)path.len, (const char *)path.data);
	return log_error_errno(error, "cannot read %s/%.*s: %s", r->tree->path,
		(int)path.len, (const char *)path.data, log_strerror(error));
}

/* openat2() is missing before Linux 5.6 and under some sandboxes: asked once. */
static atomic_bool has_no_openat2;

/* From the top, one name at a time: any length of path, no symlink followed. */
static int open_by_steps(const struct tree *tree, const char *path, size_t len)
{
	AUTO_CLOSE int fd = fcntl(tree->fd, F_DUPFD_CLOEXEC, 0);

	for (const char *p = path; fd >= 0 && p < path + len;) {
		char name[CATALOG_NAME_MAX + 1];
		const char *slash = memchr(p, '/', (size_t)(path + len - p));
		size_t n = (size_t)((slash ? slash : path + len) - p);

		memcpy(name, p, n);
		name[n] = '\0';
		p += n + 1;
		int next =
			openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int r = -errno;

		close(fd);
		fd = next;
		if (fd < 0)
			return r;
	}
	if (fd < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int open_dir_path(const struct tree *tree, struct tree_dir *dir)
{
	struct buffer path AUTO_BUFFER = BUFFER_INIT(PATH_TEXT_MAX);
	int r = tree_path(dir, dir->self, &path);

	if (r == 0)
		r = buffer_add(&path, "", 1);
	if (r < 0)
		return r;
	if (path.len == 1)
		return open_by_steps(tree, "", 0);
	if (path.len < PATH_MAX && !atomic_load(&has_no_openat2)) {
		struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
			.resolve = RESOLVE_NO_SYMLINKS};
		long fd = syscall(SYS_openat2, tree->fd, path.data, &how, sizeof(how));

		if (fd >= 0)
			return (int)fd;
		if (errno != ENOSYS && errno != EPERM)
			return -errno;
		atomic_store(&has_no_openat2, true);
	}
	return open_by_steps(tree, (const char *)path.data, path.len - 1);
}

static int enter_dir(struct entry_reader *r, struct tree_dir *dir)
{
	if (dir == r->dir && r->dir_fd >= 0)
		return 0;
	if (r->dir_fd >= 0)
		close(r->dir_fd);
	r->dir_fd = open_dir_path(r->tree, dir);
	r->dir = dir;
	if (r->dir_fd >= 0)
		return 0;
	int error = r->dir_fd;

	r->dir_fd = -1;
	return error;
}

/* A linked file's other names get what is read under this one: it must be that file still. */
static bool is_walked_file(const struct tree_entry *e, const struct stat *st)
{
	return !(e->flags & TREE_ENTRY_LINKED) ||
	       (e->links->device == st->st_dev && e->links->number == st->st_ino);
}

/* Takes over what `st` says, keeping what was found out about its links. -EAGAIN when the file
 * changed since the walk and has a name that gets the old catalog's word for it. */
static int refresh(struct tree_entry *e, const struct stat *st, int64_t seen_ns)
{
	uint32_t nlink = e->nlink;

	if (!is_walked_file(e, st))
		return -EAGAIN;
	tree_entry_set_stat(e, st, seen_ns);
	if (!(e->flags & TREE_ENTRY_LINKED))
		return 0;
	if (e->links->read_count < e->links->count && e->fingerprint != e->links->seen)
		return -EAGAIN;
	e->nlink = nlink;
	e->fingerprint = tree_linked_fingerprint(e);
	return 0;
}

static int take_chunk(struct entry_reader *r, uint64_t position, const uint8_t *data,
	size_t len, uint64_t size)
{
	struct digest digest;
	struct chunk_ref *chunk;
	int error = digest_of(data, len, &digest);

	if (error == 0 && len == size)
		r->only = digest;
	else if (error == 0 && !r->is_whole_hashed) {
		error = digest_stream_reset(r->whole);
		r->is_whole_hashed = true;
	}
	if (error == 0 && r->is_whole_hashed)
		error = digest_stream_add(r->whole, data, len);
	if (error == 0)
		error = r->sink(r->context, &digest, data, len, &chunk);
	if (error == 0)
		error = mem_grow((void **)&r->pieces, &r->piece_capacity, r->piece_count,
			sizeof(*r->pieces));
	if (error < 0)
		return error;
	r->pieces[r->piece_count++] =
		(struct content_piece){.position = position, .chunk = chunk};
	r->data_bytes += len;
	return 0;
}

static int hash_hole(struct entry_reader *r, uint64_t len)
{
	int error = 0;

	if (!r->is_whole_hashed)
		error = digest_stream_reset(r->whole);
	r->is_whole_hashed = true;
	memset(r->buffer, 0, len < READ_BYTES ? len : READ_BYTES);
	while (error == 0 && len) {
		size_t step = len < READ_BYTES ? len : READ_BYTES;

		error = digest_stream_add(r->whole, r->buffer, step);
		len -= step;
	}
	return error;
}

/* Reads and cuts [start, end). -EAGAIN when the file is shorter by now. */
static int read_extent(
	struct entry_reader *r, int fd, uint64_t start, uint64_t end, uint64_t size)
{
	uint64_t next = start; /* where reading goes on */
	size_t have = 0;

	while (next < end || have) {
		size_t want = READ_BYTES - have;

		if (want > end - next)
			want = end - next;
		if (want) {
			ssize_t n = io_pread(fd, r->buffer + have, want, (off_t)next);

			if (n < 0)
				return (int)n;
			if ((size_t)n < want)
				return -EAGAIN;
			r->bytes += want;
			next += want;
			have += want;
		}
		size_t used = 0;

		while (have - used >= CHUNK_MAX_BYTES || (next == end && used < have)) {
			size_t n = chunker_cut(r->buffer + used, have - used);
			int error = take_chunk(
				r, next - (have - used), r->buffer + used, n, size);

			if (error < 0)
				return error;
			used += n;
		}
		have -= used;
		memmove(r->buffer, r->buffer + used, have);
	}
	return 0;
}

static int read_sparse(struct entry_reader *r, int fd, uint64_t size)
{
	uint64_t at = 0;

	while (at < size) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);

		if (data < 0 && errno != ENXIO)
			return -errno;
		if (data < 0 || (uint64_t)data > size)
			data = (off_t)size;
		int error = (uint64_t)data > at ? hash_hole(r, (uint64_t)data - at) : 0;

		if (error < 0 || (uint64_t)data == size)
			return error;
		off_t hole = lseek(fd, data, SEEK_HOLE);

		if (hole < 0)
			return errno == ENXIO ? -EAGAIN : -errno;
		if ((uint64_t)hole > size)
			hole = (off_t)size;
		error = read_extent(r, fd, (uint64_t)data, (uint64_t)hole, size);
		if (error < 0)
			return error;
		at = (uint64_t)hole;
	}
	return 0;
}

static int read_content(
	struct entry_reader *r, int fd, const struct stat *st, struct content **out)
{
	uint64_t size = (uint64_t)st->st_size;
	/* only then can there be holes; asking costs two calls a file */
	bool is_sparse = (uint64_t)st->st_blocks * 512 < size;

	r->piece_count = 0;
	r->data_bytes = 0;
	r->is_whole_hashed = false;
	int error =
		is_sparse ? read_sparse(r, fd, size) : read_extent(r, fd, 0, size, size);

	if (error < 0)
		return error;
	size_t bytes = r->piece_count * sizeof(*r->pieces);
	struct content *c = arena_alloc(&r->arena, sizeof(*c) + bytes);

	if (!c)
		return -ENOMEM;
	c->size = size;
	c->data_bytes = r->data_bytes;
	c->piece_count = (uint32_t)r->piece_count;
	if (bytes)
		memcpy(c->pieces, r->pieces, bytes);
	if (r->is_whole_hashed)
		error = digest_stream_finish(r->whole, &c->digest);
	else
		c->digest = r->only;
	*out = c;
	return error;
}

static bool same_version(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void wait_ns(int64_t ns)
{
	struct timespec t = {.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};

	(void)nanosleep(&t, NULL);
}

static void wait_a_little(int attempt)
{
	wait_ns((attempt + 1) * 20 * NS_PER_MS);
}

/* What is compared after reading. A file changed this very moment could change once more and look
 * the same: it has to rest first. -EAGAIN when it does not. */
static int stat_at_rest(int fd, struct stat *out)
{
	struct stat later;

	if (fstat(fd, out) < 0)
		return -errno;
	int64_t racy_ns = tree_racy_ns(out, clock_real_ns());

	if (!racy_ns)
		return 0;
	wait_ns(racy_ns);
	if (fstat(fd, &later) < 0)
		return -errno;
	return same_version(out, &later) ? 0 : -EAGAIN;
}

/* One attempt at a file. -EAGAIN when it changed meanwhile. */
static int read_version(struct entry_reader *r, int fd, struct tree_entry *e)
{
	struct content *content = NULL;
	struct stat before;
	struct stat after;
	int error = stat_at_rest(fd, &before);

	if (error == 0 && (!S_ISREG(before.st_mode) || !is_walked_file(e, &before)))
		error = -EAGAIN;
	if (error == 0)
		error = xattr_read(fd, NULL, &r->arena, &e->xattrs);
	if (error == 0 && before.st_size)
		error = read_content(r, fd, &before, &content);
	if (error < 0)
		return error;
	int64_t seen_ns = clock_real_ns();

	if (fstat(fd, &after) < 0)
		return -errno;
	if (!same_version(&before, &after))
		return -EAGAIN;
	error = refresh(e, &after, seen_ns);
	if (error < 0)
		return error;
	e->content = content;
	r->files++;
	return 0;
}

static int read_regular(struct entry_reader *r, struct tree_entry *e, const char *name)
{
	AUTO_CLOSE int fd = openat(r->dir_fd, name,
		O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	for (int attempt = 0; attempt < TRIES; attempt++) {
		int error = read_version(r, fd, e);

		if (error != -EAGAIN)
			return error;
		wait_a_little(attempt);
	}
	return -EAGAIN;
}

static int read_symlink(struct entry_reader *r, struct tree_entry *e, const char *name)
{
	char target[PATH_MAX];

	for (int attempt = 0; attempt < TRIES; attempt++) {
		struct stat before;
		struct stat after;

		if (fstatat(r->dir_fd, name, &before, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		ssize_t n = readlinkat(r->dir_fd, name, target, sizeof(target));
		int64_t seen_ns = clock_real_ns();

		if (n < 0)
			return errno == EINVAL ? -EAGAIN : -errno;
		if (fstatat(r->dir_fd, name, &after, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		if (before.st_ino != after.st_ino || !same_version(&before, &after)) {
			wait_a_little(attempt);
			continue;
		}
		struct blob *b = arena_alloc(&r->arena, sizeof(*b) + (size_t)n);
		int error = b ? refresh(e, &after, seen_ns) : -ENOMEM;

		if (error < 0)
			return error;
		b->length = (uint32_t)n;
		memcpy(b->bytes, target, (size_t)n);
		e->target = b;
		return 0;
	}
	return -EAGAIN;
}

/* What has no data: the attributes only, by name below the open directory. */
static int read_attributes(struct entry_reader *r, struct tree_entry *e, const char *name)
{
	char path[sizeof("/proc/self/fd//") + 16 + CATALOG_NAME_MAX];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d%s%s", r->dir_fd,
		*name ? "/" : "/.", name);
	return xattr_read(-1, path, &r->arena, &e->xattrs);
}

int entry_reader_read(
	struct entry_reader *r, struct tree_dir *dir, struct tree_entry *entry)
{
	char name[CATALOG_NAME_MAX + 1];
	int error = enter_dir(r, dir);

	memcpy(name, entry->name, entry->name_length);
	name[entry->name_length] = '\0';
	if (error == 0 && S_ISREG(entry->mode))
		error = read_regular(r, entry, name);
	else if (error == 0) {
		if (S_ISLNK(entry->mode))
			error = read_symlink(r, entry, name);
		if (error == 0)
			error = read_attributes(r, entry, name);
	}
	/* a full depot and short memory are not this entry's fault and were reported */
	if (error < 0 && error != -ENOSPC && error != -ECANCELED)
		(void)read_error(r, dir, entry, error);
	return error;
}
