/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/state/state_db.h"
#include "sync/jobs/job_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW (INT64_C(1772366400) * NS_PER_SEC) /* 2026-03-01T12:00:00Z */

static struct scratch scratch;
static char directory[128];
static struct state_db *db;

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	(void)snprintf(directory, sizeof(directory), "%s/log/share", scratch.path);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	clock_fake(NOW);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	clock_fake(0);
	state_db_close(db);
	scratch_remove(&scratch);
	return 0;
}

static void expect_file(const char *name, const char *text)
{
	AUTO_BUFFER struct buffer file = BUFFER_INIT(1 << 20);
	char path[128];

	(void)snprintf(path, sizeof(path), "log/share/%s", name);
	assert_int_equal(io_read_file(scratch.fd, path, &file), 0);
	assert_int_equal(buffer_add(&file, "", 1), 0);
	assert_string_equal((char *)file.data, text);
}

static struct run_record run_of(int64_t id)
{
	return (struct run_record){.id = id,
		.job = "nightly",
		.selection = "npm/*",
		.trigger = RUN_BY_SCHEDULE,
		.state = RUN_RUNNING,
		.is_full = true,
		.counts = {.added = 3, .bytes_fetched = 4096}};
}

static void a_run_tells_what_it_does(void **state)
{
	struct run_record run = run_of(7);
	struct job_log *log = job_log_open(directory, &run);

	(void)state;
	assert_non_null(log);
	job_log_progress(log, "fetching", 0, 0);
	for (uint64_t i = 0; i < 100; i++)
		job_log_progress(log, "fetching", i, 100);
	job_log_print(log, "skipped %s", "npm/a");
	job_log_progress(log, "fetching", 100, 100);
	job_log_progress(log, "checking", 60, 100);
	job_log_progress(log, "checking", 100, 100);
	run.state = RUN_FAILED;
	run.message = "no source answers";
	job_log_close(log, &run);
	expect_file("run-7.log",
		"2026-03-01T12:00:00Z run 7 (nightly, full, by schedule) begins\n"
		"2026-03-01T12:00:00Z packages: npm/*\n"
		"fetching  |...25%...50%...75%..\n"
		"2026-03-01T12:00:00Z skipped npm/a\n"
		"fetching  |...25%...50%...75%..100%|\n"
		"checking  |...25%...50%...75%..100%|\n"
		"2026-03-01T12:00:00Z run 7 is failed: 3 added, 0 changed, 0 removed, 0 "
		"kept as "
		"stale, 0 skipped, 4096 bytes fetched, 0 re-used: no source answers\n");
}

static void an_interrupted_run_goes_on_in_its_log(void **state)
{
	struct run_record run = run_of(7);

	(void)state;
	run.selection = "";
	job_log_close(job_log_open(directory, &run), &run);
	job_log_close(job_log_open(directory, &run), &run);
	expect_file("run-7.log",
		"2026-03-01T12:00:00Z run 7 (nightly, full, by schedule) begins\n"
		"2026-03-01T12:00:00Z run 7 stays running: 3 added, 0 changed, 0 "
		"removed, 0 kept "
		"as stale, 0 skipped, 4096 bytes fetched, 0 re-used\n"
		"2026-03-01T12:00:00Z run 7 (nightly, full, by schedule) begins\n"
		"2026-03-01T12:00:00Z run 7 stays running: 3 added, 0 changed, 0 "
		"removed, 0 kept "
		"as stale, 0 skipped, 4096 bytes fetched, 0 re-used\n");
}

/* Whoever may write to the directory could have put it there. */
static void a_pipe_in_place_of_a_log_holds_nobody_up(void **state)
{
	struct run_record run = run_of(8);
	char path[160];

	(void)state;
	job_log_close(job_log_open(directory, &run), &run);
	run = run_of(9);
	(void)snprintf(path, sizeof(path), "%s/run-9.log", directory);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(job_log_open(directory, &run));
	AUTO_CLOSE int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	assert_true(reader >= 0);
	assert_null(job_log_open(directory, &run));
	assert_int_equal(log_open(path), -EPERM);
}

static void without_a_directory_nothing_is_written(void **state)
{
	struct run_record run = run_of(7);
	struct job_log *log = job_log_open(NULL, &run);

	(void)state;
	assert_null(log);
	job_log_print(log, "x");
	job_log_progress(log, "fetching", 1, 2);
	job_log_close(log, &run);
	/* nor where it cannot be */
	scratch_write(&scratch, "log", "", 0);
	assert_null(job_log_open(directory, &run));
	job_log_tidy(directory, db, NOW);
	job_log_tidy(NULL, db, NOW);
	assert_false(scratch_has(&scratch, "log/share"));
}

static void what_history_forgot_goes_and_nothing_else(void **state)
{
	struct run_record run = run_of(0);
	int64_t id;

	(void)state;
	run.state = RUN_DONE;
	run.end_ns = NOW - STATE_KEEP_NS - 1;
	assert_int_equal(state_db_run_add(db, &run, &id), 0);
	run.end_ns = NOW;
	assert_int_equal(state_db_run_add(db, &run, &id), 0);
	assert_int_equal(id, 2);
	assert_int_equal(state_db_rotate(db, NOW), 0);
	run.id = 1;
	job_log_close(job_log_open(directory, &run), &run);
	run.id = 2;
	job_log_close(job_log_open(directory, &run), &run);
	scratch_write(&scratch, "log/share/run-3.log.gz", "x", 1);
	scratch_write(&scratch, "log/share/run-x.log", "x", 1);
	scratch_write(&scratch, "log/share/depotfs-old.log", "x", 1);
	scratch_write(&scratch, "log/share/depotfs-young.log", "x", 1);
	scratch_set_mtime(&scratch, "log/share/depotfs-old.log",
		NOW - STATE_KEEP_NS - 2 * NS_PER_SEC);
	scratch_set_mtime(&scratch, "log/share/depotfs-young.log", NOW - STATE_KEEP_NS);
	job_log_tidy(directory, db, NOW);
	assert_false(scratch_has(&scratch, "log/share/run-1.log"));
	assert_true(scratch_has(&scratch, "log/share/run-2.log"));
	assert_true(scratch_has(&scratch, "log/share/run-3.log.gz"));
	assert_true(scratch_has(&scratch, "log/share/run-x.log"));
	assert_false(scratch_has(&scratch, "log/share/depotfs-old.log"));
	assert_true(scratch_has(&scratch, "log/share/depotfs-young.log"));
}

static void a_history_that_was_lost_takes_no_logs_with_it(void **state)
{
	struct run_record run = run_of(0);
	int64_t id;

	(void)state;
	for (run.id = 1; run.id <= 3; run.id++)
		job_log_close(job_log_open(directory, &run), &run);
	scratch_set_mtime(
		&scratch, "log/share/run-3.log", NOW - STATE_KEEP_NS - 2 * NS_PER_SEC);
	job_log_tidy(directory, db, NOW);
	assert_int_equal(state_db_run_add(db, &run, &id), 0);
	job_log_tidy(directory, db, NOW);
	assert_true(scratch_has(&scratch, "log/share/run-1.log"));
	assert_true(scratch_has(&scratch, "log/share/run-2.log"));
	assert_false(scratch_has(&scratch, "log/share/run-3.log"));
}

static void a_name_begins_no_line_and_commands_no_terminal(void **state)
{
	static const char plain[] = "Z skipped npm/a?2026-03-01T12:00:00Z run 8 is "
				    "done?[31m\t??\xc3\xa6\n";
	struct run_record run = run_of(7);
	struct job_log *log = job_log_open(directory, &run);

	(void)state;
	job_log_print(log, "skipped %s",
		"npm/a\n2026-03-01T12:00:00Z run 8 is "
		"done\033[31m\t\xc2\x9b\xc3\xa6");
	job_log_close(log, &run);
	AUTO_BUFFER struct buffer file = BUFFER_INIT(1 << 20);

	assert_int_equal(io_read_file(scratch.fd, "log/share/run-7.log", &file), 0);
	assert_non_null(memmem(file.data, file.len, plain, sizeof(plain) - 1));
}

static void a_large_main_log_is_put_aside_and_a_new_one_begun(void **state)
{
	AUTO_FREE char *much = mem_calloc(1, JOB_LOG_MAIN_MAX + 1);

	(void)state;
	assert_non_null(much);
	assert_int_equal(job_log_begin(directory), 0);
	log_info("small");
	job_log_tidy(directory, db, NOW);
	assert_int_equal(scratch_count(&scratch, "log/share"), 1);
	scratch_write(&scratch, "log/share/depotfs.log", much, JOB_LOG_MAIN_MAX + 1);
	job_log_tidy(directory, db, NOW);
	log_info("after");
	assert_int_equal(scratch_count(&scratch, "log/share"), 2);
	assert_true(scratch_has(&scratch, "log/share/depotfs-2026-03-01T12:00:00Z.log"));
	AUTO_BUFFER struct buffer file = BUFFER_INIT(1000);

	assert_int_equal(io_read_file(scratch.fd, "log/share/depotfs.log", &file), 0);
	assert_non_null(memmem(file.data, file.len, "after\n", 6));
}

static void a_main_log_of_somebody_else_is_left_alone(void **state)
{
	AUTO_FREE char *much = mem_calloc(1, JOB_LOG_MAIN_MAX + 1);
	char other[128];

	(void)state;
	assert_non_null(much);
	assert_int_equal(job_log_begin(directory), 0);
	(void)snprintf(other, sizeof(other), "%s/other.log", scratch.path);
	assert_int_equal(log_open(other), 0);
	scratch_write(&scratch, "log/share/depotfs.log", much, JOB_LOG_MAIN_MAX + 1);
	job_log_tidy(directory, db, NOW);
	assert_int_equal(scratch_count(&scratch, "log/share"), 1);
}

static void a_directory_is_one_mirrors(void **state)
{
	char reason[TEXT_REASON_SIZE] = "";

	(void)state;
	assert_int_equal(job_log_claim(directory, "/srv/a", reason), 0);
	assert_int_equal(job_log_claim(directory, "/srv/a", reason), 0);
	assert_int_equal(job_log_claim(directory, "/srv/ab", reason), -EEXIST);
	assert_non_null(strstr(reason, "mirror on /srv/a:"));
	assert_int_equal(scratch_count(&scratch, "log/share"), 1);
	/* it stays so whatever is tidied */
	job_log_tidy(directory, db, NOW);
	assert_int_equal(job_log_claim(directory, "/srv/b", reason), -EEXIST);
	assert_int_equal(unlinkat(scratch.fd, "log/share/mirror", 0), 0);
	assert_int_equal(job_log_claim(directory, "/srv/b", reason), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_directory_is_one_mirrors, make, drop),
		cmocka_unit_test_setup_teardown(a_run_tells_what_it_does, make, drop),
		cmocka_unit_test_setup_teardown(
			an_interrupted_run_goes_on_in_its_log, make, drop),
		cmocka_unit_test_setup_teardown(
			without_a_directory_nothing_is_written, make, drop),
		cmocka_unit_test_setup_teardown(
			a_pipe_in_place_of_a_log_holds_nobody_up, make, drop),
		cmocka_unit_test_setup_teardown(
			what_history_forgot_goes_and_nothing_else, make, drop),
		cmocka_unit_test_setup_teardown(
			a_history_that_was_lost_takes_no_logs_with_it, make, drop),
		cmocka_unit_test_setup_teardown(
			a_name_begins_no_line_and_commands_no_terminal, make, drop),
		cmocka_unit_test_setup_teardown(
			a_large_main_log_is_put_aside_and_a_new_one_begun, make, drop),
		cmocka_unit_test_setup_teardown(
			a_main_log_of_somebody_else_is_left_alone, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
