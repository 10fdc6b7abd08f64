/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/content/content_scene.h"

#include "cache/base/log.h"
#include "cache/base/threads/clock.h"

#include <errno.h>

static void a_full_disk_costs_the_cache_and_not_the_reader(void **state)
{
	struct content_file *file = open_named("big");

	(void)state;
	limit_file_bytes(4);
	expect_small(4);
	expect_big(file, 0, 5000);
	expect_big(file, BIG_SIZE - 70000, 70000);
	assert_int_equal(state_of("small4"), CONTENT_REMOTE);
	assert_int_equal(state_of("big"), CONTENT_REMOTE);
	limit_file_bytes(RLIM_INFINITY);
	/* there is room again: the same open file is cached from here on */
	expect_big(file, 0, BIG_SIZE);
	/* the small ones are served from memory until nobody has wanted them for some seconds */
	clock_fake(clock_mono_ns() + 60 * NS_PER_SEC);
	int64_t next_ns = content_expire_recent(store);

	clock_fake(0);
	assert_int_equal(next_ns, 0);
	expect_small(4);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(state_of("small4"), CONTENT_CACHED);
	content_close(file);
}

/* More pieces in one read than fit a few loose ones: they must not drive each other out. */
static void one_large_read_on_a_full_disk_ends(void **state)
{
	struct content_file *file = open_named("big");

	(void)state;
	limit_file_bytes(4);
	expect_big(file, 0, BIG_SIZE);
	limit_file_bytes(RLIM_INFINITY);
	content_close(file);
}

static void a_disk_that_fills_in_the_middle_of_a_file_serves_all_of_it(void **state)
{
	struct content_file *file = open_named("big");

	(void)state;
	expect_big(file, 0, 1000);
	assert_true(fake_source_wait_idle(fake));
	limit_file_bytes(4);
	for (size_t at = 0; at < BIG_SIZE; at += 200000)
		expect_big(file, at, BIG_SIZE - at < 200000 ? BIG_SIZE - at : 200000);
	limit_file_bytes(RLIM_INFINITY);
	content_close(file);
}

static void what_a_full_cache_did_not_take_lands_once_there_is_room(void **state)
{
	struct content_file *file = open_named("big");
	struct usage *usage = object_store_usage(objects);

	(void)state;
	atomic_store(&usage->is_closed, true);
	expect_big(file, 0, BIG_SIZE);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(state_of("big"), CONTENT_REMOTE);
	unsigned int asked = fake_source_count_frames(fake);

	atomic_store(&usage->is_closed, false);
	/* while it is open and read, without being fetched again */
	for (int i = 0; i < 2400 && state_of("big") != CONTENT_CACHED; i++) {
		expect_big(file, 0, BIG_SIZE);
		(void)nanosleep(&(struct timespec){.tv_nsec = 50 * NS_PER_MS}, NULL);
	}
	assert_int_equal(state_of("big"), CONTENT_CACHED);
	assert_int_equal(fake_source_count_frames(fake), asked);
	content_close(file);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(a_full_disk_costs_the_cache_and_not_the_reader),
		T(one_large_read_on_a_full_disk_ends),
		T(a_disk_that_fills_in_the_middle_of_a_file_serves_all_of_it),
		T(what_a_full_cache_did_not_take_lands_once_there_is_room),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
