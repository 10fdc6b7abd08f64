/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Flips under a real kernel: this process reads a mounted view while it is given another tree.
 */
#include "tests/fs/mounted_view.h"

#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "cache/content/content_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define PATIENCE_NS (120 * NS_PER_SEC)
#define NAMES	    3000
#define READERS	    3

static void what_changed_is_shown_and_what_did_not_costs_no_request(void **state)
{
	struct stat before;
	struct stat after;

	(void)state;
	mount_tree(tree("first", NULL, 0));
	expect("busy/lib/text", "first");
	expect("calm/lib/text", "always the same");
	assert_int_equal(count_names("calm/lib"), 3);
	assert_int_equal(stat(at("calm/lib/text"), &before), 0);
	flip(tree("second", NULL, 0));
	/* the name, and the listing that it is in; whose times are asked for again, once */
	assert_int_equal(stats().notifications, 2);
	assert_int_equal(stat(at(""), &after), 0);
	struct session_stats s = stats();

	expect("calm/lib/text", "always the same");
	assert_int_equal(count_names("calm/lib"), 3);
	assert_int_equal(stat(at("calm/lib/text"), &after), 0);
	assert_true(before.st_ino == after.st_ino);
	struct session_stats t = stats();

	assert_int_equal(t.lookups, s.lookups);
	assert_int_equal(t.getattrs, s.getattrs);
	assert_int_equal(t.reads, s.reads);
	assert_int_equal(t.listings, s.listings);
	expect("busy/lib/text", "second");
	assert_true(stats().lookups > t.lookups);
}

/* Two small files in one frame: what comes with the one waits in memory for who reads the other. */
static struct built_catalog *tree_of_pairs(const char *text)
{
	struct catalog_builder *b = builder_new("pair");
	struct catalog_builder *r = builder_new("");

	builder_file(b, BUILDER_TOP, "one", text, strlen(text), 64);
	builder_file(b, BUILDER_TOP, "other", "other", 5, 64);
	builder_nested(r, BUILDER_TOP, "pair", keep_built(b));
	return keep_built(r);
}

static void memory_lets_go_of_what_no_view_shows_any_more(void **state)
{
	(void)state;
	/* contents stay open for a while when nobody says that he closes them */
	open_mode = SESSION_OPEN_NONE;
	mount_tree(tree_of_pairs("first"));
	open_mode = SESSION_OPEN_PASSTHROUGH;
	expect("pair/one", "first");
	assert_true(fake_source_wait_idle(fake));
	assert_true(contents->recent.bytes > 0);
	flip(tree_of_pairs("second"));
	for (int i = 0; i < 1200 && contents->recent.bytes > 0; i++)
		(void)usleep(100000);
	assert_int_equal(contents->recent.bytes, 0);
	expect("pair/one", "second");
	expect("pair/other", "other");
}

static void whoever_is_inside_keeps_what_he_has(void **state)
{
	char text[64];

	(void)state;
	mount_tree(tree("first", NULL, 0));
	int fd = open(at("busy/lib/text"), O_RDONLY | O_CLOEXEC);
	int unread = open(at("busy/lib/text"), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0 && unread >= 0);
	const char *map = mmap(NULL, 5, PROT_READ, MAP_SHARED, fd, 0);

	assert_true(map != MAP_FAILED);
	assert_int_equal(chdir(at("busy")), 0);
	for (int i = 0; i < 20; i++)
		flip(tree(i % 2 ? "second" : "third", NULL, 0));
	assert_int_equal(pread(fd, text, sizeof(text), 0), 5);
	assert_memory_equal(text, "first", 5);
	assert_int_equal(pread(unread, text, sizeof(text), 0), 5);
	assert_memory_equal(map, "first", 5);
	/* never looked up there before */
	DIR *dir = opendir("lib");

	assert_non_null(dir);
	closedir(dir);
	assert_int_equal(read_at(AT_FDCWD, "lib/text", text, sizeof(text)), 0);
	assert_string_equal(text, "first");
	expect("busy/lib/text", "second");
	munmap((void *)(uintptr_t)map, 5);
	close(fd);
	close(unread);
}

/* Waits until nothing was told for much longer than it takes to tell again. */
static uint64_t notifications_settled(void)
{
	uint64_t before;
	uint64_t now = stats().notifications;

	do {
		before = now;
		pause_ms(2000);
		now = stats().notifications;
	} while (now != before);
	return now;
}

static void what_is_superseded_is_told_once_and_again_if_it_was_looked_up(void **state)
{
	struct view_usage usage;
	char text[64];

	(void)state;
	mount_tree(tree("first", NULL, 0));
	expect("busy/lib/text", "first");
	assert_int_equal(chdir(at("busy")), 0);
	/* the read-ahead has looked at this package then, and looks at no other in its place */
	(void)notifications_settled();
	flip(tree("second", NULL, 0));
	/* the name, and the listing that it is in; below the old package lib and text */
	uint64_t told = notifications_settled();

	assert_int_equal(told, 2 + 2);
	/* nobody looks: the kernel knows of the first package alone, and was told */
	flip(tree("third", NULL, 0));
	assert_int_equal(notifications_settled(), told);
	flip(tree("second", NULL, 0));
	assert_int_equal(notifications_settled(), told);
	assert_int_equal(read_at(AT_FDCWD, "lib/text", text, sizeof(text)), 0);
	assert_string_equal(text, "first");
	flip(tree("third", NULL, 0));
	assert_int_equal(notifications_settled(), told + 2);
	/* and so the kernel keeps nothing of it when the last one leaves */
	assert_int_equal(chdir("/"), 0);
	for (int i = 0; i < 2400; i++) {
		view_usage(view, &usage);
		if (!usage.superseded)
			break;
		pause_ms(50);
	}
	assert_int_equal(usage.superseded, 0);
}

static void names_that_were_missing_appear_and_others_vanish(void **state)
{
	static const char *const old[] = {"goes", "stays"};
	static const char *const new[] = {"comes", "stays"};
	struct stat st;

	(void)state;
	mount_tree(tree("first", old, 2));
	assert_int_equal(count_names("plain"), 4);
	assert_int_equal(stat(at("plain/comes"), &st), -1);
	assert_int_equal(stat(at("plain/goes"), &st), 0);
	assert_int_equal(stat(at("plain/stays"), &st), 0);
	uint64_t lookups = stats().lookups;

	assert_int_equal(stat(at("plain/comes"), &st), -1);
	assert_int_equal(stats().lookups, lookups);
	flip(tree("first", new, 2));
	assert_int_equal(stat(at("plain/comes"), &st), 0);
	assert_int_equal(stat(at("plain/goes"), &st), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(stat(at("plain/stays"), &st), 0);
	DIR *dir = opendir(at("plain"));
	bool seen = false;

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));) {
		assert_string_not_equal(d->d_name, "goes");
		seen = seen || strcmp(d->d_name, "comes") == 0;
	}
	closedir(dir);
	assert_true(seen);
}

/* Names n0000 .. n2999; without the one at `hole`. */
static struct built_catalog *numbered(unsigned int hole)
{
	static char texts[NAMES][8];
	static const char *names[NAMES];
	size_t count = 0;

	for (unsigned int i = 0; i < NAMES; i++) {
		if (i == hole)
			continue;
		(void)snprintf(texts[i], sizeof(texts[i]), "n%04u", i % 10000);
		names[count++] = texts[i];
	}
	return tree("first", names, count);
}

static void a_listing_that_a_flip_overtakes_misses_and_repeats_nothing(void **state)
{
	static unsigned char seen[NAMES];

	(void)state;
	memset(seen, 0, sizeof(seen));
	mount_tree(numbered(1));
	const struct built_catalog *next = numbered(0);
	DIR *dir = opendir(at("plain"));
	unsigned int count = 0;

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));) {
		if (d->d_name[0] == 'n')
			seen[strtoul(d->d_name + 1, NULL, 10)]++;
		/* n0000 goes, n0001 comes: every index is the same, and every name one off */
		if (++count == 100)
			flip(next);
	}
	closedir(dir);
	for (unsigned int i = 2; i < NAMES; i++)
		assert_int_equal(seen[i], 1);
}

/* As find(1) and ls(1) do it: all names first, then their attributes. */
static void a_long_listing_brings_all_attributes_with_it(void **state)
{
	struct dirent **names;
	struct stat st;

	(void)state;
	mount_tree(numbered(0));
	struct session_stats s = stats();
	int count = scandir(at("plain"), &names, NULL, NULL);

	assert_true(count > NAMES);
	assert_true(stats().listings > s.listings + 1);
	uint64_t lookups = stats().lookups;

	for (int i = 0; i < count; i++) {
		char path[16];

		(void)snprintf(path, sizeof(path), "plain/%.8s", names[i]->d_name);
		assert_int_equal(stat(at(path), &st), 0);
		free(names[i]);
	}
	free(names);
	assert_int_equal(stats().lookups, lookups);
}

static void without_open_requests_it_is_the_same(void **state)
{
	char text[64];

	(void)state;
	open_mode = SESSION_OPEN_NONE;
	mount_tree(tree("first", NULL, 0));
	open_mode = SESSION_OPEN_PASSTHROUGH;
	expect("calm/lib/text", "always the same");
	int fd = open(at("busy/lib/text"), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	flip(tree("second", NULL, 0));
	assert_int_equal(pread(fd, text, sizeof(text), 0), 5);
	assert_memory_equal(text, "first", 5);
	expect("busy/lib/text", "second");
	close(fd);
}

static void before_anybody_asks_a_flip_tells_nobody(void **state)
{
	(void)state;
	open_session(tree("first", NULL, 0));
	flip(tree("second", NULL, 0));
	mount_open_session();
	expect("busy/lib/text", "second");
}

static atomic_bool must_end;
static atomic_uint wrong;
static atomic_uint rounds;

/* As `ls -l`: the kernel asks for the attributes with the names. */
static void list_along(const char *path)
{
	DIR *dir = opendir(path);
	struct stat st;

	if (!dir) {
		atomic_fetch_add(&wrong, 1);
		return;
	}
	for (const struct dirent *d; (d = readdir(dir));)
		(void)fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW);
	closedir(dir);
}

static void *read_along(void *arg)
{
	char text[64];

	(void)arg;
	while (!atomic_load(&must_end)) {
		char path[160];

		(void)snprintf(path, sizeof(path), "%s/busy/lib/text", mountpoint);
		int r = read_at(AT_FDCWD, path, text, sizeof(text));

		if (r < 0 || (strcmp(text, "first") != 0 && strcmp(text, "second!") != 0))
			atomic_fetch_add(&wrong, 1);
		(void)snprintf(path, sizeof(path), "%s/calm/lib/text", mountpoint);
		r = read_at(AT_FDCWD, path, text, sizeof(text));
		if (r < 0 || strcmp(text, "always the same") != 0)
			atomic_fetch_add(&wrong, 1);
		(void)snprintf(path, sizeof(path), "%s/plain", mountpoint);
		list_along(path);
		list_along(mountpoint);
		atomic_fetch_add(&rounds, 1);
	}
	return NULL;
}

static void readers_see_one_tree_or_the_other_and_what_is_old_goes(void **state)
{
	static const char *const one[] = {"a", "b", "d"};
	static const char *const other[] = {"b", "c", "d"};
	const struct built_catalog *roots[2];
	pthread_t readers[READERS];
	struct view_usage usage;

	(void)state;
	roots[0] = tree("first", one, 3);
	roots[1] = tree("second!", other, 3);
	mount_tree(roots[0]);
	atomic_store(&must_end, false);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_along, NULL), 0);
	/* an even number; more of them where the readers have not come to it yet */
	for (unsigned int i = 0; i < 200 || (i < 20000 && !atomic_load(&rounds)); i += 2)
		for (size_t k = 0; k < 2; k++)
			if (session_flip(session, &roots[1 - k]->ref, ++revision) < 0)
				atomic_fetch_add(&wrong, 1);
	atomic_store(&must_end, true);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_true(atomic_load(&rounds) > 0);
	expect("busy/lib/text", "first");
	/* the kernel forgets what it was told to, and then it is gone */
	int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;

	do {
		pause_ms(20);
		view_usage(view, &usage);
	} while (usage.superseded && clock_mono_ns() < deadline_ns);
	assert_int_equal(usage.superseded, 0);
	assert_true(usage.slots < 12);
	assert_true(usage.catalogs <= 3);
}

static void *flip_along(void *arg)
{
	const struct built_catalog *const *roots = arg;

	for (unsigned int i = 0; !atomic_load(&must_end); i++) {
		int r = session_flip(session, &roots[i % 2]->ref, i);

		if (r < 0 && r != -ECANCELED)
			atomic_fetch_add(&wrong, 1);
		if (r == -ECANCELED)
			break;
	}
	return NULL;
}

static void a_session_ends_in_the_middle_of_flips(void **state)
{
	const struct built_catalog *roots[2];
	pthread_t flipper;
	pthread_t reader;

	(void)state;
	roots[0] = tree("second!", NULL, 0);
	roots[1] = tree("first", NULL, 0);
	for (int i = 0; i < 5; i++) {
		mount_tree(roots[1]);
		atomic_store(&must_end, false);
		atomic_store(&rounds, 0);
		assert_int_equal(pthread_create(&flipper, NULL, flip_along, roots), 0);
		assert_int_equal(pthread_create(&reader, NULL, read_along, NULL), 0);
		while (atomic_load(&rounds) < 20)
			pause_ms(1);
		/* the mountpoint goes under the reader: he may well be disappointed */
		unsigned int before = atomic_load(&wrong);

		assert_int_equal(umount2(mountpoint, MNT_DETACH), 0);
		atomic_store(&must_end, true);
		pthread_join(reader, NULL);
		int r = mounted_wait();

		pthread_join(flipper, NULL);
		assert_int_equal(r, 0);
		assert_int_equal(mounted_stop(), 0);
		view_free(view);
		view = NULL;
		assert_int_equal(before, 0);
		atomic_store(&wrong, 0);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, mounted_make, mounted_drop)
	const struct CMUnitTest tests[] = {
		T(what_changed_is_shown_and_what_did_not_costs_no_request),
		T(memory_lets_go_of_what_no_view_shows_any_more),
		T(whoever_is_inside_keeps_what_he_has),
		T(what_is_superseded_is_told_once_and_again_if_it_was_looked_up),
		T(names_that_were_missing_appear_and_others_vanish),
		T(a_listing_that_a_flip_overtakes_misses_and_repeats_nothing),
		T(a_long_listing_brings_all_attributes_with_it),
		T(without_open_requests_it_is_the_same),
		T(before_anybody_asks_a_flip_tells_nobody),
		T(readers_see_one_tree_or_the_other_and_what_is_old_goes),
		T(a_session_ends_in_the_middle_of_flips),
	};

	if (!mounted_is_possible())
		return 77;
	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
