/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/object_store.h"

#include "cache/base/clock.h"
#include "cache/base/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/mutex.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#define OBJECTS_DIR "objects"
#define FANOUT	    256

/* Landing locks, by digest: more than there are threads that land. */
#define LANDINGS 64

struct object_store {
	struct checkpoint *checkpoint;
	struct mutex landing[LANDINGS];
	int dirfd;
	_Atomic int fanout[FANOUT]; /* descriptors of objects/<aa>, -1 until first used */
	atomic_uint_fast64_t used_bytes;
};

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
	for (size_t i = 0; i < LANDINGS; i++)
		mutex_init(&store->landing[i]);
	for (size_t i = 0; i < FANOUT; i++)
		store->fanout[i] = -1;
	*out = TAKE_PTR(store);
	return 0;
}

void object_store_free(struct object_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < FANOUT; i++)
		if (store->fanout[i] >= 0)
			close(store->fanout[i]);
	for (size_t i = 0; i < LANDINGS; i++)
		mutex_release(&store->landing[i]);
	close(store->dirfd);
	free(store);
}

/* The descriptor of objects/<aa>; it stays open, borrowed. Only who wants to write makes the
 * directory: a full disk must not keep anybody from looking. */
static int fanout_dir(struct object_store *store, uint8_t first, bool make)
{
	int fd = atomic_load_explicit(&store->fanout[first], memory_order_acquire);
	char name[4];

	if (fd >= 0)
		return fd;
	(void)snprintf(name, sizeof(name), "%02x", first);
	if (make && mkdirat(store->dirfd, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(store->dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int expected = -1;

	if (!atomic_compare_exchange_strong(&store->fanout[first], &expected, fd)) {
		close(fd);
		return expected;
	}
	return fd;
}

static int64_t stat_mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * NS_PER_SEC + st->st_mtim.tv_nsec;
}

/* -ECANCELED when *stop (may be NULL) becomes true: a large object takes its time. */
static int digest_of_fd(int fd, const _Atomic bool *stop, struct digest *out)
{
	static const size_t step = 256 * 1024;
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
	return r;
}

/* After a crash: is this what its name says? A good one is stamped as of this session. */
static int verify_doubtful(int fd, const struct digest *digest, const _Atomic bool *stop)
{
	struct digest found;
	int r = digest_of_fd(fd, stop, &found);

	if (r < 0)
		return r;
	if (!digest_equal(&found, digest))
		return -EBADMSG;
	(void)futimens(fd, NULL);
	return 0;
}

/* The scan may not have counted it yet. */
static void uncount(struct object_store *store, uint64_t size)
{
	uint_fast64_t used = atomic_load(&store->used_bytes);

	while (!atomic_compare_exchange_weak(
		&store->used_bytes, &used, used > size ? used - size : 0))
		continue;
}

static struct mutex *landing_of(struct object_store *store, const struct digest *digest)
{
	/* the first byte is the directory's */
	return &store->landing[digest->bytes[1] % LANDINGS];
}

/* Removes an object that is not what its name says, unless it was only being written. */
static void remove_damaged(struct object_store *store, int dirfd, const char *name,
	const struct digest *digest, uint64_t size, bool is_complete)
{
	struct mutex *landing = landing_of(store, digest);
	struct stat st;

	mutex_lock(landing);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		(is_complete || (uint64_t)st.st_size != size || !S_ISREG(st.st_mode))) {
		log_warn("object %s in the cache is damaged: removed, it will be fetched "
			 "again",
			name);
		if (unlinkat(dirfd, name, 0) == 0)
			uncount(store, (uint64_t)st.st_size);
	}
	mutex_unlock(landing);
}

static int open_verified(struct object_store *store, const struct digest *digest,
	uint64_t size, const _Atomic bool *stop)
{
	char name[DIGEST_HEX_SIZE];
	struct stat st;
	int dirfd = fanout_dir(store, digest->bytes[0], false);

	if (dirfd < 0)
		return dirfd;
	digest_to_hex(digest, name);
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	bool is_complete = (uint64_t)st.st_size == size && S_ISREG(st.st_mode);
	int r = is_complete ? 0 : -EBADMSG;

	if (r == 0 && checkpoint_is_doubtful(store->checkpoint, stat_mtime_ns(&st)))
		r = verify_doubtful(fd, digest, stop);
	if (r == -EBADMSG) {
		remove_damaged(store, dirfd, name, digest, size, is_complete);
		return -ENOENT;
	}
	return r < 0 ? r : TAKE_FD(fd);
}

int object_store_get(
	struct object_store *store, const struct digest *digest, uint64_t size)
{
	return open_verified(store, digest, size, NULL);
}

bool object_store_has(struct object_store *store, const struct digest *digest,
	uint64_t size, int64_t *out_landed_ns)
{
	char name[DIGEST_HEX_SIZE];
	struct statx stx;
	int dirfd = fanout_dir(store, digest->bytes[0], false);

	if (dirfd < 0)
		return false;
	digest_to_hex(digest, name);
	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW,
		    STATX_SIZE | STATX_MTIME | STATX_BTIME, &stx) < 0 ||
		stx.stx_size != size)
		return false;
	if (out_landed_ns) {
		/* the birth, where the file system knows it: a later verification moves mtime */
		const struct statx_timestamp *t =
			stx.stx_mask & STATX_BTIME ? &stx.stx_btime : &stx.stx_mtime;

		*out_landed_ns = t->tv_sec * NS_PER_SEC + t->tv_nsec;
	}
	return true;
}

static int write_new(int dirfd, const char *name, const void *data, size_t len)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	int r = io_write(fd, data, len);

	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dirfd, name, 0);
	return r;
}

/* What stands where an object of this size is to land: nobody else is writing it. 1: it is there,
 * 0: the place is free now. */
static int look_at_taken(
	struct object_store *store, int dirfd, const char *name, uint64_t size)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == size)
		return 1;
	if (unlinkat(dirfd, name, 0) < 0)
		return -errno;
	uncount(store, (uint64_t)st.st_size);
	return 0;
}

/*
 * Three system calls, under the name that it will have: with a temporary name and a rename
 * landing a small file costs half as much again (docs/performance.md). A file that is not complete
 * is smaller than its content: it grows by write() alone, which a kill ends early, never with
 * a hole. So its size tells whether it is complete, and the lock whether somebody is
 * writing it still.
 */
int object_store_put(struct object_store *store, const struct digest *digest,
	const void *data, size_t len)
{
	char name[DIGEST_HEX_SIZE];
	int dirfd = fanout_dir(store, digest->bytes[0], true);
	struct mutex *landing = landing_of(store, digest);

	if (dirfd < 0)
		return dirfd;
	digest_to_hex(digest, name);
	mutex_lock(landing);
	int r = write_new(dirfd, name, data, len);

	if (r == -EEXIST) {
		r = look_at_taken(store, dirfd, name, len);
		if (r != 0) {
			mutex_unlock(landing);
			return r < 0 ? r : 0;
		}
		r = write_new(dirfd, name, data, len);
	}
	mutex_unlock(landing);
	if (r == 0)
		atomic_fetch_add(&store->used_bytes, len);
	return r;
}

int object_store_adopt(struct object_store *store, const struct digest *digest,
	uint64_t size, int from_dirfd, const char *from_name)
{
	char name[DIGEST_HEX_SIZE];
	int dirfd = fanout_dir(store, digest->bytes[0], true);

	if (dirfd < 0)
		return dirfd;
	digest_to_hex(digest, name);
	if (renameat(from_dirfd, from_name, dirfd, name) < 0)
		return -errno;
	atomic_fetch_add(&store->used_bytes, size);
	return 0;
}

uint64_t object_store_used(struct object_store *store)
{
	return atomic_load(&store->used_bytes);
}

/* False if it is in doubt and could not be verified. */
static bool scan_entry(
	struct object_store *store, int dirfd, const char *name, const _Atomic bool *stop)
{
	struct digest digest;
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT;
	if (digest_from_hex(name, &digest) < 0 || name[DIGEST_HEX_SIZE - 1] != '\0')
		return true;
	/* landed while this scan ran: counted then */
	if (checkpoint_is_new(store->checkpoint, stat_mtime_ns(&st)))
		return true;
	atomic_fetch_add(&store->used_bytes, (uint64_t)st.st_size);
	if (!checkpoint_is_doubtful(store->checkpoint, stat_mtime_ns(&st)))
		return true;
	int fd = open_verified(store, &digest, (uint64_t)st.st_size, stop);

	if (fd >= 0)
		close(fd);
	return fd >= 0 || fd == -ENOENT;
}

/* One of objects/<aa>; false if something in it could not be verified. */
static bool scan_dir(
	struct object_store *store, const char *name, const _Atomic bool *stop)
{
	bool is_sure = true;
	int fd = openat(store->dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT;
	DIR *dir = fdopendir(fd);

	if (!dir) {
		close(fd);
		return false;
	}
	for (const struct dirent *d; !atomic_load(stop) && (d = readdir(dir));)
		if (d->d_name[0] != '.' &&
			!scan_entry(store, dirfd(dir), d->d_name, stop))
			is_sure = false;
	closedir(dir);
	return is_sure;
}

void object_store_scan(struct object_store *store, const _Atomic bool *stop)
{
	bool is_sure = true;

	for (unsigned int i = 0; i < FANOUT && !atomic_load(stop); i++) {
		char name[4];

		(void)snprintf(name, sizeof(name), "%02x", i);
		if (!scan_dir(store, name, stop))
			is_sure = false;
	}
	if (is_sure && !atomic_load(stop))
		checkpoint_settle(store->checkpoint);
}
