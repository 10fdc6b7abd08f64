/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/object_store.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/objects/object_store_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define OBJECTS_DIR "objects"

int object_store_open(
	int cache_dirfd, struct checkpoint *checkpoint, struct object_store **out)
{
	if (mkdirat(cache_dirfd, OBJECTS_DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	AUTO_FREE struct object_store *store = mem_calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	store->dirfd =
		openat(cache_dirfd, OBJECTS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->dirfd < 0)
		return -errno;
	store->checkpoint = checkpoint;
	for (size_t i = 0; i < OBJECT_FANOUT; i++) {
		store->folders[i].fd = -1;
		mutex_init(&store->folders[i].lock);
	}
	usage_init(&store->usage);
	recency_init(&store->recency);
	*out = TAKE_PTR(store);
	return 0;
}

void object_store_free(struct object_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < OBJECT_FANOUT; i++) {
		if (store->folders[i].fd >= 0)
			close(store->folders[i].fd);
		mutex_release(&store->folders[i].lock);
	}
	recency_release(&store->recency);
	close(store->dirfd);
	free(store);
}

struct usage *object_store_usage(struct object_store *store)
{
	return &store->usage;
}

static struct object_folder *folder_of(
	struct object_store *store, const struct digest *digest)
{
	return &store->folders[digest->bytes[0]];
}

/* The descriptor of objects/<aa>; it stays open, borrowed. Only who wants to write makes the
 * directory: a full disk must not keep anybody from looking. */
static int folder_fd(struct object_store *store, const struct digest *digest, bool make)
{
	struct object_folder *folder = folder_of(store, digest);
	int fd = atomic_load_explicit(&folder->fd, memory_order_acquire);
	char name[4];

	if (fd >= 0)
		return fd;
	(void)snprintf(name, sizeof(name), "%02x", digest->bytes[0]);
	if (make && mkdirat(store->dirfd, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(store->dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int expected = -1;

	if (!atomic_compare_exchange_strong(&folder->fd, &expected, fd)) {
		close(fd);
		return expected;
	}
	return fd;
}

/* A name has come or gone. */
static void count(struct object_store *store, struct object_folder *folder, int64_t delta)
	REQUIRES(folder->lock)
{
	folder->bytes += delta;
	folder->generation++;
	usage_move(&store->usage, USAGE_OBJECTS, delta);
}

int object_digest(
	int fd, const struct stat *st, const _Atomic bool *stop, struct digest *out)
{
	static const size_t step = 256 * 1024;
	const struct timespec times[2] = {st->st_atim, {.tv_nsec = UTIME_OMIT}};
	struct digest_stream *stream;
	AUTO_FREE uint8_t *block = mem_alloc(step);

	if (!block)
		return -ENOMEM;
	int r = digest_stream_new(&stream);

	for (off_t at = 0; r == 0;) {
		if (stop && atomic_load(stop)) {
			r = -ECANCELED;
			break;
		}
		ssize_t n = io_pread(fd, block, step, at);

		if (n <= 0) {
			r = n < 0 ? (int)n : digest_stream_finish(stream, out);
			break;
		}
		r = digest_stream_add(stream, block, (size_t)n);
		at += n;
	}
	digest_stream_free(stream);
	(void)futimens(fd, times);
	return r;
}

/* After a crash: is this what its name says? A good one is stamped as of this session. */
static int verify_doubtful(int fd, const struct stat *st, const struct digest *digest,
	const _Atomic bool *stop)
{
	static const struct timespec now[2] = {
		{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
	struct digest found;
	int r = object_digest(fd, st, stop, &found);

	if (r < 0)
		return r;
	if (!digest_equal(&found, digest))
		return -EBADMSG;
	(void)futimens(fd, now);
	return 0;
}

int object_open(struct object_store *store, const struct digest *digest, struct stat *out)
{
	char name[DIGEST_HEX_SIZE];
	int dirfd = folder_fd(store, digest, false);

	if (dirfd < 0)
		return dirfd;
	digest_to_hex(digest, name);
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, out) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int object_remove_damaged(
	struct object_store *store, const struct digest *digest, const struct stat *seen)
{
	struct object_folder *folder = folder_of(store, digest);
	int dirfd = folder_fd(store, digest, false);
	char name[DIGEST_HEX_SIZE];
	struct stat st = {0};
	int r = -EAGAIN;

	if (dirfd < 0)
		return dirfd;
	digest_to_hex(digest, name);
	mutex_lock(&folder->lock);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		r = -errno;
	} else if (st.st_ino == seen->st_ino && st.st_size == seen->st_size) {
		log_warn("object %s in the cache is damaged: removed, it will be fetched "
			 "again",
			name);
		r = unlinkat(dirfd, name, 0) < 0 ? -errno : 0;
		if (r == 0)
			count(store, folder, -object_disk_bytes(&st));
	}
	mutex_unlock(&folder->lock);
	return r;
}

int object_open_verified(struct object_store *store, const struct digest *digest,
	uint64_t size, const _Atomic bool *stop, struct stat *out)
{
	int r = object_open(store, digest, out);

	if (r < 0)
		return r;
	AUTO_CLOSE int fd = r;

	r = (uint64_t)out->st_size == size && S_ISREG(out->st_mode) ? 0 : -EBADMSG;
	if (r == 0 && checkpoint_is_doubtful(store->checkpoint, object_mtime_ns(out)))
		r = verify_doubtful(fd, out, digest, stop);
	if (r == -EBADMSG) {
		/* -EAGAIN: it was only being written */
		r = object_remove_damaged(store, digest, out);
		return r == 0 || r == -EAGAIN ? -ENOENT : r;
	}
	return r < 0 ? r : TAKE_FD(fd);
}

int object_store_get(
	struct object_store *store, const struct digest *digest, uint64_t size)
{
	struct stat st = {0};
	int fd = object_open_verified(store, digest, size, NULL, &st);

	if (fd >= 0 && recency_is_old(object_last_use_ns(&st)) &&
		recency_note(&store->recency, digest))
		usage_wake(&store->usage);
	return fd;
}

static int64_t statx_ns(const struct statx_timestamp *t)
{
	return t->tv_sec * NS_PER_SEC + t->tv_nsec;
}

bool object_store_has(struct object_store *store, const struct digest *digest,
	uint64_t size, struct object_times *out_times)
{
	char name[DIGEST_HEX_SIZE];
	struct statx stx;
	int dirfd = folder_fd(store, digest, false);

	if (dirfd < 0)
		return false;
	digest_to_hex(digest, name);
	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW,
		    STATX_SIZE | STATX_ATIME | STATX_MTIME | STATX_BTIME, &stx) < 0 ||
		stx.stx_size != size)
		return false;
	if (out_times) {
		int64_t atime_ns = statx_ns(&stx.stx_atime);
		int64_t mtime_ns = statx_ns(&stx.stx_mtime);

		/* the birth, where the file system knows it: a later verification moves mtime */
		out_times->landed_ns =
			stx.stx_mask & STATX_BTIME ? statx_ns(&stx.stx_btime) : mtime_ns;
		out_times->accessed_ns = atime_ns > mtime_ns ? atime_ns : mtime_ns;
	}
	return true;
}

/* What stands where an object of this size is to land: nobody else is writing it. 1: it is there,
 * 0: the place is free now. */
static int look_at_taken(struct object_store *store, struct object_folder *folder,
	int dirfd, const char *name, uint64_t size) REQUIRES(folder->lock)
{
	struct stat st = {0};

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == size)
		return 1;
	if (unlinkat(dirfd, name, 0) < 0)
		return -errno;
	count(store, folder, -object_disk_bytes(&st));
	return 0;
}

static int write_new(int dirfd, const char *name, const void *data, size_t len,
	int64_t *out_disk_bytes)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct stat st = {0};

	if (fd < 0)
		return -errno;
	int r = io_write(fd, data, len);

	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dirfd, name, 0);
	*out_disk_bytes = object_disk_bytes(&st);
	return r;
}

/*
 * Few system calls, under the name that it will have: with a temporary name and a rename
 * landing a small file costs half as much again (docs/performance.md). A file that is not complete
 * is smaller than its content: it grows by write() alone, which a kill ends early, never with
 * a hole. So its size tells whether it is complete, and the lock whether somebody is
 * writing it still.
 */
int object_store_put(struct object_store *store, const struct digest *digest,
	const void *data, size_t len)
{
	struct object_folder *folder = folder_of(store, digest);
	char name[DIGEST_HEX_SIZE];
	int64_t disk_bytes = 0;

	if (!usage_admits(&store->usage, len))
		return -ENOSPC;
	int dirfd = folder_fd(store, digest, true);

	if (dirfd < 0)
		return dirfd;
	digest_to_hex(digest, name);
	mutex_lock(&folder->lock);
	int r = write_new(dirfd, name, data, len, &disk_bytes);

	if (r == -EEXIST) {
		r = look_at_taken(store, folder, dirfd, name, len);
		if (r == 0)
			r = write_new(dirfd, name, data, len, &disk_bytes);
	}
	if (r == 0)
		count(store, folder, disk_bytes);
	mutex_unlock(&folder->lock);
	return r < 0 ? r : 0;
}

int object_store_adopt(struct object_store *store, const struct digest *digest,
	int from_dirfd, const char *from_name)
{
	struct object_folder *folder = folder_of(store, digest);
	int dirfd = folder_fd(store, digest, true);
	char name[DIGEST_HEX_SIZE];
	struct stat st = {0};

	if (dirfd < 0)
		return dirfd;
	if (fstatat(from_dirfd, from_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	digest_to_hex(digest, name);
	mutex_lock(&folder->lock);
	int r = look_at_taken(store, folder, dirfd, name, (uint64_t)st.st_size);

	if (r == 0)
		r = renameat(from_dirfd, from_name, dirfd, name) < 0 ? -errno : 0;
	else if (r > 0 && unlinkat(from_dirfd, from_name, 0) < 0)
		r = -errno;
	else if (r > 0)
		st.st_blocks = 0; /* its times stay its own */
	if (r >= 0)
		count(store, folder, object_disk_bytes(&st));
	mutex_unlock(&folder->lock);
	return r < 0 ? r : 0;
}

int object_store_remove(
	struct object_store *store, const struct digest *digest, uint64_t *out_bytes)
{
	struct object_folder *folder = folder_of(store, digest);
	int dirfd = folder_fd(store, digest, false);
	char name[DIGEST_HEX_SIZE];
	struct stat st = {0};
	int r = 0;

	if (dirfd < 0)
		return dirfd;
	digest_to_hex(digest, name);
	mutex_lock(&folder->lock);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		unlinkat(dirfd, name, 0) < 0)
		r = -errno;
	else
		count(store, folder, -object_disk_bytes(&st));
	mutex_unlock(&folder->lock);
	if (r == 0 && out_bytes)
		*out_bytes = (uint64_t)object_disk_bytes(&st);
	return r;
}

void object_store_write_accesses(struct object_store *store)
{
	static const struct timespec now[2] = {
		{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
	char name[DIGEST_HEX_SIZE];
	struct digest digest;

	for (unsigned int at = 0; recency_take(&store->recency, &at, &digest);) {
		int dirfd = folder_fd(store, &digest, false);

		digest_to_hex(&digest, name);
		/* it may have been removed meanwhile */
		if (dirfd >= 0)
			(void)utimensat(dirfd, name, now, AT_SYMLINK_NOFOLLOW);
	}
}
