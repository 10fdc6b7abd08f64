/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/temporary.h"

#include "cache/base/threads/clock.h"
#include "sync/jobs/hook.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char directory[TEMPORARY_SIZE];
static char script[64];
static char said[4096];

static void note_line(void *arg, const char *line)
{
	size_t len = strlen(said);

	(void)arg;
	(void)snprintf(said + len, sizeof(said) - len, "%s|", line);
}

static void write_script(const char *text)
{
	FILE *f = fopen(script, "w");

	assert_non_null(f);
	(void)fprintf(f, "#!/bin/sh\n%s\n", text);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(script, 0700), 0);
	said[0] = '\0';
}

static int run(const char *text, int64_t timeout_ns, const atomic_bool *cancelled,
	char words[HOOK_WORDS_SIZE])
{
	static const char *const env[] = {
		"DEPOTFS_JOB=nightly", "DEPOTFS_MODE=full", NULL};
	struct hook hook = {.path = script,
		.env = env,
		.input = "npm/a\nnpm/b\n",
		.input_len = 12,
		.timeout_ns = timeout_ns,
		.is_cancelled = cancelled,
		.on_line = note_line};

	write_script(text);
	return hook_run(&hook, words);
}

static void a_hook_gets_its_environment_and_input(void **state)
{
	char words[HOOK_WORDS_SIZE];

	(void)state;
	assert_int_equal(run("echo $DEPOTFS_JOB $DEPOTFS_MODE; cat; pwd; env | wc -l >&2",
				 60 * NS_PER_SEC, NULL, words),
		0);
	/* PATH, LANG, the two, and what sh adds: PWD, and maybe OLDPWD */
	assert_memory_equal(said, "nightly full|npm/a|npm/b|/|", 27);
	assert_string_equal(words, "");
}

static void a_status_or_a_signal_is_a_failure(void **state)
{
	char words[HOOK_WORDS_SIZE];

	(void)state;
	assert_int_equal(run("exit 3", 60 * NS_PER_SEC, NULL, words), -ECHILD);
	assert_non_null(strstr(words, "ended with status 3"));
	assert_int_equal(run("kill -9 $$", 60 * NS_PER_SEC, NULL, words), -ECHILD);
	assert_non_null(strstr(words, "signal 9"));
}

static void what_cannot_be_run_says_so(void **state)
{
	struct hook hook = {.path = "/nonexistent/hook", .timeout_ns = NS_PER_SEC};
	char words[HOOK_WORDS_SIZE];

	(void)state;
	assert_int_equal(hook_run(&hook, words), -ENOENT);
	assert_non_null(strstr(words, "/nonexistent/hook cannot be run"));
}

static void a_hook_that_hangs_is_ended_with_its_children(void **state)
{
	char words[HOOK_WORDS_SIZE];
	char pid_file[96];
	int pid = 0;

	(void)state;
	(void)snprintf(pid_file, sizeof(pid_file), "%s/pid", directory);
	char text[256];

	(void)snprintf(text, sizeof(text), "sleep 100 & echo $! > %s; wait", pid_file);
	int64_t start_ns = clock_mono_ns();

	assert_int_equal(run(text, 3 * NS_PER_SEC, NULL, words), -ETIMEDOUT);
	assert_true(clock_mono_ns() - start_ns < 50 * NS_PER_SEC);
	FILE *f = fopen(pid_file, "r");

	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	pid = (int)strtol(text, NULL, 10);
	assert_true(pid > 0);
	(void)fclose(f);
	(void)unlink(pid_file);
	/* killed; somebody else reaps it */
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	for (int i = 0; i < 1200 && stat(path, &st) == 0; i++)
		usleep(50000);
	assert_true(stat(path, &st) < 0);
}

static void a_cancelled_job_ends_its_hook(void **state)
{
	static atomic_bool cancelled = true;
	char words[HOOK_WORDS_SIZE];

	(void)state;
	assert_int_equal(run("sleep 60", 60 * NS_PER_SEC, &cancelled, words), -ECANCELED);
	assert_non_null(strstr(words, "cancelled"));
}

static void the_last_words_of_a_hook_are_not_lost(void **state)
{
	char words[HOOK_WORDS_SIZE];

	(void)state;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(
			run("printf 'no line feed'", 60 * NS_PER_SEC, NULL, words), 0);
		assert_string_equal(said, "no line feed|");
	}
}

static size_t heard;
static bool has_heard_of_more;

static void count_line(void *arg, const char *line)
{
	(void)arg;
	heard += strlen(line);
	has_heard_of_more |= strstr(line, "left out") != NULL;
}

static void a_hook_that_never_stops_talking_fills_no_disk(void **state)
{
	struct hook hook = {
		.path = script, .timeout_ns = 60 * NS_PER_SEC, .on_line = count_line};
	char words[HOOK_WORDS_SIZE];

	(void)state;
	write_script("yes | head -c 3000000");
	assert_int_equal(hook_run(&hook, words), 0);
	assert_true(has_heard_of_more);
	assert_in_range(heard, HOOK_OUTPUT_MAX / 2 - 1000, HOOK_OUTPUT_MAX + 100);
}

/* In a session of its own it is not the hook's group's any more. */
static void what_a_hook_leaves_behind_does_not_hold_it_up(void **state)
{
	char words[HOOK_WORDS_SIZE];
	int64_t start_ns = clock_mono_ns();

	(void)state;
	assert_int_equal(run("setsid timeout 120 yes >&1 2>/dev/null & sleep 0.2",
				 110 * NS_PER_SEC, NULL, words),
		0);
	assert_true(clock_mono_ns() - start_ns < 100 * NS_PER_SEC);
}

static void what_others_may_write_is_not_run(void **state)
{
	struct hook hook = {
		.path = script, .timeout_ns = 60 * NS_PER_SEC, .on_line = note_line};
	char words[HOOK_WORDS_SIZE];

	(void)state;
	write_script("echo run");
	assert_int_equal(chmod(script, 0722), 0);
	assert_int_equal(hook_run(&hook, words), -EPERM);
	assert_non_null(strstr(words, "others"));
	assert_string_equal(said, "");
}

static int set_up(void **state)
{
	(void)state;
	if (!temporary_dir(directory, sizeof(directory), "hook"))
		return -1;
	(void)snprintf(script, sizeof(script), "%s/hook", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)unlink(script);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hook_gets_its_environment_and_input),
		cmocka_unit_test(a_status_or_a_signal_is_a_failure),
		cmocka_unit_test(what_cannot_be_run_says_so),
		cmocka_unit_test(a_hook_that_hangs_is_ended_with_its_children),
		cmocka_unit_test(a_cancelled_job_ends_its_hook),
		cmocka_unit_test(the_last_words_of_a_hook_are_not_lost),
		cmocka_unit_test(a_hook_that_never_stops_talking_fills_no_disk),
		cmocka_unit_test(what_a_hook_leaves_behind_does_not_hold_it_up),
		cmocka_unit_test(what_others_may_write_is_not_run),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
