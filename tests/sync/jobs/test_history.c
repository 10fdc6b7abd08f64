/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/jobs/verb_support.h"

#include "cache/base/cli.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/state/run_records.h"
#include "sync/jobs/records/commands.h"
#include "sync/jobs/records/history.h"

#include <stdio.h>
#include <string.h>

#define NOW (INT64_C(1772366400) * NS_PER_SEC) /* 2026-03-01T12:00:00Z */

static struct scratch scratch;
static struct state_db *db;
static struct control_verbs verbs;

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	verbs = history_verbs(db);
	verb_daemon_start(&scratch, &verbs);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	verb_daemon_stop();
	state_db_close(db);
	scratch_remove(&scratch);
	return 0;
}

static int64_t add_run(int64_t start_ns)
{
	struct run_record run = {.job = "nightly",
		.selection = "npm/*\ndeb/*",
		.prefetch = "cached",
		.trigger = RUN_BY_SCHEDULE,
		.state = RUN_DONE,
		.is_full = true,
		.queued_ns = start_ns - NS_PER_SEC,
		.start_ns = start_ns,
		.end_ns = start_ns + NS_PER_SEC,
		.revision_before = 4,
		.revision_after = 5,
		.counts = {.bytes_fetched = 3 << 20,
			.added = 1,
			.removed = 2,
			.skipped = 1}};
	int64_t id;

	assert_int_equal(state_db_run_add(db, &run, &id), 0);
	return id;
}

static int history(const char *a, const char *b, const char *c, const char *d)
{
	const char *const more[] = {a, b, c, d, NULL};

	return verb_run(cmd_history, "history", more);
}

static void runs_are_told_newest_first(void **state)
{
	(void)state;
	for (int i = 0; i < 25; i++)
		add_run(NOW + i * NS_PER_SEC);
	assert_int_equal(history(NULL, NULL, NULL, NULL), EXIT_DONE);
	assert_non_null(strstr(verb_output,
		"\n    25  2026-03-01 12:00:24  done       full       "
		"      nightly             "
		"4-5        1        0        2    3.0 MiB  \n"));
	assert_non_null(strstr(verb_output, "\n     6  "));
	assert_null(strstr(verb_output, "\n     5  "));
	assert_int_equal(history("--limit", "3", "--json", NULL), EXIT_DONE);
	AUTO_JSON cJSON *answer_json = cJSON_Parse(verb_output);
	const cJSON *runs = cJSON_GetObjectItemCaseSensitive(answer_json, "runs");

	assert_int_equal(cJSON_GetArraySize(runs), 3);
	assert_int_equal((int)control_number(cJSON_GetArrayItem(runs, 0), "run", 0), 25);
}

static void options_that_are_none_are_refused(void **state)
{
	(void)state;
	assert_int_equal(history("--nonsense", NULL, NULL, NULL), EXIT_USAGE);
	assert_int_equal(history("--limit", "few", NULL, NULL), EXIT_USAGE);
	assert_int_equal(history("--limit", NULL, NULL, NULL), EXIT_USAGE);
	assert_int_equal(history("--help", NULL, NULL, NULL), EXIT_DONE);
	assert_non_null(strstr(verb_output, "usage: depotfs history"));
	assert_int_equal(history("--nonsense", "--help", NULL, NULL), EXIT_USAGE);
}

static void texts_that_are_no_utf8_are_told_as_valid_json(void **state)
{
	const struct run_record run = {.job = "j\xff",
		.selection = "npm/\xe9*\nok",
		.prefetch = "p/\xc3",
		.message = "no package matches 'npm/\xe9*'",
		.state = RUN_FAILED};
	int64_t id;

	(void)state;
	assert_int_equal(state_db_run_add(db, &run, &id), 0);
	assert_int_equal(history("--json", NULL, NULL, NULL), EXIT_DONE);
	for (const char *c = verb_output; *c; c++)
		assert_true((unsigned char)*c < 0x80 ||
			    strncmp(c, "\xef\xbf\xbd", 3) == 0 ||
			    strncmp(c - 1, "\xef\xbf\xbd", 3) == 0 ||
			    strncmp(c - 2, "\xef\xbf\xbd", 3) == 0);
	AUTO_JSON cJSON *told = cJSON_Parse(verb_output);
	const cJSON *first =
		cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(told, "runs"), 0);
	const cJSON *globs = cJSON_GetObjectItemCaseSensitive(first, "packages");

	assert_string_equal(control_text(first, "job", ""), "j\xef\xbf\xbd");
	assert_int_equal(cJSON_GetArraySize(globs), 2);
	assert_string_equal(
		cJSON_GetArrayItem(globs, 0)->valuestring, "npm/\xef\xbf\xbd*");
}

static void a_run_is_told_with_each_path_and_reason(void **state)
{
	static const struct change_record changes[] = {
		{.path = "npm/a\nb",
			.what = CHANGE_ADDED,
			.after = {.is_set = true, .bytes = 9}},
		{.path = "npm/\xff\xc3\xa5", .what = CHANGE_REMOVED},
	};
	static const struct skipped_record skipped = {"npm/c", "no source has it"};
	int64_t id = add_run(NOW);
	char run[32];

	(void)state;
	(void)snprintf(run, sizeof(run), "%lld", (long long)id);
	assert_int_equal(state_db_changes_add(db, id, changes, 2), 0);
	assert_int_equal(state_db_skipped_add(db, id, &skipped, 1), 0);
	assert_int_equal(history("--run", run, NULL, NULL), EXIT_DONE);
	assert_non_null(
		strstr(verb_output, "run              1, nightly, full, by schedule\n"));
	assert_non_null(strstr(verb_output, "packages         deb/*\n"));
	assert_non_null(strstr(verb_output, "skipped   npm/c: no source has it\n"));
	assert_null(strstr(verb_output, "npm/a"));
	assert_int_equal(history("--run", run, "--changes", NULL), EXIT_DONE);
	assert_non_null(strstr(verb_output, "added     npm/a\\x0ab\n"));
	assert_non_null(strstr(verb_output, "removed   npm/\\xff\xc3\xa5\n"));
	assert_int_equal(history("--run", run, "--changes", "--json"), EXIT_DONE);
	AUTO_JSON cJSON *told = cJSON_Parse(verb_output);
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(told, "changes");
	const cJSON *removed = cJSON_GetArrayItem(list, 1);

	assert_int_equal(cJSON_GetArraySize(list), 2);
	assert_string_equal(
		control_text(cJSON_GetArrayItem(list, 0), "path", ""), "npm/a\nb");
	assert_int_equal(
		(int)control_number(cJSON_GetObjectItemCaseSensitive(
					    cJSON_GetArrayItem(list, 0), "after"),
			"bytes", 0),
		9);
	assert_string_equal(
		control_text(removed, "path", ""), "npm/\xef\xbf\xbd\xc3\xa5");
	assert_string_equal(control_text(removed, "path_hex", ""), "6e706d2fffc3a5");
	list = cJSON_GetObjectItemCaseSensitive(told, "skipped_paths");
	assert_int_equal(cJSON_GetArraySize(list), 1);
	assert_int_equal(
		cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(told, "packages")),
		2);
	assert_string_equal(control_text(told, "start", ""), "2026-03-01T12:00:00Z");
}

static void long_lists_come_page_by_page_and_whole(void **state)
{
	const size_t count = 12345;
	AUTO_FREE struct change_record *changes = mem_calloc(count, sizeof(*changes));
	int64_t id = add_run(NOW);
	size_t lines = 0;

	(void)state;
	assert_non_null(changes);
	for (size_t i = 0; i < count; i++)
		changes[i] =
			(struct change_record){.path = "some/file", .what = CHANGE_STALE};
	assert_int_equal(state_db_changes_add(db, id, changes, count), 0);
	assert_int_equal(history("--run", "1", "--changes", NULL), EXIT_DONE);
	for (const char *at = verb_output; (at = strstr(at, "stale     some/file\n"));
		at++)
		lines++;
	assert_int_equal(lines, count);
}

static void what_is_not_there_is_said(void **state)
{
	(void)state;
	assert_int_equal(history("--run", "5", NULL, NULL), EXIT_FAILED);
	assert_string_equal(verb_output, "");
	assert_int_equal(history("--json", NULL, NULL, NULL), EXIT_DONE);
	assert_int_equal(history("--changes", NULL, NULL, NULL), EXIT_USAGE);
	assert_int_equal(history("--run", "x", NULL, NULL), EXIT_USAGE);
	assert_int_equal(history("--limit", "0", NULL, NULL), EXIT_USAGE);
	assert_int_equal(history("--nothing", NULL, NULL, NULL), EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(runs_are_told_newest_first, make, drop),
		cmocka_unit_test_setup_teardown(
			options_that_are_none_are_refused, make, drop),
		cmocka_unit_test_setup_teardown(
			texts_that_are_no_utf8_are_told_as_valid_json, make, drop),
		cmocka_unit_test_setup_teardown(
			a_run_is_told_with_each_path_and_reason, make, drop),
		cmocka_unit_test_setup_teardown(
			long_lists_come_page_by_page_and_whole, make, drop),
		cmocka_unit_test_setup_teardown(what_is_not_there_is_said, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
