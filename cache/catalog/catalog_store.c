/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/catalog/catalog_store.h"

#include "cache/base/disk/dir.h"
#include "cache/base/disk/durable.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/catalog/catalog_check.h"
#include "cache/catalog/catalog_trim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define CATALOG_DIR	  "catalog"
#define TMP_PREFIX	  "tmp-"
#define CATALOG_PATH_SIZE (DIGEST_HEX_SIZE + 3)

struct catalog_store {
	int dirfd;
	struct usage *usage; /* NULL: not counted */
	unsigned int session;
	atomic_uint landing_number;
	struct catalog_trim *trim;
};

/* What a landing that was killed left behind. */
static int sweep_one(void *arg, int dirfd, const char *name)
{
	(void)arg;
	if (strncmp(name, TMP_PREFIX, strlen(TMP_PREFIX)) == 0)
		(void)unlinkat(dirfd, name, 0);
	return 0;
}

int catalog_store_open(int cache_dirfd, struct catalog_store **out)
{
	if (mkdirat(cache_dirfd, CATALOG_DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	AUTO_FREE struct catalog_store *store = mem_calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	if (getrandom(&store->session, sizeof(store->session), 0) < 0)
		return -errno;
	store->dirfd =
		openat(cache_dirfd, CATALOG_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->dirfd < 0)
		return -errno;
	int r = dir_each(store->dirfd, ".", sweep_one, NULL);

	if (r == 0)
		r = catalog_trim_start(CATALOG_TRIM_BYTES, &store->trim);
	if (r < 0) {
		close(store->dirfd);
		return r;
	}
	*out = TAKE_PTR(store);
	return 0;
}

void catalog_store_free(struct catalog_store *store)
{
	if (!store)
		return;
	catalog_trim_stop(store->trim);
	close(store->dirfd);
	free(store);
}

static void path_of(const struct digest *digest, char out[CATALOG_PATH_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_to_hex(digest, hex);
	(void)snprintf(out, CATALOG_PATH_SIZE, "%.2s/%s", hex, hex);
}

void catalog_store_count_in(struct catalog_store *store, struct usage *usage)
{
	store->usage = usage;
}

static void count(const struct catalog_store *store, int64_t bytes)
{
	if (store->usage)
		usage_move(store->usage, USAGE_CATALOGS, bytes);
}

/* What is known by this path takes on disk, 0 if nothing is. */
static int64_t disk_bytes_of(const struct catalog_store *store, const char *path)
{
	struct stat st;

	if (fstatat(store->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return (int64_t)st.st_blocks * 512;
}

int catalog_store_remove(
	struct catalog_store *store, const struct digest *digest, uint64_t *out_bytes)
{
	char path[CATALOG_PATH_SIZE];

	path_of(digest, path);
	int64_t bytes = disk_bytes_of(store, path);

	if (unlinkat(store->dirfd, path, 0) < 0)
		return -errno;
	count(store, -bytes);
	if (out_bytes)
		*out_bytes = (uint64_t)bytes;
	return 0;
}

int catalog_store_get(
	struct catalog_store *store, const struct catalog_ref *ref, struct catalog **out)
{
	char path[CATALOG_PATH_SIZE];
	struct catalog *c;
	struct digest found;

	path_of(&ref->digest, path);
	AUTO_CLOSE int fd = openat(store->dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	int r = catalog_open_fd(fd, &c, NULL);

	if (r == 0) {
		r = digest_of(c->header, c->map_bytes, &found);
		if (r == 0 && !digest_equal(&found, &ref->digest))
			r = -EBADMSG;
		if (r < 0)
			catalog_close(c);
	}
	if (r == -EBADMSG) {
		log_warn("catalog %s in the cache is damaged: removed, it will be "
			 "fetched again",
			path);
		r = catalog_store_remove(store, &ref->digest, NULL);
		return r < 0 ? r : -ENOENT;
	}
	if (r < 0)
		return r;
	catalog_trim_add(store->trim, c);
	*out = c;
	return 0;
}

bool catalog_store_has(struct catalog_store *store, const struct digest *digest)
{
	char path[CATALOG_PATH_SIZE];

	path_of(digest, path);
	return faccessat(store->dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Writes the file under a temporary name and leaves it open in *out_fd. Its directory's own name
 * is as good as on disk once the caller has flushed the directory that holds it. */
static int write_file(struct catalog_store *store, const struct catalog_ref *ref,
	const uint8_t *data, bool is_durable, int *out_fd)
{
	char path[CATALOG_PATH_SIZE];
	char tmp[40];

	path_of(&ref->digest, path);
	(void)snprintf(tmp, sizeof(tmp), TMP_PREFIX "%u-%u", store->session,
		atomic_fetch_add(&store->landing_number, 1));
	AUTO_CLOSE int fd =
		openat(store->dirfd, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	path[2] = '\0';
	int r = mkdirat(store->dirfd, path, 0700) < 0 && errno != EEXIST ? -errno : 0;

	path[2] = '/';
	if (r == 0)
		r = io_write(fd, data, (size_t)ref->raw_bytes);
	int64_t bytes = disk_bytes_of(store, tmp) - disk_bytes_of(store, path);

	if (r == 0 && is_durable)
		r = durable_adopt(fd, store->dirfd, tmp, store->dirfd, path);
	else if (r == 0 && renameat(store->dirfd, tmp, store->dirfd, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(store->dirfd, tmp, 0);
		return r;
	}
	count(store, bytes);
	*out_fd = TAKE_FD(fd);
	return 0;
}

static int keep_in_memory(const struct catalog_ref *ref, const uint8_t *data,
	struct catalog **out, const char **out_reason)
{
	AUTO_FREE void *copy = mem_dup(data, (size_t)ref->raw_bytes);

	if (!copy)
		return -ENOMEM;
	int r = catalog_open_memory(copy, (size_t)ref->raw_bytes, out, out_reason);

	if (r == 0)
		(void)TAKE_PTR(copy);
	return r;
}

int catalog_store_put(struct catalog_store *store, const struct catalog_ref *ref,
	const uint8_t *data, struct catalog **out)
{
	const char *reason = "";
	struct catalog *c = NULL;
	AUTO_CLOSE int fd = -1;
	int r = write_file(store, ref, data, false, &fd);

	if (r < 0) {
		log_warn("a catalog cannot be kept in the cache: %s; it stays in memory",
			log_strerror(r));
		r = keep_in_memory(ref, data, &c, &reason);
	} else {
		r = catalog_open_fd(fd, &c, &reason);
	}
	if (r == 0 && catalog_is_composed(c)) {
		catalog_close(c);
		reason = "it says that a mirror composed it";
		r = -EBADMSG;
	}
	if (r == -EBADMSG) {
		char hex[DIGEST_HEX_SIZE];

		digest_to_hex(&ref->digest, hex);
		int gone = catalog_store_remove(store, &ref->digest, NULL);

		if (gone < 0 && gone != -ENOENT)
			log_warn("catalog %s cannot be removed: %s", hex,
				log_strerror(gone));
		/* the bytes are what was signed for: no source is to blame */
		return log_error_errno(-EUCLEAN,
			"catalog %s is signed for but not sound (%s): the publisher's "
			"program must be mended",
			hex, reason);
	}
	if (r < 0)
		return r;
	if (!c->is_owned_memory)
		catalog_trim_add(store->trim, c);
	*out = c;
	return 0;
}

int catalog_store_put_composed(
	struct catalog_store *store, const struct catalog_ref *ref, const uint8_t *data)
{
	const char *reason = "it is not marked as such";
	struct catalog c;
	int r = catalog_check(&c, data, (size_t)ref->raw_bytes, &reason);

	if (r < 0 || !catalog_is_composed(&c))
		return log_error_errno(-EUCLEAN,
			"a catalog that was composed here is not sound (%s): this "
			"program must be mended; the view stays as it is",
			reason);
	AUTO_CLOSE int fd = -1;

	r = write_file(store, ref, data, true, &fd);
	if (r == 0 && fsync(store->dirfd) < 0)
		r = -errno;
	return r;
}

struct listing {
	digest_file_callback each;
	void *arg;
};

static int list_folder(void *arg, int dirfd, const char *name)
{
	const struct listing *list = arg;

	/* beside the folders a landing's file may stand */
	return strlen(name) == 2 ? digest_files_each(dirfd, name, list->each, list->arg)
				 : 0;
}

int catalog_store_list(struct catalog_store *store, digest_file_callback each, void *arg)
{
	struct listing list = {.each = each, .arg = arg};

	return dir_each(store->dirfd, ".", list_folder, &list);
}
