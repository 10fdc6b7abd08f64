/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A publisher killed at any moment leaves a sound depot, and the next one goes on. */
#include "cache/base/threads/clock.h"
#include "tests/sync/master/support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS	  40
#define FILES	  150
#define FILE_SIZE 20000

static void change_some(const struct bench *b, int round)
{
	for (int i = 0; i < FILES; i++) {
		char name[48];

		(void)snprintf(name, sizeof(name), "p%d/f%d", i % 5, i);
		if (round == 0 || (i + round) % 7 == 0)
			bench_fill(
				b, name, FILE_SIZE, (uint64_t)i * 1000 + (uint64_t)round);
	}
}

static void publish_in_child(
	const struct bench *b, int64_t kill_after_ns, bool *out_was_killed)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		struct publish_options o = bench_options(b);
		struct publish_report report;
		int null = open("/dev/null", O_WRONLY);

		(void)dup2(null, 2);
		_exit(publish(&o, &report) == 0 ? 0 : 1);
	}
	struct timespec t = {.tv_nsec = kill_after_ns};

	(void)nanosleep(&t, NULL);
	(void)kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	*out_was_killed = WIFSIGNALED(status);
	if (!*out_was_killed)
		assert_int_equal(WEXITSTATUS(status), 0);
}

static void kill_at_any_moment_leaves_a_sound_depot(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	int killed = 0;

	bench_begin(&b);
	change_some(&b, 0);
	bench_settle();
	int64_t start_ns = clock_mono_ns();

	bench_publish(&b, &report);
	int64_t whole_ns = clock_mono_ns() - start_ns;

	for (int round = 1; round <= ROUNDS; round++) {
		bool was_killed;

		change_some(&b, round);
		bench_settle();
		/* spread over a little more than a publish's whole time */
		publish_in_child(&b, whole_ns * round * 5 / (ROUNDS * 4), &was_killed);
		killed += was_killed;
		assert_int_equal(bench_faults(&b), 0);
	}
	print_message("killed %d of %d\n", killed, ROUNDS);
	assert_true(killed > ROUNDS / 10);
	bench_publish(&b, &report);
	assert_int_equal(bench_faults(&b), 0);
	assert_int_equal(bench_count(&b, ".publisher/tmp"), 0);
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_NOTHING);
	bench_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kill_at_any_moment_leaves_a_sound_depot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
