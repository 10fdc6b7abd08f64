/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is asked for ahead of who goes from package to package.
 */
#include "tests/fs/packages_scene.h"

#include "cache/base/threads/clock.h"
#include "cache/base/threads/epoch.h"
#include "cache/content/fetch/ahead.h"
#include "fs/session/onward_walks.h"

#include <errno.h>
#include <stdatomic.h>

static struct built_catalog
	*others[2]; /* another version of a package, and the root with it */
static struct onward_walks walks;
static atomic_bool is_ending;

static int make(void **state)
{
	atomic_store(&is_ending, false);
	(void)packages_make(state);
	walks = (struct onward_walks){.contents = contents, .is_ending = &is_ending};
	return 0;
}

static int drop(void **state)
{
	(void)packages_drop(state);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		built_free(others[i]);
		others[i] = NULL;
	}
	return 0;
}

static void go_on(const char *path)
{
	walks.view = view;
	onward_walks_go_on(&walks, path);
}

/* Somebody goes through a package, so long after the one before. */
static void come_after(int64_t ms, size_t i)
{
	char path[8];

	now_ns += ms * NS_PER_MS;
	clock_fake(now_ns);
	path_of(i, path);
	go_on(path);
}

static void come(size_t i)
{
	come_after(1, i);
}

/* Lets those come that are asked for, not before. So many were so far. */
static void expect_catalogs(unsigned int count)
{
	clock_fake(0); /* who waits goes by it */
	fake_source_release(fake);
	assert_true(fake_source_wait_idle(fake));
	fake_source_hold(fake);
	clock_fake(now_ns);
	assert_int_equal(fake_source_count_catalogs(fake), count);
}

static void two_packages_in_a_row_are_a_walk(void **state)
{
	(void)state;
	add_packages(16, 64 * KIB);
	show_all();
	come(0);
	assert_int_equal(asked_count, 0);
	come(1);
	/* four times as much as was gone through, in order */
	expect_asked(2, 10, 64 * KIB);
	for (size_t i = 0; i < asked_count; i++) {
		assert_true(digest_equal(&asked[i]->pack, &packages[i + 2]->pack));
		assert_int_equal(asked[i]->class, FETCH_READ_AHEAD);
	}
}

/* What was asked for and not come to yet counts. */
static void a_walk_goes_on_as_far_as_before(void **state)
{
	(void)state;
	add_packages(24, 64 * KIB);
	show_all();
	come(0);
	come(1);
	come(2);
	expect_asked(2, 15, 64 * KIB);
	come(3);
	expect_asked(2, 20, 64 * KIB);
}

static void packages_in_another_order_are_no_walk(void **state)
{
	static const size_t order[] = {9, 8, 7, 5, 2, 0};

	(void)state;
	add_packages(12, 64 * KIB);
	show_all();
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		come(order[i]);
	assert_int_equal(asked_count, 0);
}

static void it_is_no_more_than_what_comes_in_8_seconds(void **state)
{
	(void)state;
	add_packages(24, 64 * KIB);
	show_all();
	come(0);
	come_after(4000, 1);
	expect_asked(2, 4, 64 * KIB);
	/* by the pace of the last one, not of all of them */
	come_after(4000, 2);
	expect_asked(2, 5, 64 * KIB);
	come(3);
	expect_asked(2, 20, 64 * KIB);
	come_after(100000, 4);
	expect_asked(2, 20, 64 * KIB);
}

/* Out of a part of the tree that is here, into one that is not. */
static void what_was_here_says_nothing_of_the_line(void **state)
{
	(void)state;
	add_packages(3, 64 * KIB);
	for (size_t i = 3; i < 10; i++) /* all of it comes with the one before */
		packages[package_count++] = build_package(i, 64 * KIB, 3);
	add_packages(12, 64 * KIB);
	show_all();
	come(0);
	come_after(3999, 1);
	expect_asked(2, 11, 64 * KIB);
	come_after(3999, 2);
	expect_asked(2, 12, 64 * KIB);
	come_after(3999, 3);
	for (size_t i = 4; i < 10; i++)
		come(i);
	expect_asked(2, 12, 64 * KIB);
	/* by the pace of what was fetched last */
	come_after(3999, 10);
	expect_asked(2, 13, 64 * KIB);
	come_after(1999, 11);
	expect_asked(2, 16, 64 * KIB);
}

/* Who reads it fetches the rest of it himself. */
static void what_was_asked_for_in_part_tells_of_the_line_too(void **state)
{
	(void)state;
	add_packages(8, MIB);
	show_all();
	come(0);
	for (size_t i = 1; i < 4; i++) {
		come_after(31999, i);
		assert_int_equal(asked_bytes_of(packages[i + 1]), 256 * KIB);
	}
	/* which is faster now */
	come_after(3999, 4);
	assert_int_equal(asked_bytes_of(packages[5]), MIB);
	assert_int_equal(asked_bytes_of(packages[6]), MIB);
	assert_int_equal(asked_bytes_of(packages[7]), 0);
}

static void it_is_no_more_than_16_mib(void **state)
{
	(void)state;
	add_packages(10, 4 * MIB);
	show_all();
	come(0);
	come(1);
	expect_asked(2, 6, 4 * MIB);
	come(2);
	expect_asked(2, 7, 4 * MIB);
}

static void it_is_no_more_than_16_packages(void **state)
{
	(void)state;
	add_packages(2, MIB);
	add_packages(24, 4 * KIB);
	show_all();
	come(0);
	come(1);
	expect_asked(2, 18, 4 * KIB);
	come(2);
	expect_asked(2, 19, 4 * KIB);
}

/* Parallel readers, of whom the first are packages further. */
static void a_package_that_was_gone_through_begins_no_other_walk(void **state)
{
	(void)state;
	add_packages(20, 2 * MIB);
	show_all();
	for (size_t i = 0; i < 3; i++)
		come(i);
	expect_asked(2, 11, 2 * MIB);
	size_t before = asked_count;

	for (size_t i = 0; i < 3; i++)
		come(i);
	assert_int_equal(asked_count, before);
	/* the walk has not ended by it */
	come(3);
	assert_true(asked_count > before);
	/* much later it is somebody else */
	let_go();
	come_after(61000, 0);
	come(1);
	assert_true(asked_count > 0);
}

static void four_walks_go_on_side_by_side(void **state)
{
	(void)state;
	add_packages(40, 64 * KIB);
	show_all();
	for (size_t step = 0; step < 2; step++)
		for (size_t walk = 0; walk < 4; walk++)
			come(walk * 10 + step);
	for (size_t walk = 0; walk < 4; walk++)
		assert_true(asked_bytes_of(packages[walk * 10 + 2]) > 0);
}

static void of_five_the_one_who_came_first_is_forgotten(void **state)
{
	(void)state;
	add_packages(40, 64 * KIB);
	show_all();
	for (size_t walk = 0; walk < 5; walk++)
		come(walk * 8);
	come(1);
	assert_int_equal(asked_count, 0);
	come(33);
	assert_true(asked_bytes_of(packages[34]) > 0);
}

/* A later version has less of the same frames than the earlier one needs. */
static void beyond_a_package_of_which_not_all_is_asked_for_nothing_is(void **state)
{
	(void)state;
	add_packages(3, 64 * KIB);
	add_packages(1, MIB);
	add_packages(4, 64 * KIB);
	show_all();
	come(0);
	come(1);
	assert_int_equal(asked_bytes_of(packages[2]), 64 * KIB);
	assert_int_equal(asked_bytes_of(packages[3]), 512 * KIB);
	come(2);
	assert_int_equal(asked_count, 2);
	/* who reads in it asks for the rest of it himself */
	come(3);
	assert_int_equal(asked_bytes_of(packages[4]), 64 * KIB);
}

/* As many frames as a reader reads ahead, though they are small. */
static void so_it_is_beyond_a_package_of_very_many_frames(void **state)
{
	(void)state;
	add_packages(2, MIB);
	frame_bytes = KIB;
	add_packages(1, 200 * KIB);
	frame_bytes = FRAME_MAX_BYTES;
	add_packages(2, 64 * KIB);
	show_all();
	come(0);
	come(1);
	assert_int_equal(asked_bytes_of(packages[2]), AHEAD_FRAMES * KIB);
	assert_int_equal(asked_bytes_of(packages[3]), 0);
}

/* Nobody is seen going through them. */
static void packages_of_which_nothing_is_fetched_are_passed_over(void **state)
{
	(void)state;
	add_packages(1, 64 * KIB);
	add_packages(2, 0);
	add_packages(1, 64 * KIB);
	add_packages(1, 0);
	add_packages(1, 64 * KIB);
	add_packages(20, 0);
	add_packages(1, 64 * KIB);
	show_all();
	come(0);
	come(3);
	assert_int_equal(asked_count, 1);
	assert_int_equal(asked_bytes_of(packages[5]), 64 * KIB);
	/* but not any number of them */
	come(5);
	assert_int_equal(asked_count, 1);
}

static void who_takes_one_package_causes_no_other_catalog_to_be_fetched(void **state)
{
	(void)state;
	add_packages(8, 64 * KIB);
	show(1);
	come(0);
	expect_catalogs(0);
}

static void a_catalog_that_is_not_here_is_fetched_for_the_next_time(void **state)
{
	(void)state;
	add_packages(8, 64 * KIB);
	show(3);
	come(0);
	come(1);
	assert_int_equal(asked_bytes_of(packages[2]), 64 * KIB);
	assert_int_equal(asked_count, 1);
	expect_catalogs(1);
	come(2);
	assert_int_equal(asked_bytes_of(packages[3]), 64 * KIB);
	expect_catalogs(2);
}

static void while_the_background_is_held_nothing_is_fetched(void **state)
{
	(void)state;
	add_packages(8, 64 * KIB);
	show(4);
	is_held = true;
	come(0);
	come(1);
	come(2);
	come(3);
	assert_int_equal(asked_count, 0);
	expect_catalogs(0);
	/* it is the same walk still */
	is_held = false;
	built_keep(packages[4], catalogs);
	come(4);
	expect_catalogs(1);
}

static void when_the_session_ends_no_further_package_is_asked_for(void **state)
{
	(void)state;
	add_packages(8, 64 * KIB);
	show_all();
	come(0);
	atomic_store(&is_ending, true);
	come(1);
	expect_asked(2, 3, 64 * KIB);
}

/* Somebody who flips waits for those who look at the view. */
static struct {
	pthread_t thread;
	unsigned int asked;
	atomic_bool is_waiting;
	atomic_bool is_over;
	bool was_over; /* while packages were asked for still */
} flip;

static void *wait_for_readers(void *arg)
{
	(void)arg;
	atomic_store(&flip.is_waiting, true);
	epoch_wait();
	atomic_store(&flip.is_over, true);
	return NULL;
}

static void wait_at_the_first(void)
{
	if (flip.asked++ == 0) {
		assert_int_equal(
			pthread_create(&flip.thread, NULL, wait_for_readers, NULL), 0);
		while (!atomic_load(&flip.is_waiting))
			pause_ms(1);
		pause_ms(50); /* who enters from now on is not waited for */
	} else {
		/* it may have been slow to begin, and wait for the second one */
		for (int i = 0; i < 20000 && !atomic_load(&flip.is_over); i++)
			pause_ms(1);
		flip.was_over = atomic_load(&flip.is_over);
	}
}

static void a_flip_waits_for_one_package_not_for_all(void **state)
{
	(void)state;
	add_packages(8, 64 * KIB);
	show_all();
	come(0);
	on_asked = wait_at_the_first;
	come(1);
	on_asked = NULL;
	assert_true(flip.asked > 2);
	assert_int_equal(pthread_join(flip.thread, NULL), 0);
	assert_true(flip.was_over);
}

static void a_package_that_a_flip_has_changed_is_asked_for(void **state)
{
	struct view_changes *changes;

	(void)state;
	add_packages(12, 64 * KIB);
	show_all();
	come(0);
	come(1);
	expect_asked(2, 10, 64 * KIB);
	struct built_catalog *before = packages[3];

	others[0] = build_package(3, 64 * KIB, 100);
	packages[3] = others[0];
	others[1] = build_root();
	packages[3] = before;
	built_keep(others[0], catalogs);
	built_keep(others[1], catalogs);
	assert_int_equal(view_flip(view, &others[1]->ref, 2, &changes), 0);
	come(2);
	assert_int_equal(asked_bytes_of(others[0]), 64 * KIB);
	view_changes_free(changes);
}

static void who_goes_through_no_package_is_not_followed(void **state)
{
	(void)state;
	add_packages(4, 64 * KIB);
	show_all();
	go_on("");
	go_on("none");
	come(3); /* behind it is nothing */
	come(3);
	assert_int_equal(asked_count, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(two_packages_in_a_row_are_a_walk),
		T(a_walk_goes_on_as_far_as_before),
		T(packages_in_another_order_are_no_walk),
		T(it_is_no_more_than_what_comes_in_8_seconds),
		T(what_was_here_says_nothing_of_the_line),
		T(what_was_asked_for_in_part_tells_of_the_line_too),
		T(it_is_no_more_than_16_mib),
		T(it_is_no_more_than_16_packages),
		T(a_package_that_was_gone_through_begins_no_other_walk),
		T(four_walks_go_on_side_by_side),
		T(of_five_the_one_who_came_first_is_forgotten),
		T(beyond_a_package_of_which_not_all_is_asked_for_nothing_is),
		T(so_it_is_beyond_a_package_of_very_many_frames),
		T(packages_of_which_nothing_is_fetched_are_passed_over),
		T(who_takes_one_package_causes_no_other_catalog_to_be_fetched),
		T(a_catalog_that_is_not_here_is_fetched_for_the_next_time),
		T(while_the_background_is_held_nothing_is_fetched),
		T(when_the_session_ends_no_further_package_is_asked_for),
		T(a_flip_waits_for_one_package_not_for_all),
		T(a_package_that_a_flip_has_changed_is_asked_for),
		T(who_goes_through_no_package_is_not_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
