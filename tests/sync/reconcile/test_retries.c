/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/threads/clock.h"
#include "sync/reconcile/retries.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>

static struct retries retries;

static int64_t fail_at(const char *job, int64_t at_sec)
{
	const struct run_record record = {
		.job = job, .selection = "npm/*", .is_full = true};

	return retries_add(&retries, &record, at_sec * NS_PER_SEC) / NS_PER_SEC;
}

static void what_fails_again_is_tried_later_and_later(void **state)
{
	static const int64_t waits[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
	struct run_record r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		assert_int_equal(fail_at("nightly", 1000), 1000 + waits[i]);
		assert_false(retries_take(&retries, (999 + waits[i]) * NS_PER_SEC, &r));
		assert_true(retries_take(&retries, (1000 + waits[i]) * NS_PER_SEC, &r));
		assert_string_equal(r.job, "nightly");
		assert_string_equal(r.selection, "npm/*");
		assert_true(r.is_full);
		retry_release(&r);
		/* once */
		assert_false(retries_take(&retries, INT64_MAX - 1, &r));
	}
	retries_release(&retries);
}

static void what_is_done_is_forgotten(void **state)
{
	(void)state;
	fail_at("a", 0);
	fail_at("b", 10);
	assert_int_equal(retries_next_ns(&retries), 60 * NS_PER_SEC);
	retries_forget(&retries, "a");
	retries_forget(&retries, "unknown");
	assert_int_equal(retries_next_ns(&retries), 70 * NS_PER_SEC);
	retries_forget(&retries, "b");
	assert_int_equal(retries_next_ns(&retries), RETRY_NEVER);
	/* and begins anew */
	assert_int_equal(fail_at("a", 0), 60);
	retries_release(&retries);
}

static void a_failed_run_tells_when_it_is_tried_again(void **state)
{
	struct run_record run = {.id = 7, .job = "a"};
	struct run_record taken;

	(void)state;
	assert_int_equal(retries_of(&retries, 7), 0);
	retries_add(&retries, &run, 0);
	assert_int_equal(retries_of(&retries, 7), 60 * NS_PER_SEC);
	run.id = 8;
	assert_true(retries_take(&retries, 60 * NS_PER_SEC, &taken));
	retry_release(&taken);
	assert_int_equal(retries_of(&retries, 7), 0);
	retries_add(&retries, &run, 60 * NS_PER_SEC);
	assert_int_equal(retries_of(&retries, 7), 0);
	assert_int_equal(retries_of(&retries, 8), 180 * NS_PER_SEC);
	retries_release(&retries);
}

static void there_is_an_end_to_what_is_remembered(void **state)
{
	char job[16];

	(void)state;
	for (int i = 0; i < RETRIES_MAX; i++) {
		(void)snprintf(job, sizeof(job), "job-%d", i);
		assert_int_equal(fail_at(job, 0), 60);
	}
	assert_int_equal(fail_at("one more", 0), 0);
	retries_release(&retries);
}

static void a_fleet_does_not_come_back_together(void **state)
{
	static struct retries other;
	const struct run_record r = {.job = "nightly"};

	(void)state;
	retries.seed = 1;
	other.seed = 2;
	for (int i = 0; i < 8; i++) {
		int64_t a_ns = retries_after(&retries, "nightly", 0);

		assert_int_equal(retries_add(&retries, &r, 0), a_ns);
		assert_true(retries_add(&other, &r, 0) != a_ns);
		assert_in_range(a_ns, 60 * NS_PER_SEC, 4500 * NS_PER_SEC);
	}
	retries_release(&other);
	retries_release(&retries);
	retries.seed = 0;
}

static void a_clock_put_back_delays_none_for_long(void **state)
{
	struct run_record r;

	(void)state;
	fail_at("a", 1000000);
	assert_false(retries_take(&retries, 10 * NS_PER_SEC, &r));
	assert_in_range(retries_next_ns(&retries), 10 * NS_PER_SEC, 3700 * NS_PER_SEC);
	assert_true(retries_take(&retries, 3700 * NS_PER_SEC, &r));
	retry_release(&r);
	retries_release(&retries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fails_again_is_tried_later_and_later),
		cmocka_unit_test(what_is_done_is_forgotten),
		cmocka_unit_test(a_failed_run_tells_when_it_is_tried_again),
		cmocka_unit_test(there_is_an_end_to_what_is_remembered),
		cmocka_unit_test(a_fleet_does_not_come_back_together),
		cmocka_unit_test(a_clock_put_back_delays_none_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
