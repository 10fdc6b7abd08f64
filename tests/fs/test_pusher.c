/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Small files that the kernel has before it asks for them: this process mounts a view of built
 * catalogs, reads it, and counts what it was asked for. Root and /dev/fuse are needed; without them
 * the tests are skipped.
 */
#include "tests/fs/mounted_view.h"

#include "cache/base/log.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define FILES	    300
#define TEXT_SIZE   5000 /* more than one page */
#define FRAME_BYTES (64 * 1024)
#define LARGE_SIZE  (100 * 1024)
#define PATIENCE_NS (120 * NS_PER_SEC)
#define TRIES	    5

/* As fs/session/pusher.c has it. */
#define STORM_OPENS 8

/* What file `i` of a version holds: told apart by its first words, and of its full length. */
static void write_text(unsigned int version, unsigned int i, char out[TEXT_SIZE])
{
	int n = snprintf(out, TEXT_SIZE, "version %u of file %u.", version, i);

	memset(out + n, 'a' + (int)(i % 26), (size_t)(TEXT_SIZE - n));
}

static void name_of(unsigned int i, char out[64])
{
	(void)snprintf(out, 64, "pkg/many/file%03u", i);
}

/* pkg/many: small files; pkg/large: what is no small one. */
static struct built_catalog *version_of_tree(unsigned int version)
{
	static uint8_t large[LARGE_SIZE];
	struct catalog_builder *p = builder_new("pkg");
	struct catalog_builder *root = builder_new("");
	char text[TEXT_SIZE];
	char name[64];

	builder_frame_bytes(p, FRAME_BYTES);
	uint32_t many = builder_dir(p, BUILDER_TOP, "many");

	for (unsigned int i = 0; i < FILES; i++) {
		name_of(i, name);
		write_text(version, i, text);
		builder_file(
			p, many, name + strlen("pkg/many/"), text, TEXT_SIZE, TEXT_SIZE);
	}
	built_fill(large, sizeof(large), version);
	builder_file(p, many, "large", large, sizeof(large), 16 * 1024);
	builder_nested(root, BUILDER_TOP, "pkg", keep_built(p));
	return keep_built(root);
}

static bool wait_for_pushes(uint64_t count)
{
	int64_t until_ns = clock_mono_ns() + PATIENCE_NS;

	while (stats().pushes < count && clock_mono_ns() < until_ns)
		pause_ms(1);
	return stats().pushes >= count;
}

/* Until nothing has been pushed for a while. */
static void wait_until_settled(void)
{
	uint64_t before;

	do {
		before = stats().pushes;
		pause_ms(300);
	} while (stats().pushes != before);
}

static int open_file(unsigned int i)
{
	char name[64];
	char path[256];

	name_of(i, name);
	(void)snprintf(path, sizeof(path), "%s/%s", mountpoint, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool has_text(int fd, unsigned int version, unsigned int i)
{
	char wanted[TEXT_SIZE];
	char found[TEXT_SIZE + 1];

	write_text(version, i, wanted);
	return pread(fd, found, sizeof(found), 0) == TEXT_SIZE &&
	       memcmp(found, wanted, TEXT_SIZE) == 0;
}

static void expect_files(unsigned int version, unsigned int first, unsigned int end)
{
	for (unsigned int i = first; i < end; i++) {
		int fd = open_file(i);

		assert_true(fd >= 0);
		assert_true(has_text(fd, version, i));
		close(fd);
	}
}

static void list_files(void)
{
	assert_int_equal(count_names("pkg/many"), FILES + 3);
}

/* Others on this machine may have the kernel drop its caches in the middle: what counts READs is tried
 * again. */
static void try_some_times(bool (*scenario)(void))
{
	for (int i = 0; i < TRIES; i++) {
		mount_tree(version_of_tree(1));
		list_files();
		if (scenario())
			return;
		assert_int_equal(mounted_drop(NULL), 0);
		assert_int_equal(mounted_make(NULL), 0);
	}
	fail_msg("there are too many READs, each of %d times", TRIES);
}

static bool follows_a_storm(void)
{
	expect_files(1, 0, 20);
	assert_true(wait_for_pushes(200));
	wait_until_settled();
	uint64_t reads = stats().reads;

	expect_files(1, 20, 220);
	if (stats().reads != reads)
		return false;
	/* the rest has followed */
	expect_files(1, 220, FILES);
	uint64_t pushes = stats().pushes;

	assert_true(pushes <= FILES);
	if (stats().reads > reads + 20 || pushes < 260)
		return false;
	/* on disk, and in the kernel's memory: nothing of all this happens again */
	reads = stats().reads;
	expect_files(1, 0, FILES);
	assert_int_equal(stats().pushes, pushes);
	assert_true(stats().opens >= 2 * FILES);
	return stats().reads == reads;
}

static void who_goes_through_small_files_need_not_ask_for_the_next(void **state)
{
	(void)state;
	try_some_times(follows_a_storm);
}

static void who_reads_a_few_files_gets_those_alone(void **state)
{
	(void)state;
	mount_tree(version_of_tree(1));
	list_files();
	expect_files(1, 0, STORM_OPENS - 2);
	wait_until_settled();
	assert_int_equal(stats().pushes, 0);
	uint64_t reads = stats().reads;

	expect_files(1, STORM_OPENS - 2, STORM_OPENS - 1);
	assert_int_equal(stats().reads, reads + 1);
}

static bool leaves_out_what_is_open(void)
{
	int fds[100];

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = open_file(100 + i);
	expect_files(1, 0, 20);
	assert_true(wait_for_pushes(100));
	wait_until_settled();
	uint64_t reads = stats().reads;

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_true(has_text(fds[i], 1, 100 + i));
		close(fds[i]);
	}
	assert_true(stats().reads >= reads + ARRAY_SIZE(fds));
	reads = stats().reads;
	expect_files(1, 20, 100);
	return stats().reads == reads;
}

static void what_is_open_is_left_to_who_reads_it(void **state)
{
	(void)state;
	try_some_times(leaves_out_what_is_open);
}

static void names_that_the_kernel_was_not_given_are_left_out(void **state)
{
	(void)state;
	mount_tree(version_of_tree(1));
	expect_files(1, 0, 40);
	wait_until_settled();
	/* one or the other is caught between its LOOKUP and its OPEN */
	assert_true(stats().pushes < 40);
	/* once it has been given them, they are pushed */
	list_files();
	expect_files(1, 40, 60);
	assert_true(wait_for_pushes(100));
}

/* An entry above packages has a number of its own, which is made when it is first seen. */
static void what_lies_above_packages_is_not_looked_through(void **state)
{
	struct catalog_builder *b = builder_new("");
	struct view_usage usage;
	char text[TEXT_SIZE];
	char path[256];

	(void)state;
	builder_frame_bytes(b, FRAME_BYTES);
	for (unsigned int i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof(path), "file%03u", i);
		write_text(1, i, text);
		builder_file(b, BUILDER_TOP, path, text, TEXT_SIZE, TEXT_SIZE);
	}
	mount_tree(keep_built(b));
	for (unsigned int i = 0; i < 2 * STORM_OPENS; i++) {
		(void)snprintf(path, sizeof(path), "file%03u", i);
		int fd = open(at(path), O_RDONLY | O_CLOEXEC);

		assert_true(fd >= 0);
		assert_true(has_text(fd, 1, i));
		close(fd);
	}
	wait_until_settled();
	assert_int_equal(stats().pushes, 0);
	view_usage(view, &usage);
	assert_int_equal(usage.slots, 2 * STORM_OPENS + 1);
}

static void a_larger_file_is_read_as_ever(void **state)
{
	static char found[LARGE_SIZE];
	static uint8_t wanted[LARGE_SIZE];

	(void)state;
	mount_tree(version_of_tree(1));
	list_files();
	expect_files(1, 0, FILES);
	wait_until_settled();
	int fd = open(at("pkg/many/large"), O_RDONLY | O_CLOEXEC);
	uint64_t reads = stats().reads;

	built_fill(wanted, sizeof(wanted), 1);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, found, sizeof(found)), LARGE_SIZE);
	assert_memory_equal(found, wanted, LARGE_SIZE);
	assert_true(stats().reads > reads);
	close(fd);
}

static void without_open_requests_nothing_is_pushed(void **state)
{
	(void)state;
	open_mode = SESSION_OPEN_NONE;
	mount_tree(version_of_tree(1));
	list_files();
	expect_files(1, 0, FILES);
	wait_until_settled();
	assert_int_equal(stats().pushes, 0);
}

/* Also while it is being pushed: the node that was superseded keeps its bytes, the new one has its own. */
static void a_flip_leaves_each_file_its_own_bytes(void **state)
{
	int fds[FILES];

	(void)state;
	mount_tree(version_of_tree(1));
	for (unsigned int version = 1; version < 8; version++) {
		const struct built_catalog *next = version_of_tree(version + 1);

		list_files();
		expect_files(version, 0, 40);
		pause_ms(5); /* so that some are pushed, and some are being */
		for (unsigned int i = 0; i < FILES; i++) {
			fds[i] = open_file(i);
			assert_true(fds[i] >= 0);
		}
		flip(next);
		for (unsigned int i = 0; i < FILES; i++) {
			assert_true(has_text(fds[i], version, i));
			close(fds[i]);
		}
	}
	expect_files(8, 0, FILES);
	assert_true(stats().pushes > 0);
}

static atomic_bool must_end;
static atomic_uint wrong;
static atomic_uint versions_seen;

/* Whole passes over the files; each must be of one version that there was, whole. */
static void *read_along(void *arg)
{
	static const char start[] = "version ";
	char found[TEXT_SIZE + 2]; /* of one that is too long a byte more, and a NUL */
	char wanted[TEXT_SIZE];

	(void)arg;
	for (unsigned int i = 0; !atomic_load(&must_end); i = (i + 1) % FILES) {
		unsigned int version = 0;
		int fd = open_file(i);
		ssize_t n = fd < 0 ? -1 : pread(fd, found, TEXT_SIZE + 1, 0);

		found[n < 0 ? 0 : n] = '\0';
		if (n == TEXT_SIZE && strncmp(found, start, strlen(start)) == 0)
			version = (unsigned int)strtoul(found + strlen(start), NULL, 10);
		write_text(version, i, wanted);
		if (n != TEXT_SIZE || memcmp(found, wanted, TEXT_SIZE) != 0)
			atomic_fetch_add(&wrong, 1);
		atomic_fetch_or(&versions_seen, 1U << version % 32);
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

static void readers_see_whole_files_while_it_flips(void **state)
{
	pthread_t readers[3];

	(void)state;
	atomic_store(&must_end, false);
	atomic_store(&wrong, 0);
	atomic_store(&versions_seen, 0);
	mount_tree(version_of_tree(1));
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_along, NULL), 0);
	for (unsigned int version = 2; version < 20; version++) {
		const struct built_catalog *next = version_of_tree(version);

		list_files();
		pause_ms(20);
		flip(next);
	}
	list_files();
	pause_ms(50);
	atomic_store(&must_end, true);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_true(__builtin_popcount(atomic_load(&versions_seen)) > 3);
	assert_true(stats().pushes > 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, mounted_make, mounted_drop)
	const struct CMUnitTest tests[] = {
		T(who_goes_through_small_files_need_not_ask_for_the_next),
		T(who_reads_a_few_files_gets_those_alone),
		T(what_is_open_is_left_to_who_reads_it),
		T(names_that_the_kernel_was_not_given_are_left_out),
		T(what_lies_above_packages_is_not_looked_through),
		T(a_larger_file_is_read_as_ever),
		T(without_open_requests_nothing_is_pushed),
		T(a_flip_leaves_each_file_its_own_bytes),
		T(readers_see_whole_files_while_it_flips),
	};

	if (!mounted_is_possible())
		return 77;
	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
