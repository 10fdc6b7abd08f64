/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What becomes of sources that are refused: what is counted, what is said, who is asked instead. */
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "tests/support/temporary.h"
#include "tests/sync/mirror/follow_scene.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void a_poll_tells_what_was_refused_and_goes_on_with_what_it_has(void **state)
{
	(void)state;
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	begin(depot.url);
	put_head(ID, 6, 9, 0, 1);
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(poll_once(), FOLLOWER_REFUSED);
		assert_int_equal(result.refusals.forged, i);
		assert_int_equal(result.error, -EKEYREJECTED);
		assert_non_null(strstr(result.reason, "forged"));
		assert_int_equal(result.head.sequence, 5);
	}
	put_head(ID, 4, 9, 0, 0);
	assert_int_equal(poll_once(), FOLLOWER_REFUSED);
	assert_int_equal(result.refusals.rollback, 1);
	assert_int_equal(result.refusals.forged, 3);
	put_head(ID, 7, 9, 0, 0);
	assert_int_equal(poll_once(), FOLLOWER_CHANGED);
	assert_string_equal(result.reason, "");
	finish();
}

static unsigned int count_logged(const char *text)
{
	AUTO_BUFFER struct buffer log = BUFFER_INIT(64 * 1024);
	unsigned int count = 0;

	assert_int_equal(io_read_file(cache_fd, "log", &log), 0);
	assert_int_equal(buffer_add(&log, "", 1), 0);
	for (const char *at = (char *)log.data; (at = strstr(at, text)); at++)
		count++;
	return count;
}

static void a_head_that_goes_back_and_forth_is_told_of_once(void **state)
{
	char log[128];

	(void)state;
	(void)snprintf(log, sizeof(log), "%s/log", cache.dir);
	assert_int_equal(log_open(log), 0);
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 50, 3, 0, 0);
	begin(depot.url);
	for (uint64_t i = 0; i < 6; i++) {
		put_head(ID, 49 + i % 2, 3, 0, 0);
		(void)poll_once();
	}
	assert_int_equal(result.refusals.rollback, 3);
	assert_int_equal(count_logged("rollback"), 1);
	/* after an hour of peace it is news */
	clock_fake(clock_mono_ns() + 3601 * NS_PER_SEC);
	assert_int_equal(poll_once(), FOLLOWER_UNCHANGED);
	put_head(ID, 49, 3, 0, 0);
	assert_int_equal(poll_once(), FOLLOWER_REFUSED);
	clock_fake(0);
	assert_int_equal(count_logged("rollback"), 2);
	/* of ever new ones as many lines as of failures: five, and one each ten seconds */
	for (uint64_t i = 20; i < 40; i++) {
		put_head(ID, i, 3, 0, 0);
		assert_int_equal(poll_once(), FOLLOWER_REFUSED);
	}
	assert_in_range(count_logged("rollback"), 5, 7);
	finish();
}

/* It answers well and quickly, with a head that is signed, and never a newer one. */
static void a_source_that_is_stuck_is_not_believed_for_ever(void **state)
{
	struct server stuck;
	struct depot old = {0};
	char urls[256];
	char command[256];
	int polls = 0;

	(void)state;
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	assert_true(temporary_dir(old.dir, sizeof(old.dir), "old"));
	(void)snprintf(command, sizeof(command), "cp -a %s/trust %s/channel %s",
		depot.dir, depot.dir, old.dir);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): the test's own */
	server_start(&stuck, old.dir, "ok", NULL, NULL);
	(void)snprintf(urls, sizeof(urls), "%s,%s", stuck.url, depot.url);
	begin(urls);
	put_head(ID, 6, 4, 0, 0);
	while (poll_once() == FOLLOWER_UNCHANGED)
		assert_true(++polls < 40);
	assert_int_equal(result.outcome, FOLLOWER_CHANGED);
	assert_int_equal(result.head.sequence, 6);
	/* from now on it is known to be behind, and the other one is asked as well */
	for (polls = 0; polls < 20; polls++)
		assert_int_equal(poll_once(), FOLLOWER_UNCHANGED);
	assert_true(result.refusals.rollback > 0);
	finish();
	server_stop(&stuck);
	depot_remove(&old);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, clean)
	const struct CMUnitTest tests[] = {
		T(a_poll_tells_what_was_refused_and_goes_on_with_what_it_has),
		T(a_head_that_goes_back_and_forth_is_told_of_once),
		T(a_source_that_is_stuck_is_not_believed_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
