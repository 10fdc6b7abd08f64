/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The object store's inside, shared by object_store.c and object_scan.c; not for others. */
#pragma once

#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "cache/objects/bounds/recency.h"
#include "cache/objects/object_store.h"

#include <stdatomic.h>
#include <sys/stat.h>

#define OBJECT_FANOUT 256

/* One of objects/<aa>. An object is written, appears or goes, and is counted, under its lock: so
 * a count that finds no change behind it is exact, and who finds half an object under the lock has
 * found what a kill left. */
struct object_folder {
	_Atomic int fd; /* -1 until first used */
	struct mutex lock;
	int64_t bytes;	     /* lock; of what is counted */
	uint64_t generation; /* lock; changes with each name */
};

struct object_store {
	struct checkpoint *checkpoint;
	int dirfd;
	struct object_folder folders[OBJECT_FANOUT];
	struct usage usage;
	struct recency recency;
};

static inline int64_t object_mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * NS_PER_SEC + st->st_mtim.tv_nsec;
}

static inline int64_t object_atime_ns(const struct stat *st)
{
	return st->st_atim.tv_sec * NS_PER_SEC + st->st_atim.tv_nsec;
}

/* Landing is a use, too; not all file systems stamp a new file's access time. */
static inline int64_t object_last_use_ns(const struct stat *st)
{
	int64_t mtime_ns = object_mtime_ns(st);
	int64_t atime_ns = object_atime_ns(st);

	return atime_ns > mtime_ns ? atime_ns : mtime_ns;
}

static inline int64_t object_disk_bytes(const struct stat *st)
{
	return (int64_t)st->st_blocks * 512;
}

/* Opens the file as it is, noting nothing. A descriptor or -errno. */
int object_open(struct object_store *store, const struct digest *digest,
	struct stat *out) WARN_UNUSED;

/* Opens and, if it is in doubt, verifies; one that is damaged is removed (-ENOENT). Notes no use.
 * -ECANCELED when *stop (may be NULL) becomes true: a large object takes its time. */
int object_open_verified(struct object_store *store, const struct digest *digest,
	uint64_t size, const _Atomic bool *stop, struct stat *out) WARN_UNUSED;

/* Removes an object that is not what its name says, if it is still the one that was seen. 0,
 * -EAGAIN if it is not (it was being written), or -errno. */
int object_remove_damaged(struct object_store *store, const struct digest *digest,
	const struct stat *seen) WARN_UNUSED;

/* SHA-256 of a whole open file; leaves its access time alone. -ECANCELED as above. */
int object_digest(int fd, const struct stat *st, const _Atomic bool *stop,
	struct digest *out) WARN_UNUSED;
