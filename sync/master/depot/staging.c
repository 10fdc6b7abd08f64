/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/depot/staging.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/mutex.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_SIZE	 96
#define SINGLE_FLUSH_MAX 16 /* up to here each file is flushed by itself */

struct staged {
	char name[DEPOT_OBJECT_SIZE]; /* below the depot */
	char tmp_name[NAME_SIZE];
};

struct staging {
	const struct depot *depot;
	int tmp_fd;
	struct mutex lock; /* guards the list */
	struct staged *list;
	size_t count;
	size_t capacity;
};

/* Removes the files of a directory whose name holds `part` ("" = all). */
static int sweep(int dirfd, const char *name, const char *part)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		int r = -errno;

		if (fd >= 0)
			close(fd);
		return r;
	}
	const struct dirent *d;

	while ((d = readdir(dir))) {
		if (d->d_name[0] != '.' && strstr(d->d_name, part))
			(void)unlinkat(fd, d->d_name, 0);
	}
	return closedir(dir) < 0 ? -errno : 0;
}

int staging_new(const struct depot *depot, int tmp_fd, struct staging **out)
{
	int r = sweep(tmp_fd, ".", "");

	if (r == 0)
		r = sweep(depot->fd, "channel", ".tmp");
	if (r == 0)
		r = sweep(depot->fd, "revision", ".tmp");
	if (r < 0)
		return log_error_errno(r, "cannot clear %s/" DEPOT_TMP ": %s",
			depot->path, log_strerror(r));
	struct staging *s = mem_calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->depot = depot;
	s->tmp_fd = tmp_fd;
	mutex_init(&s->lock);
	*out = s;
	return 0;
}

void staging_free(struct staging *s) NO_LOCK_CHECK
{
	if (!s)
		return;
	(void)sweep(s->tmp_fd, ".", "");
	free(s->list);
	mutex_release(&s->lock);
	free(s);
}

int staging_add(struct staging *s, const char *kind, const struct digest *digest,
	const char *tmp_name)
{
	mutex_lock(&s->lock);
	int r = mem_grow((void **)&s->list, &s->capacity, s->count, sizeof(*s->list));

	if (r == 0) {
		struct staged *o = &s->list[s->count++];

		depot_object_name(kind, digest, o->name);
		(void)snprintf(o->tmp_name, sizeof(o->tmp_name), "%s", tmp_name);
	}
	mutex_unlock(&s->lock);
	return r;
}

static int flush_file(int dirfd, const char *name, int flags)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | flags);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

static int flush_all(const struct staging *s, const struct staged *list, size_t count)
{
	int r = 0;

	if (count > SINGLE_FLUSH_MAX)
		return syncfs(s->tmp_fd) < 0 ? -errno : 0;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = flush_file(s->tmp_fd, list[i].tmp_name, 0);
	return r;
}

static int compare_staged(const void *a, const void *b)
{
	const struct staged *x = a;
	const struct staged *y = b;

	return strcmp(x->name, y->name);
}

/* "pack/ab/abcd" -> "pack/ab" */
static void parent_of(const char *name, char out[NAME_SIZE])
{
	const char *slash = strrchr(name, '/');

	(void)snprintf(out, NAME_SIZE, "%.*s", (int)(slash - name), name);
}

static int ensure_dir(const struct staging *s, const char *name)
{
	if (mkdirat(s->depot->fd, name, 0755) == 0)
		return fchmodat(s->depot->fd, name, 0755, 0) < 0 ? -errno : 0;
	return errno == EEXIST ? 0 : -errno;
}

/* Sorted by name, so that each directory is made and flushed once. */
static int rename_all(const struct staging *s, struct staged *list, size_t count)
{
	static const char *const kinds[] = {"pack", "catalog", "policy"};
	char dir[NAME_SIZE] = "";
	char next[NAME_SIZE];
	int r = 0;

	qsort(list, count, sizeof(*list), compare_staged);
	for (size_t i = 0; r == 0 && i < count; i++) {
		parent_of(list[i].name, next);
		if (strcmp(dir, next) != 0) {
			if (*dir)
				r = flush_file(s->depot->fd, dir, O_DIRECTORY);
			memcpy(dir, next, sizeof(dir));
			if (r == 0)
				r = ensure_dir(s, dir);
		}
		if (r == 0 && renameat(s->tmp_fd, list[i].tmp_name, s->depot->fd,
				      list[i].name) < 0)
			r = -errno;
	}
	if (r == 0 && *dir)
		r = flush_file(s->depot->fd, dir, O_DIRECTORY);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++) {
		r = flush_file(s->depot->fd, kinds[i], O_DIRECTORY);
		/* depots from before there were policies */
		if (r == -ENOENT && strcmp(kinds[i], "policy") == 0)
			r = 0;
	}
	return r;
}

int staging_install(struct staging *s)
{
	mutex_lock(&s->lock);
	struct staged *list = s->list;
	size_t count = s->count;

	mutex_unlock(&s->lock);
	if (!count)
		return 0;
	int r = flush_all(s, list, count);

	if (r == 0)
		r = rename_all(s, list, count);
	if (r < 0)
		return log_error_errno(r, "cannot put objects into the depot %s: %s%s",
			s->depot->path, log_strerror(r),
			r == -ENOSPC ? "; make room and publish again" : "");
	return 0;
}
