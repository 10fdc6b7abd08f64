/* SPDX-License-Identifier: GPL-3.0-or-later */
/* When the processors are kept awake, and how much of the time; a plain file stands for the device. */
#include "tests/cache/support.h"

#include "fs/session/wakeful.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TICK_NS (4 * NS_PER_MS)

static struct scratch scratch;
static char device[PATH_MAX];
static struct wakeful w;
static int64_t now_ns;

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	(void)snprintf(device, sizeof(device), "%s/device", scratch.path);
	scratch_write(&scratch, "device", "", 0);
	now_ns = NS_PER_SEC;
	wakeful_init(&w, device);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	wakeful_release(&w);
	scratch_remove(&scratch);
	return 0;
}

static void pass(int64_t span_ns, bool is_hurried)
{
	for (int64_t end_ns = now_ns + span_ns; now_ns < end_ns; now_ns += TICK_NS)
		wakeful_note(&w, is_hurried, now_ns);
}

static bool is_awake(void)
{
	return w.fd >= 0;
}

static void they_are_awake_while_somebody_is_in_a_hurry(void **state)
{
	int32_t most_us = -1;

	(void)state;
	pass(NS_PER_SEC, false);
	assert_false(is_awake());
	pass(TICK_NS, true);
	assert_true(is_awake());
	int fd = open(device, O_RDONLY | O_CLOEXEC);

	assert_int_equal(read(fd, &most_us, sizeof(most_us)), sizeof(most_us));
	close(fd);
	assert_int_equal(most_us, w.most_us);
	pass(WAKEFUL_LINGER_NS, false);
	assert_true(is_awake());
	pass(2 * TICK_NS, false);
	assert_false(is_awake());
}

static int32_t most_us_by(const char *text)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/cpuinfo", scratch.path);
	scratch_write(&scratch, "cpuinfo", text, strlen(text));
	return wakeful_most_us(path);
}

static void only_processors_of_a_virtual_machine_may_not_sleep_at_all(void **state)
{
	(void)state;
	assert_int_equal(most_us_by("processor: 0\nflags: fpu hypervisor lahf_lm\n"), 0);
	assert_int_equal(most_us_by("processor: 0\nflags: fpu lahf_lm\n"), 2);
	assert_int_equal(wakeful_most_us("/nonexistent/cpuinfo"), 2);
}

static void a_burst_ends_and_another_one_must_be_earned(void **state)
{
	(void)state;
	pass(WAKEFUL_BURST_NS - TICK_NS, true);
	assert_true(is_awake());
	pass(3 * TICK_NS, true);
	assert_false(is_awake());
	pass((WAKEFUL_AGAIN_NS - NS_PER_SEC / 10) * WAKEFUL_SHARE, true);
	assert_false(is_awake());
	pass(2 * NS_PER_SEC, true);
	assert_true(is_awake());
}

static void of_a_busy_day_they_are_awake_a_tenth(void **state)
{
	int64_t awake_ns = 0;
	int64_t day_ns = 24 * 3600 * NS_PER_SEC;

	(void)state;
	for (int64_t end_ns = now_ns + day_ns; now_ns < end_ns; now_ns += 10 * TICK_NS) {
		wakeful_note(&w, true, now_ns);
		awake_ns += is_awake() ? 10 * TICK_NS : 0;
	}
	assert_in_range(awake_ns, day_ns / WAKEFUL_SHARE * 8 / 10,
		day_ns / WAKEFUL_SHARE + WAKEFUL_BURST_NS);
}

static void where_it_cannot_be_had_nobody_asks_again(void **state)
{
	(void)state;
	wakeful_release(&w);
	wakeful_init(&w, "/nonexistent/device");
	pass(NS_PER_SEC, true);
	assert_false(is_awake());
	assert_null(w.device);
	wakeful_init(&w, NULL);
	pass(NS_PER_SEC, true);
	assert_false(is_awake());
}

#define T(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(they_are_awake_while_somebody_is_in_a_hurry),
		T(only_processors_of_a_virtual_machine_may_not_sleep_at_all),
		T(a_burst_ends_and_another_one_must_be_earned),
		T(of_a_busy_day_they_are_awake_a_tenth),
		T(where_it_cannot_be_had_nobody_asks_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
