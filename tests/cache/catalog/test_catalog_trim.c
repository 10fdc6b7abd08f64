/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/data/hash.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "cache/catalog/catalog_trim.h"
#include "tests/support/catalog_builder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CATALOGS    24
#define VALUE_SIZE  60000
#define PATIENCE_NS (120 * NS_PER_SEC)
#define NEVER	    SIZE_MAX /* so much is never mapped: the thread sleeps */

static struct scratch scratch;
static struct built_catalog *built;
static struct catalog *catalogs[CATALOGS];

/* Each about 3 MB, in a file of its own. */
static void open_catalogs(void)
{
	for (int i = 0; i < CATALOGS; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "c%d", i);
		scratch_write(&scratch, name, built->data, built->len);
		AUTO_CLOSE int fd = openat(scratch.fd, name, O_RDONLY | O_CLOEXEC);

		assert_int_equal(catalog_open_fd(fd, &catalogs[i], NULL), 0);
	}
}

static int make(void **state)
{
	static uint8_t value[VALUE_SIZE];
	struct catalog_builder *b = builder_new("");
	char name[16];

	(void)state;
	scratch_make(&scratch);
	for (unsigned int i = 0; i < 50; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		built_fill(value, sizeof(value), i);
		builder_xattr(b, builder_file(b, BUILDER_TOP, name, "", 0, 1), "user.x",
			value, sizeof(value));
	}
	built = builder_finish(b);
	open_catalogs();
	return 0;
}

static int drop(void **state)
{
	(void)state;
	built_free(built);
	scratch_remove(&scratch);
	return 0;
}

static void touch_all(void)
{
	for (int i = 0; i < CATALOGS; i++) {
		struct digest found;

		assert_int_equal(
			digest_of(catalogs[i]->header, catalogs[i]->map_bytes, &found),
			0);
		assert_true(digest_equal(&found, &built->ref.digest));
	}
}

static void close_all(void)
{
	for (int i = 0; i < CATALOGS; i++)
		catalog_close(catalogs[i]);
}

static size_t resident_bytes(void)
{
	char text[128];
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	(void)fclose(f);
	/* all, resident, and what of this is of files */
	char *at = text;
	unsigned long pages = 0;

	for (int i = 0; i < 3; i++)
		pages = strtoul(at, &at, 10);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void what_is_too_much_is_given_back_and_comes_back(void **state)
{
	struct catalog_trim *trim;
	size_t all = CATALOGS * built->len;

	(void)state;
	size_t before = resident_bytes();

	assert_true(before > all);
	/* without the catalogs, and half of them */
	size_t budget = before - all + all / 2;

	assert_int_equal(catalog_trim_start(budget, &trim), 0);
	assert_int_equal(catalog_trim_now(trim), 0);
	catalog_trim_stop(trim);
	assert_int_equal(catalog_trim_start(budget, &trim), 0);
	for (int i = 0; i < CATALOGS; i++)
		catalog_trim_add(trim, catalogs[i]);
	touch_all();
	size_t gone_through = catalog_trim_now(trim);

	assert_in_range(gone_through, 1, all - built->len);
	assert_true(resident_bytes() <= budget);
	assert_int_equal(catalog_trim_now(trim), 0);
	/* nothing is lost by it */
	touch_all();
	close_all();
	catalog_trim_stop(trim);
}

static bool looks(
	struct trim_rhythm *rhythm, int64_t from_s, int64_t to_s, int busy_percent)
{
	bool is_due = false;

	for (int64_t s = from_s + 5; s <= to_s; s += 5)
		if (trim_rhythm_is_due(rhythm, s * NS_PER_SEC,
			    rhythm->cpu_ns + 5 * NS_PER_SEC / 100 * busy_percent)) {
			assert_false(is_due);
			assert_int_equal(s, to_s);
			is_due = true;
		}
	return is_due;
}

static void it_waits_for_20_quiet_seconds(void **state)
{
	struct trim_rhythm rhythm = {.cpu_ns = 7};

	(void)state;
	assert_false(looks(&rhythm, 0, 15, 0));
	assert_false(looks(&rhythm, 15, 40, 50)); /* a walk */
	assert_false(looks(&rhythm, 40, 55, 0));
	assert_false(looks(&rhythm, 55, 60, 2)); /* few lookups */
	assert_true(looks(&rhythm, 60, 80, 1));
	assert_true(looks(&rhythm, 80, 100, 0));
}

static void one_that_is_never_quiet_trims_every_five_minutes(void **state)
{
	struct trim_rhythm rhythm = {.cpu_ns = 7};

	(void)state;
	assert_true(looks(&rhythm, 0, 300, 100));
	assert_false(looks(&rhythm, 300, 595, 100));
	assert_true(looks(&rhythm, 595, 600, 100));
}

/* In real time: this process has nothing to do but to look. */
static void the_thread_does_it_by_itself(void **state)
{
	struct catalog_trim *trim;
	size_t all = CATALOGS * built->len;
	size_t budget = all / 2;
	int64_t start_ns;

	(void)state;
	assert_int_equal(catalog_trim_start(budget, &trim), 0);
	for (int i = 0; i < CATALOGS; i++)
		catalog_trim_add(trim, catalogs[i]);
	start_ns = clock_mono_ns();
	touch_all();
	while (resident_bytes() > budget && clock_mono_ns() - start_ns < PATIENCE_NS)
		usleep(500 * 1000);
	assert_true(resident_bytes() <= budget);
	/* not at once: it was quiet for long enough first */
	assert_true(clock_mono_ns() - start_ns > 10 * NS_PER_SEC);
	close_all();
	catalog_trim_stop(trim);
}

static void what_is_little_is_left_alone(void **state)
{
	struct catalog_trim *trim;

	(void)state;
	assert_int_equal(catalog_trim_start(NEVER, &trim), 0);
	for (int i = 0; i < CATALOGS; i++)
		catalog_trim_add(trim, catalogs[i]);
	assert_int_equal(catalog_trim_now(trim), 0);
	close_all();
	assert_int_equal(catalog_trim_now(trim), 0);
	catalog_trim_stop(trim);
}

static void catalogs_may_outlive_it(void **state)
{
	struct catalog_trim *trim;

	(void)state;
	assert_int_equal(catalog_trim_start(NEVER, &trim), 0);
	for (int i = 0; i < CATALOGS; i++)
		catalog_trim_add(trim, catalogs[i]);
	/* not in the order in which they came */
	catalog_close(catalogs[3]);
	catalog_close(catalogs[0]);
	catalog_close(catalogs[CATALOGS - 1]);
	catalog_trim_stop(trim);
	for (int i = 1; i < CATALOGS - 1; i++)
		if (i != 3)
			catalog_close(catalogs[i]);
}

static atomic_bool is_over;

static void *trim_always(void *trim)
{
	while (!atomic_load(&is_over))
		(void)catalog_trim_now(trim);
	return NULL;
}

/* With a budget of nothing everything goes, all the time, while it is read and closed. */
static void readers_do_not_notice(void **state)
{
	struct catalog_trim *trim;
	pthread_t thread;

	(void)state;
	assert_int_equal(catalog_trim_start(0, &trim), 0);
	for (int i = 0; i < CATALOGS; i++)
		catalog_trim_add(trim, catalogs[i]);
	atomic_store(&is_over, false);
	assert_int_equal(thread_start(&thread, "trim", trim_always, trim), 0);
	touch_all();
	close_all();
	atomic_store(&is_over, true);
	pthread_join(thread, NULL);
	catalog_trim_stop(trim);
}

static void without_memory_it_does_not_start(void **state)
{
	struct catalog_trim *trim;

	(void)state;
	mem_fail_after(0);
	assert_int_equal(catalog_trim_start(1, &trim), -ENOMEM);
	mem_fail_after(-1);
	close_all();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(what_is_too_much_is_given_back_and_comes_back),
		cmocka_unit_test(it_waits_for_20_quiet_seconds),
		cmocka_unit_test(one_that_is_never_quiet_trims_every_five_minutes),
		T(the_thread_does_it_by_itself),
		T(what_is_little_is_left_alone),
		T(catalogs_may_outlive_it),
		T(readers_do_not_notice),
		T(without_memory_it_does_not_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
