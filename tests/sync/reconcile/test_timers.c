/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/temporary.h"

#include "cache/base/threads/clock.h"
#include "cache/state/state_db.h"
#include "sync/reconcile/mirror_name.h"
#include "sync/reconcile/timers.h"
#include "sync/reconcile/windows.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char directory[40];
static struct state_db *db;
static struct timers timers;

static int64_t at(const char *text)
{
	int64_t ns;

	assert_int_equal(clock_parse(text, &ns), 0);
	return ns;
}

static void put(const char *name, const char *when, const char *created)
{
	const struct schedule_record record = {.name = name,
		.when = when,
		.zone = "UTC",
		.origin = SCHEDULE_BY_COMMAND,
		.is_enabled = true,
		.created_ns = at(created)};

	assert_int_equal(state_db_schedule_put(db, &record), 0);
	assert_int_equal(timers_load(&timers), 0);
}

static void adopt(enum schedule_origin origin, const char *text, char *label)
{
	AUTO_POLICY struct policy policy = {0};
	char reason[TEXT_REASON_SIZE];
	char *labels[] = {label};

	assert_int_equal(policy_parse(text, strlen(text), &policy, reason), 0);
	assert_int_equal(
		timers_adopt(&timers, origin, &policy, labels, label ? 1 : 0), 0);
	assert_int_equal(timers_load(&timers), 0);
}

static const struct timer *find(const char *name)
{
	for (size_t i = 0; i < timers.count; i++)
		if (strcmp(timers.items[i].record->name, name) == 0)
			return &timers.items[i];
	return NULL;
}

static void a_schedule_is_due_at_its_time_and_then_no_more(void **state)
{
	(void)state;
	put("nightly", "daily at 02:00", "2026-03-01T12:00:00Z");
	assert_int_equal(timers_next_ns(&timers), at("2026-03-02T02:00:00Z"));
	assert_null(timers_due(&timers, at("2026-03-02T01:59:59Z")));
	struct timer *t = timers_due(&timers, at("2026-03-02T02:00:00Z"));

	assert_non_null(t);
	assert_string_equal(t->record->name, "nightly");
	timers_ran(&timers, t, at("2026-03-02T02:00:00Z"));
	assert_null(timers_due(&timers, at("2026-03-02T02:00:00Z")));
	assert_int_equal(timers_next_ns(&timers), at("2026-03-03T02:00:00Z"));
}

static void what_was_missed_is_caught_up_once(void **state)
{
	(void)state;
	put("nightly", "daily at 02:00", "2026-03-01T12:00:00Z");
	/* the machine was off for a week */
	int64_t now_ns = at("2026-03-08T09:30:00Z");
	struct timer *t = timers_due(&timers, now_ns);

	assert_non_null(t);
	timers_ran(&timers, t, now_ns);
	assert_null(timers_due(&timers, now_ns));
	/* and so it stays after a restart */
	assert_int_equal(timers_load(&timers), 0);
	assert_null(timers_due(&timers, now_ns));
	assert_int_equal(timers_next_ns(&timers), at("2026-03-09T02:00:00Z"));
}

static void a_disabled_or_unsound_schedule_never_runs(void **state)
{
	(void)state;
	put("nightly", "daily at 02:00", "2026-03-01T12:00:00Z");
	put("odd", "every blue moon", "2026-03-01T12:00:00Z");
	assert_int_equal(state_db_schedule_enable(db, "nightly", false), 0);
	assert_int_equal(timers_load(&timers), 0);
	assert_int_equal(timers_next_ns(&timers), TIMER_NEVER);
	/* who disables the only one plans nonetheless */
	assert_true(timers_any(&timers));
	assert_true(strlen(find("odd")->error) > 0);
}

static void a_clock_that_was_ahead_stops_no_schedule(void **state)
{
	int64_t now_ns = at("2026-03-08T09:30:00Z");

	(void)state;
	put("nightly", "daily at 02:00", "2026-03-01T12:00:00Z");
	assert_int_equal(
		state_db_schedule_ran(db, "nightly", at("2035-01-01T02:00:00Z")), 0);
	assert_int_equal(timers_load(&timers), 0);
	assert_int_equal(timers_next_ns(&timers), at("2035-01-02T02:00:00Z"));
	timers_check_clock(&timers, now_ns);
	assert_null(timers_due(&timers, now_ns));
	assert_int_equal(timers_next_ns(&timers), at("2026-03-09T02:00:00Z"));
	timers_check_clock(&timers, now_ns + NS_PER_SEC);
	assert_int_equal(timers_next_ns(&timers), at("2026-03-09T02:00:00Z"));
	/* it was this one that was wrong: what had run has run */
	timers_check_clock(&timers, at("2035-01-01T12:00:00Z"));
	assert_int_equal(timers_next_ns(&timers), at("2035-01-02T02:00:00Z"));
	/* a correction by seconds makes nothing run twice */
	timers_check_clock(&timers, at("2035-01-01T01:59:58Z"));
	assert_int_equal(timers_next_ns(&timers), at("2035-01-02T02:00:00Z"));
}

static void what_could_not_be_queued_stays_due(void **state)
{
	int64_t now_ns = at("2026-03-02T02:00:00Z");

	(void)state;
	put("nightly", "daily at 02:00", "2026-03-01T12:00:00Z");
	timers_postpone(&timers, timers_due(&timers, now_ns), now_ns);
	assert_null(timers_due(&timers, now_ns));
	assert_non_null(timers_due(&timers, timers_next_ns(&timers)));
	assert_in_range(timers_next_ns(&timers), now_ns + 1, now_ns + 600 * NS_PER_SEC);
	/* and after a restart */
	assert_int_equal(timers_load(&timers), 0);
	assert_non_null(timers_due(&timers, now_ns));
}

static void a_mirror_is_known_by_its_machine(void **state)
{
	char name[MIRROR_NAME_SIZE];
	char other[MIRROR_NAME_SIZE];
	char host[256];

	(void)state;
	assert_int_equal(gethostname(host, sizeof(host)), 0);
	mirror_name("/srv/share", name);
	mirror_name("/srv/other", other);
	assert_non_null(strstr(name, host));
	assert_string_not_equal(name, other);
}

static void the_masters_schedules_are_taken_up_by_label(void **state)
{
	static char oslo[] = "site:oslo";
	static const char text[] =
		"[schedule a]\nlabel = site:oslo\nwhen = daily at 02:00\n"
		"prefetch = npm/* deb/*\npackages = npm/*\nrate = 20M\nsplay = 30 "
		"minutes\n"
		"[schedule b]\nlabel = site:bergen\nwhen = daily at 03:00\n";

	(void)state;
	adopt(SCHEDULE_BY_POLICY, text, oslo);
	assert_int_equal((int)timers.count, 1);
	const struct timer *t = find("a");

	assert_non_null(t);
	assert_string_equal(t->record->packages, "npm/*");
	assert_string_equal(t->record->prefetch, "npm/*\ndeb/*");
	assert_string_equal(t->record->rate, "20M");
	assert_int_equal((int)t->schedule.splay_s, 1800);
	/* what the master drops goes */
	adopt(SCHEDULE_BY_POLICY, "[schedule c]\nwhen = hourly\n", oslo);
	assert_null(find("a"));
	assert_non_null(find("c"));
}

static void who_was_disabled_here_stays_so(void **state)
{
	static const char text[] = "[schedule a]\nwhen = daily at 02:00\n";

	(void)state;
	adopt(SCHEDULE_BY_POLICY, text, NULL);
	assert_int_equal(state_db_schedule_enable(db, "a", false), 0);
	adopt(SCHEDULE_BY_POLICY, text, NULL);
	assert_false(find("a")->record->is_enabled);
}

static void a_name_belongs_to_who_came_first(void **state)
{
	(void)state;
	put("nightly", "daily at 02:00", "2026-03-01T12:00:00Z");
	adopt(SCHEDULE_BY_POLICY, "[schedule nightly]\nwhen = daily at 05:00\n", NULL);
	assert_string_equal(find("nightly")->record->when, "daily at 02:00");
	assert_int_equal(find("nightly")->record->origin, SCHEDULE_BY_COMMAND);
	adopt(SCHEDULE_BY_POLICY, "[schedule x]\nwhen = hourly\n", NULL);
	assert_non_null(find("nightly"));
}

static void windows(
	const char *own, const char *masters, const char *when, struct window_state *out)
{
	AUTO_POLICY struct policy master = {0};
	char reason[TEXT_REASON_SIZE];
	struct settings s;

	assert_int_equal(settings_init(&s), 0);
	assert_int_equal(policy_parse(own, strlen(own), &s.local, reason), 0);
	assert_int_equal(policy_parse(masters, strlen(masters), &master, reason), 0);
	windows_at(&s, &master, at(when), out);
	settings_release(&s);
}

static void without_windows_it_is_always_open(void **state)
{
	struct window_state now;

	(void)state;
	windows("", "", "2026-03-02T12:00:00Z", &now);
	assert_true(now.is_open);
	assert_int_equal(now.rate.kind, RATE_UNLIMITED);
	assert_int_equal(now.changes_ns, WINDOW_NEVER);
}

static void the_mirrors_own_windows_go_before_the_masters(void **state)
{
	static const char own[] = "[windows w]\nallow = mon-fri 20:00-06:00 rate 20M\n"
				  "tz = UTC\n";
	static const char masters[] =
		"[windows w]\nallow = mon-fri 08:00-16:00\ntz = UTC\n";
	struct window_state now;

	(void)state;
	/* a Monday */
	windows(own, masters, "2026-03-02T12:00:00Z", &now);
	assert_false(now.is_open);
	assert_int_equal(now.changes_ns, at("2026-03-02T20:00:00Z"));
	windows("", masters, "2026-03-02T12:00:00Z", &now);
	assert_true(now.is_open);
	windows(own, masters, "2026-03-02T22:00:00Z", &now);
	assert_true(now.is_open);
	assert_int_equal((int)now.rate.bytes_per_sec, 20000000);
}

static void sections_add_up(void **state)
{
	static const char own[] =
		"[windows a]\nallow = mon 08:00-10:00 rate 1M\ntz = UTC\n"
		"[windows b]\nallow = mon 09:00-12:00 rate 2M\ntz = UTC\n";
	struct window_state now;

	(void)state;
	windows(own, "", "2026-03-02T09:30:00Z", &now);
	assert_true(now.is_open);
	assert_int_equal((int)now.rate.bytes_per_sec, 1000000);
	windows(own, "", "2026-03-02T11:00:00Z", &now);
	assert_true(now.is_open);
	assert_int_equal((int)now.rate.bytes_per_sec, 2000000);
	windows(own, "", "2026-03-02T13:00:00Z", &now);
	assert_false(now.is_open);
}

static int set_up(void **state)
{
	(void)state;
	if (!temporary_dir(directory, sizeof(directory), "timers") ||
		state_db_open(directory, &db) < 0)
		return -1;
	timers_init(&timers, db, "/srv/share");
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"state.db", "state.db-wal", "state.db-shm"};
	char path[64];

	(void)state;
	timers_release(&timers);
	state_db_close(db);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		(void)unlink(path);
	}
	return rmdir(directory);
}

#define TIMERS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TIMERS_TEST(a_schedule_is_due_at_its_time_and_then_no_more),
		TIMERS_TEST(what_was_missed_is_caught_up_once),
		TIMERS_TEST(a_disabled_or_unsound_schedule_never_runs),
		TIMERS_TEST(a_clock_that_was_ahead_stops_no_schedule),
		TIMERS_TEST(what_could_not_be_queued_stays_due),
		cmocka_unit_test(a_mirror_is_known_by_its_machine),
		TIMERS_TEST(the_masters_schedules_are_taken_up_by_label),
		TIMERS_TEST(who_was_disabled_here_stays_so),
		TIMERS_TEST(a_name_belongs_to_who_came_first),
		cmocka_unit_test(without_windows_it_is_always_open),
		cmocka_unit_test(the_mirrors_own_windows_go_before_the_masters),
		cmocka_unit_test(sections_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
