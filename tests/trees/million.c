/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * million: the tree of million_shape.h on disk.
 *
 *   million DIR [--packages 1000] [--files 1000] [--size 10240]
 *
 * --size is that of ten-kib.bin. The tree is the same every time. A package is built
 * under a temporary name, so a run that was stopped can be started again and goes on.
 */
#include "tests/trees/million_shape.h"
#include "tests/trees/plant.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS	  2
#define NO_FILE	  99999
#define MAX_COUNT 100000
#define TEXT_LINE 30 /* what the format below makes */

struct builder {
	struct million_shape shape;
	int top;
	atomic_uint next_package;
	atomic_int failure; /* the first -errno; the others stop at it */
};

static int make_dir(int parent, const char *name)
{
	int fd;

	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(parent, name, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int close_dated(int fd, unsigned package, unsigned file, int r)
{
	struct timespec mtime = {million_mtime(package, file), package * 1000L + 1};
	struct timespec times[2] = {mtime, mtime};

	if (r == 0 && futimens(fd, times) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

static int open_new(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : fd;
}

/* Text that no other file has, of exactly the size the shape says. */
static int make_text_file(int dir, unsigned package, unsigned file)
{
	char name[MILLION_NAME_SIZE];
	char text[256];
	size_t size = million_file_bytes(package, file);
	int fd, r = 0;

	million_file_name(name, file);
	fd = open_new(dir, name);
	if (fd < 0)
		return fd;
	memset(text, '\n', sizeof(text));
	for (size_t used = 0; used < size; used += TEXT_LINE)
		(void)snprintf(text + used, sizeof(text) - used,
			"%04u/%05u line %4zu of text.\n", package, file, used);
	if (size > 0 && write(fd, text, size) < 0)
		r = -errno;
	return close_dated(fd, package, file, r);
}

static int make_ten_kib_file(const struct builder *b, int dir, unsigned package)
{
	struct plant_segment segment = {PLANT_RANDOM, package, b->shape.ten_bytes};
	int fd = open_new(dir, MILLION_TEN_KIB);

	if (fd < 0)
		return fd;
	return close_dated(fd, package, NO_FILE, plant_write(fd, &segment, 0));
}

static int make_big_file(int dir, unsigned package)
{
	struct plant_segment segment = {PLANT_TEXT, package, 4096};
	int fd = open_new(dir, MILLION_BIG);
	int r;

	if (fd < 0)
		return fd;
	r = ftruncate(fd, (off_t)million_big_bytes(package)) < 0 ? -errno : 0;
	if (r == 0)
		r = plant_write(fd, &segment, 0);
	return close_dated(fd, package, NO_FILE, r);
}

static int fill_dir(const struct builder *b, int parent, unsigned package, unsigned dir)
{
	char name[MILLION_NAME_SIZE];
	int fd, r = 0;

	million_dir_name(name, dir);
	fd = make_dir(parent, name);
	if (fd < 0)
		return fd;
	for (unsigned file = million_first(&b->shape, dir);
		file < million_first(&b->shape, dir + 1) && r == 0; file++)
		r = make_text_file(fd, package, file);
	return close_dated(fd, package, NO_FILE, r);
}

static int fill_package(const struct builder *b, int fd, unsigned package)
{
	int r = make_ten_kib_file(b, fd, package);

	if (r == 0)
		r = make_big_file(fd, package);
	for (unsigned dir = 0; dir < MILLION_DIRS && r == 0; dir++)
		r = fill_dir(b, fd, package, dir);
	return close_dated(fd, package, NO_FILE, r);
}

static int build_package(const struct builder *b, unsigned package)
{
	char name[MILLION_NAME_SIZE];
	char temporary[MILLION_NAME_SIZE + 8];
	int fd, r;

	million_package_name(name, package);
	if (faccessat(b->top, name, F_OK, 0) == 0)
		return 0;
	(void)snprintf(temporary, sizeof(temporary), ".new-%s", name);
	fd = make_dir(b->top, temporary);
	if (fd < 0)
		return fd;
	r = fill_package(b, fd, package);
	if (r == 0 && renameat(b->top, temporary, b->top, name) < 0)
		r = -errno;
	return r;
}

static void *build_packages(void *data)
{
	struct builder *b = data;
	int none = 0;
	unsigned package;

	while (atomic_load(&b->failure) == 0 &&
		(package = atomic_fetch_add(&b->next_package, 1)) < b->shape.packages) {
		int r = build_package(b, package);

		if (r < 0)
			(void)atomic_compare_exchange_strong(&b->failure, &none, r);
	}
	return NULL;
}

static int build(struct builder *b, const char *path)
{
	pthread_t threads[THREADS];
	unsigned started = 0;
	int root, r;

	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	root = open(path, O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	b->top = make_dir(root, MILLION_TOP);
	if (b->top < 0) {
		(void)close(root);
		return b->top;
	}
	while (started < THREADS &&
		pthread_create(&threads[started], NULL, build_packages, b) == 0)
		started++;
	for (unsigned i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	r = started ? atomic_load(&b->failure) : -EAGAIN;
	r = close_dated(b->top, 0, NO_FILE, r);
	return close_dated(root, 0, NO_FILE, r);
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

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"packages", required_argument, NULL, 'p'},
		{"files", required_argument, NULL, 'f'},
		{"size", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
	struct builder b = {.shape = MILLION_SHAPE_DEFAULT};
	unsigned size = 0;
	int c, r = 0;

	while (r == 0 && (c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (c == 'p')
			r = parse_count(optarg, 1, &b.shape.packages);
		else if (c == 'f')
			r = parse_count(optarg, 2, &b.shape.files);
		else if (c == 's')
			r = parse_count(optarg, 1, &size);
		else
			r = -EINVAL;
	}
	if (r < 0 || optind + 1 != argc) {
		(void)fputs(
			"usage: million DIR [--packages N] [--files N] [--size BYTES]\n",
			stderr);
		return 2;
	}
	if (size)
		b.shape.ten_bytes = size;
	(void)umask(0);
	r = build(&b, argv[optind]);
	if (r < 0) {
		(void)fprintf(stderr, "million: %s: %s\n", argv[optind], strerror(-r));
		return 1;
	}
	return 0;
}
