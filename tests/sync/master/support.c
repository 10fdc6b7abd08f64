/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/master/support.h"
#include "tests/support/temporary.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "sync/master/commands.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

int bench_verb(int (*verb)(int, char **), ...)
{
	char *argv[16] = {0};
	int argc = 0;
	va_list args;

	va_start(args, verb);
	while (argc < 15 && (argv[argc] = va_arg(args, char *)))
		argc++;
	va_end(args);
	return verb(argc, argv);
}

void bench_begin(struct bench *b)
{
	assert_true(temporary_dir(b->dir, sizeof(b->dir), "master"));
	(void)snprintf(b->tree, sizeof(b->tree), "%s/tree", b->dir);
	(void)snprintf(b->depot, sizeof(b->depot), "%s/depot", b->dir);
	(void)snprintf(b->keys, sizeof(b->keys), "%s/keys", b->dir);
	(void)snprintf(b->key, sizeof(b->key), "%s/test.key", b->keys);
	assert_int_equal(mkdir(b->tree, 0755), 0);
	assert_int_equal(bench_verb(cmd_init, "init", b->depot, "--name", "test",
				 "--key-dir", b->keys, NULL),
		0);
}

void bench_end(struct bench *b)
{
	assert_int_equal(nftw(b->dir, remove_one, 64, FTW_DEPTH | FTW_PHYS), 0);
}

static void write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, data, len), 0);
	assert_int_equal(close(fd), 0);
}

void bench_write_text(const char *path, const char *text)
{
	write_file(path, text, strlen(text));
}

void bench_write(const struct bench *b, const char *name, const void *data, size_t len)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", b->tree, name);
	char *slash = strrchr(path, '/');

	*slash = '\0';
	assert_int_equal(io_mkdirs(path, 0755), 0);
	*slash = '/';
	write_file(path, data, len);
}

void bench_fill(const struct bench *b, const char *name, size_t len, uint64_t seed)
{
	AUTO_FREE uint64_t *data = mem_alloc(len + sizeof(uint64_t));

	assert_non_null(data);
	for (size_t i = 0; i <= len / sizeof(uint64_t); i++)
		data[i] = hash64(&i, sizeof(i), seed);
	bench_write(b, name, data, len);
}

void bench_settle(void)
{
	struct timespec t = {.tv_nsec = 60 * 1000 * 1000};

	(void)nanosleep(&t, NULL);
}

struct publish_options bench_options(const struct bench *b)
{
	return (struct publish_options){.depot = b->depot,
		.tree = b->tree,
		.channel = "stable",
		.level = 3,
		.key_dir = b->keys,
		.expires_days = 365,
		.threads = 2};
}

void bench_publish(const struct bench *b, struct publish_report *out)
{
	struct publish_options o = bench_options(b);

	assert_int_equal(publish(&o, out), 0);
}

size_t bench_faults(const struct bench *b)
{
	struct check_report report CLEANUP(check_report_release) = {0};

	assert_int_equal(check_depot(b->depot, NULL, true, 2, &report), 0);
	for (size_t i = 0; i < report.fault_count; i++)
		print_message("%s: %s\n", report.faults[i].object, report.faults[i].text);
	return report.fault_count;
}

struct catalog *bench_root(const struct bench *b)
{
	struct depot *depot;
	struct trust trust;
	struct revision revision;
	struct digest digest;
	struct catalog *catalog;
	uint64_t number;

	assert_int_equal(depot_open(b->depot, &depot), 0);
	assert_int_equal(depot_trust(depot, NULL, &trust), 0);
	assert_int_equal(depot_latest_number(depot, &trust, &number), 0);
	assert_int_equal(depot_revision(depot, &trust, number, &revision, &digest), 0);
	assert_int_equal(depot_catalog(depot, &revision.root, &catalog), 0);
	depot_close(depot);
	return catalog;
}

static size_t counted;

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)path;
	(void)st;
	(void)ftw;
	counted += kind == FTW_F;
	return 0;
}

size_t bench_count(const struct bench *b, const char *folder)
{
	char path[256];

	counted = 0;
	(void)snprintf(path, sizeof(path), "%s/%s", b->depot, folder);
	assert_int_equal(nftw(path, count_one, 64, FTW_PHYS), 0);
	return counted;
}

struct head bench_head(const struct bench *b, const char *channel)
{
	struct depot *depot;
	struct trust trust;
	struct head head;

	assert_int_equal(depot_open(b->depot, &depot), 0);
	assert_int_equal(depot_trust(depot, NULL, &trust), 0);
	assert_int_equal(depot_head(depot, &trust, channel, &head), 0);
	depot_close(depot);
	return head;
}
