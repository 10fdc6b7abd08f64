/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"
#include "tests/support/temporary.h"

#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PATIENCE (120 * NS_PER_SEC)

void scratch_make(struct scratch *s)
{
	assert_true(temporary_dir(s->path, sizeof(s->path), "cache"));
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(s->fd >= 0);
}

static int remove_one(
	const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

void scratch_remove(struct scratch *s)
{
	close(s->fd);
	assert_int_equal(nftw(s->path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void scratch_write(
	const struct scratch *s, const char *path, const void *data, size_t len)
{
	int fd = openat(s->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, data, len), 0);
	assert_int_equal(close(fd), 0);
}

bool scratch_has(const struct scratch *s, const char *path)
{
	return faccessat(s->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void scratch_set_mtime(const struct scratch *s, const char *path, int64_t mtime_ns)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT},
		{.tv_sec = mtime_ns / NS_PER_SEC, .tv_nsec = mtime_ns % NS_PER_SEC}};

	assert_int_equal(utimensat(s->fd, path, t, 0), 0);
}

unsigned int scratch_count(const struct scratch *s, const char *path)
{
	int fd = openat(s->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned int count = 0;

	assert_true(fd >= 0);
	DIR *dir = fdopendir(fd);

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));)
		count += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
	closedir(dir);
	return count;
}

static void note_wake(struct waiter *waiter, int error)
{
	struct test_waiter *w = (struct test_waiter *)waiter;

	mutex_lock(&w->lock);
	w->wakes++;
	w->error = error;
	condition_broadcast(&w->changed);
	mutex_unlock(&w->lock);
}

void test_waiter_init(struct test_waiter *w)
{
	*w = (struct test_waiter){.waiter.wake = note_wake};
	mutex_init(&w->lock);
	condition_init(&w->changed);
}

void test_waiter_release(struct test_waiter *w)
{
	condition_release(&w->changed);
	mutex_release(&w->lock);
}

int test_waiter_wait(struct test_waiter *w)
{
	int64_t deadline_ns = clock_mono_ns() + PATIENCE;
	int r = 0;

	mutex_lock(&w->lock);
	while (!w->wakes && r == 0)
		r = condition_wait_until(&w->changed, &w->lock, deadline_ns);
	unsigned int wakes = w->wakes;
	int error = w->error;

	mutex_unlock(&w->lock);
	assert_true(wakes > 0);
	return error;
}

unsigned int test_waiter_wakes(struct test_waiter *w)
{
	mutex_lock(&w->lock);
	unsigned int wakes = w->wakes;

	mutex_unlock(&w->lock);
	return wakes;
}

void test_waiters_end(struct test_waiter *w, size_t count, struct fake_source *fake)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(test_waiter_wait(&w[i]), 0);
	assert_true(fake_source_wait_idle(fake));
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(test_waiter_wakes(&w[i]), 1);
		test_waiter_release(&w[i]);
	}
}

void pause_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS};

	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

void built_keep(const struct built_catalog *built, struct catalog_store *store)
{
	const struct catalog_header *h = (const void *)built->data;
	struct catalog *c;

	if (h->flags & CATALOG_COMPOSED) {
		assert_int_equal(
			catalog_store_put_composed(store, &built->ref, built->data), 0);
		return;
	}
	assert_int_equal(catalog_store_put(store, &built->ref, built->data, &c), 0);
	catalog_close(c);
}

unsigned int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

void limit_file_bytes(rlim_t bytes)
{
	struct rlimit limit;

	/* what the kernel would kill with */
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}
