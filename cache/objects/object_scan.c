/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/object_scan.h"

#include "cache/base/disk/dir.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/objects/object_store_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

/* How often a folder is read anew because something landed in it meanwhile, before landing in it
 * is held up. The second time it is in the kernel's memory. */
#define TRIES 3

struct listing {
	struct object_store *store;
	const _Atomic bool *stop;
	struct object_info *items;
	size_t count;
	size_t capacity;
	int64_t bytes;
};

static int add_object(void *arg, int dirfd, const char *name)
{
	struct listing *list = arg;
	struct digest digest;
	struct stat st;

	if (atomic_load(list->stop))
		return -ECANCELED;
	if (digest_from_hex(name, &digest) < 0 || name[DIGEST_HEX_SIZE - 1] != '\0')
		return 0;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	int r = mem_grow((void **)&list->items, &list->capacity, list->count,
		sizeof(*list->items));

	if (r < 0)
		return r;
	list->items[list->count++] = (struct object_info){.digest = digest,
		.size = (uint64_t)st.st_size,
		.disk_bytes = (uint64_t)object_disk_bytes(&st),
		.landed_ns = object_mtime_ns(&st),
		.last_use_ns = object_last_use_ns(&st)};
	list->bytes += object_disk_bytes(&st);
	return 0;
}

static int read_folder(struct listing *list, unsigned int nth)
{
	char name[4];

	list->count = 0;
	list->bytes = 0;
	(void)snprintf(name, sizeof(name), "%02x", nth);
	int r = dir_each(list->store->dirfd, name, add_object, list);

	return r == -ENOENT ? 0 : r;
}

static void set_count(struct listing *list, struct object_folder *folder)
	REQUIRES(folder->lock)
{
	usage_move(&list->store->usage, USAGE_OBJECTS, list->bytes - folder->bytes);
	folder->bytes = list->bytes;
}

/* Lists one folder and sets its count, unless names came or went meanwhile (-EAGAIN). */
static int try_folder(struct listing *list, unsigned int nth)
{
	struct object_folder *folder = &list->store->folders[nth];

	mutex_lock(&folder->lock);
	uint64_t generation = folder->generation;

	mutex_unlock(&folder->lock);
	int r = read_folder(list, nth);

	if (r < 0)
		return r;
	mutex_lock(&folder->lock);
	if (folder->generation == generation)
		set_count(list, folder);
	else
		r = -EAGAIN;
	mutex_unlock(&folder->lock);
	return r;
}

static int list_folder(struct listing *list, unsigned int nth)
{
	struct object_folder *folder = &list->store->folders[nth];
	int r = -EAGAIN;

	for (int i = 0; i < TRIES && r == -EAGAIN; i++)
		r = try_folder(list, nth);
	if (r != -EAGAIN)
		return r;
	mutex_lock(&folder->lock);
	r = read_folder(list, nth);
	if (r == 0)
		set_count(list, folder);
	mutex_unlock(&folder->lock);
	return r;
}

int object_store_list(struct object_store *store, const _Atomic bool *stop,
	object_callback each, void *arg)
{
	struct listing list = {.store = store, .stop = stop};
	int r = 0;

	for (unsigned int nth = 0; nth < OBJECT_FANOUT && r == 0; nth++) {
		r = list_folder(&list, nth);
		for (size_t i = 0; i < list.count && r == 0; i++)
			r = atomic_load(stop) ? -ECANCELED : each(arg, &list.items[i]);
	}
	free(list.items);
	return r;
}

struct scan {
	struct object_store *store;
	const _Atomic bool *stop;
	bool has_doubt;
	bool is_sure;
};

static int look_for_doubt(void *arg, const struct object_info *object)
{
	struct scan *scan = arg;

	if (checkpoint_is_doubtful(scan->store->checkpoint, object->landed_ns))
		scan->has_doubt = true;
	return 0;
}

static int verify_if_doubtful(void *arg, const struct object_info *object)
{
	struct scan *scan = arg;
	struct stat st;

	if (!checkpoint_is_doubtful(scan->store->checkpoint, object->landed_ns))
		return 0;
	int fd = object_open_verified(
		scan->store, &object->digest, object->size, scan->stop, &st);

	if (fd >= 0)
		close(fd);
	else if (fd != -ENOENT)
		scan->is_sure = false;
	return 0;
}

void object_store_scan(struct object_store *store, const _Atomic bool *stop)
{
	struct scan scan = {.store = store, .stop = stop, .is_sure = true};
	/* counting is quick, verifying is not: whoever makes room waits for the count alone */
	int r = object_store_list(store, stop, look_for_doubt, &scan);

	if (r == 0 && scan.has_doubt)
		r = object_store_list(store, stop, verify_if_doubtful, &scan);
	if (r < 0 && r != -ECANCELED)
		log_warn("the cache's objects cannot all be looked at: %s; what is in "
			 "doubt stays so",
			log_strerror(r));
	if (r == 0 && scan.is_sure && !atomic_load(stop))
		checkpoint_settle(store->checkpoint);
}

int object_store_check(struct object_store *store, const struct digest *digest,
	uint64_t size, const _Atomic bool *stop)
{
	struct stat st;
	int fd = object_open(store, digest, &st);

	if (fd < 0)
		return fd;
	close(fd);
	/* it was there: if it is not now, it was no good */
	fd = object_open_verified(store, digest, size, stop, &st);
	if (fd >= 0)
		close(fd);
	return fd >= 0 ? 0 : fd == -ENOENT ? -EBADMSG : fd;
}

int object_store_verify(
	struct object_store *store, const struct digest *digest, const _Atomic bool *stop)
{
	int r = -EAGAIN;

	/* again, if it was only being written */
	while (r == -EAGAIN) {
		struct digest found;
		struct stat st;
		int fd = object_open(store, digest, &st);

		if (fd < 0)
			return fd;
		r = object_digest(fd, &st, stop, &found);
		close(fd);
		if (r < 0 || digest_equal(&found, digest))
			return r;
		r = object_remove_damaged(store, digest, &st);
	}
	return r < 0 && r != -ENOENT ? r : -EBADMSG;
}
