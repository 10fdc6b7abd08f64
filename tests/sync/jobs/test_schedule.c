/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/threads/clock.h"
#include "sync/jobs/calendar/schedule.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HOUR_NS	 (3600 * NS_PER_SEC)
#define MIRRORS	 400
#define SPLAY_NS (1800 * NS_PER_SEC)

static int64_t at(const char *text)
{
	int64_t ns;

	assert_int_equal(clock_parse(text, &ns), 0);
	return ns;
}

static struct schedule parsed(const char *text)
{
	char reason[TEXT_REASON_SIZE] = "";
	struct schedule s;

	if (schedule_parse(text, &s, reason) < 0)
		fail_msg("'%s': %s", text, reason);
	return s;
}

/* Runs in `zone_name` after `after`: the times of a list that ends with NULL. */
static void expect_runs(const char *text, const char *zone_name, const char *after,
	const char *const *wanted)
{
	AUTO_TIME_ZONE struct time_zone *zone = NULL;
	struct schedule s = parsed(text);
	int64_t ns = at(after);

	assert_int_equal(time_zone_open(zone_name, &zone), 0);
	for (; *wanted; wanted++) {
		char got[CLOCK_TEXT_SIZE];

		assert_int_equal(schedule_next(&s, zone, ns, &ns), 0);
		clock_format(ns, got);
		assert_string_equal(got, *wanted);
	}
}

#define RUNS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void a_text_that_is_no_schedule_is_refused_with_its_reason(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{"", "is empty"},
		{"  ", "is empty"},
		{"sometimes", "'sometimes' begins no schedule"},
		{"daily at 25:00", "'25:00' is no time of day"},
		{"daily at 24:00", "'24:00' is no time of day"},
		{"daily at 2:5", "'2:5' is no time of day"},
		{"daily at", "'' is no time of day"},
		{"daily at 02:00 sharp", "'sharp' is one word too many"},
		{"hourly at 00:05", "'at' is one word too many"},
		{"weekly", "say on which day"},
		{"weekly on someday", "'someday' is no weekday"},
		{"weekly on mon,", "'' is no weekday"},
		{"weekly on tu", "'tu' is no weekday"},
		{"every 6", "'' is no unit of 'every'"},
		{"every 6 weeks", "'weeks' is no unit"},
		{"every 30 seconds", "'seconds' is no unit"},
		{"every 0 hours", "takes 1 minute to 366 days"},
		{"every 367 days", "takes 1 minute to 366 days"},
		{"every 999999999 hours", "takes 1 minute to 366 days"},
		{"every 6 hours at 02:00", "'at' is one word too many"},
		{"monthly", "say on which day"},
		{"monthly on 0", "'0' is no day of a month"},
		{"monthly on 32", "'32' is no day of a month"},
		{"second", "'' is no weekday"},
		{"sixth tuesday", "'sixth' begins no schedule"},
		{"second tuesday + 32 days", "'+ 32': a delay is 0 to 31 days"},
		{"second tuesday + -1 days", "'+ -1': a delay is 0 to 31 days"},
		{"second tuesday + 4 hours", "a delay is counted in days"},
		{"second tuesday 02:00", "'02:00' is one word too many"},
		{"* * * *", "the weekday is missing"},
		{"* * * * * *", "'*' is one field too many"},
		{"60 * * * *", "'60' is no minute: write 0 to 59"},
		{"* 24 * * *", "'24' is no hour: write 0 to 23"},
		{"* * 0 * *", "'0' is no day of the month: write 1 to 31"},
		{"* * * 13 *", "'13' is no month: write 1 to 12"},
		{"* * * * 8", "'8' is no weekday: write 0 to 7"},
		{"* * * foo *", "'foo' is no month"},
		{"mon * * * *", "'mon' begins no schedule"},
		{"30-10 * * * *", "'30-10' is no minute"},
		{"*/0 * * * *", "'0' is no step of the minute"},
		{"*/60 * * * *", "'60' is no step of the minute"},
		{"5/10 * * * *", "a step follows '*' or a range"},
		{"1,,2 * * * *", "',' is no minute"},
		{"1, 2 * * *", "the minute is missing"},
		{"1- * * * *", "'1-' is no minute"},
		{"-1 * * * *", "'-1' is no minute"},
		{"0 0 30 2 *", "there is no such day in any year"},
		{"0 0 31 4,6,9,11 *", "there is no such day in any year"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char reason[TEXT_REASON_SIZE] = "";
		struct schedule s = {.every_s = 7};

		if (schedule_parse(cases[i].text, &s, reason) != -EINVAL ||
			!strstr(reason, cases[i].reason))
			fail_msg("'%s' gives \"%s\"", cases[i].text, reason);
		assert_int_equal(s.every_s, 7);
	}
}

/* Field by field: padding has no meaning. */
static void assert_alike(const struct schedule *a, const struct schedule *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_string_equal(a->zone, b->zone);
	assert_int_equal(a->splay_s, b->splay_s);
	assert_int_equal(a->cron.minutes, b->cron.minutes);
	assert_int_equal(a->cron.hours, b->cron.hours);
	assert_int_equal(a->cron.days, b->cron.days);
	assert_int_equal(a->cron.months, b->cron.months);
	assert_int_equal(a->cron.weekdays, b->cron.weekdays);
	assert_int_equal(a->every_s, b->every_s);
	assert_int_equal(a->every_days, b->every_days);
	assert_int_equal(a->month_day, b->month_day);
	assert_int_equal(a->nth, b->nth);
	assert_int_equal(a->weekday, b->weekday);
	assert_int_equal(a->delay_days, b->delay_days);
	assert_int_equal(a->minute, b->minute);
}

static void letters_blanks_and_full_names_do_not_matter(void **state)
{
	static const char *const pairs[][2] = {
		{"Second  Tuesday+4 Days at 02:00", "second tue + 4 days at 02:00"},
		{"every hour", "every 60 minutes"},
		{"EVERY day at 02:00", "every 1 days at 02:00"},
		{"daily", "0 0 * * *"},
		{"daily at 2:30", "30 2 * * *"},
		{"weekly on saturday-sunday at 01:00", "0 1 * * 6-7"},
		{"weekly on fri-mon at 01:00", "0 1 * * 0,1,5,6"},
		{"0 1 * JAN-Mar Fri-Sun", "0 1 * 1,2,3 0,5,6"},
		{"0 0 * * 0", "0 0 * * 7"},
		{"hourly", "0 0-23 * * *"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct schedule a = parsed(pairs[i][0]);
		struct schedule b = parsed(pairs[i][1]);

		assert_alike(&a, &b);
	}
}

static void a_time_in_the_gap_runs_once_after_it(void **state)
{
	(void)state;
	/* both fall on 03:00 summer time */
	expect_runs("0,30 2 * * *", "Europe/Oslo", "2027-03-27T01:30:00Z",
		RUNS("2027-03-28T01:00:00Z", "2027-03-29T00:00:00Z",
			"2027-03-29T00:30:00Z"));
	/* and the one that is due at that very time is the same run */
	expect_runs("30 2,3 * * *", "Europe/Oslo", "2027-03-28T00:00:00Z",
		RUNS("2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z",
			"2027-03-29T00:30:00Z"));
	/* clocks of Havana skip midnight, those of Apia have skipped a day */
	expect_runs("daily at 00:00", "America/Havana", "2027-03-13T05:00:00Z",
		RUNS("2027-03-14T05:00:00Z", "2027-03-15T04:00:00Z"));
	expect_runs("daily at 02:00", "Pacific/Apia", "2011-12-29T12:00:00Z",
		RUNS("2011-12-30T10:00:00Z", "2011-12-30T12:00:00Z"));
}

static void a_time_that_occurs_twice_runs_the_first_time(void **state)
{
	(void)state;
	expect_runs("30 2 * * *", "Europe/Oslo", "2027-10-31T00:00:00Z",
		RUNS("2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"));
	/* asked between the two */
	expect_runs("30 2 * * *", "Europe/Oslo", "2027-10-31T01:10:00Z",
		RUNS("2027-11-01T01:30:00Z"));
	/* the day before ends twice: 23:30 is Saturday's */
	expect_runs("weekly on sat at 23:30", "America/Havana", "2027-11-06T12:00:00Z",
		RUNS("2027-11-07T03:30:00Z", "2027-11-14T04:30:00Z"));
}

static void a_rhythm_of_cron_goes_on_through_both_changes(void **state)
{
	(void)state;
	expect_runs("*/30 * * * *", "Europe/Oslo", "2027-10-31T00:00:00Z",
		RUNS("2027-10-31T00:30:00Z", "2027-10-31T01:00:00Z",
			"2027-10-31T01:30:00Z", "2027-10-31T02:00:00Z"));
	expect_runs("*/30 * * * *", "Europe/Oslo", "2027-03-28T00:30:00Z",
		RUNS("2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z"));
	/* half an hour is put back: 01:45 occurs twice */
	expect_runs("45 * * * *", "Australia/Lord_Howe", "2027-04-03T13:50:00Z",
		RUNS("2027-04-03T14:45:00Z", "2027-04-03T15:15:00Z",
			"2027-04-03T16:15:00Z"));
	/* only in hours of the day that is named */
	expect_runs("0 * 29 2 *", "Europe/Oslo", "2024-02-29T21:30:00Z",
		RUNS("2024-02-29T22:00:00Z", "2028-02-28T23:00:00Z",
			"2028-02-29T00:00:00Z"));
	/* Saturday's 23:00 comes back after Saturday */
	expect_runs("0 * 6 11 *", "America/Havana", "2027-11-07T02:00:00Z",
		RUNS("2027-11-07T03:00:00Z", "2028-11-06T05:00:00Z"));
}

static void elapsed_time_does_not_see_the_clocks_change(void **state)
{
	(void)state;
	expect_runs("every 6 hours", "Europe/Oslo", "2027-03-27T18:00:00Z",
		RUNS("2027-03-27T23:00:00Z", "2027-03-28T05:00:00Z",
			"2027-03-28T11:00:00Z"));
	expect_runs("every 7 hours", "UTC", "1999-12-31T16:59:59Z",
		RUNS("1999-12-31T17:00:00Z", "2000-01-01T00:00:00Z",
			"2000-01-01T07:00:00Z"));
}

static void days_are_counted_from_the_first_of_2000(void **state)
{
	(void)state;
	expect_runs("every 3 days at 02:00", "UTC", "1999-12-26T00:00:00Z",
		RUNS("1999-12-26T02:00:00Z", "1999-12-29T02:00:00Z",
			"2000-01-01T02:00:00Z", "2000-01-04T02:00:00Z"));
}

static void the_last_day_stands_for_the_31st_and_a_delay_crosses_months(void **state)
{
	(void)state;
	expect_runs("monthly on 31", "UTC", "2028-01-31T00:00:00Z",
		RUNS("2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z",
			"2028-04-30T00:00:00Z"));
	expect_runs("monthly on 31 + 31 days", "UTC", "2027-01-31T00:00:00Z",
		RUNS("2027-03-03T00:00:00Z", "2027-03-31T00:00:00Z",
			"2027-05-01T00:00:00Z"));
	expect_runs("last friday + 31 days at 23:59", "UTC", "2027-11-26T00:00:00Z",
		RUNS("2027-11-29T23:59:00Z", "2027-12-27T23:59:00Z",
			"2028-01-31T23:59:00Z"));
	/* not the same year that is no leap year: 2100 */
	expect_runs("0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z",
		RUNS("2104-02-29T00:00:00Z"));
	/* the rarest that cron can say: both must match, as the weekday begins with a star */
	expect_runs("0 0 29 2 */7", "UTC", "2060-03-01T00:00:00Z",
		RUNS("2088-02-29T00:00:00Z", "2128-02-29T00:00:00Z"));
	expect_runs("0 * 29 2 */7", "Europe/Oslo", "2088-03-01T00:00:00Z",
		RUNS("2128-02-28T23:00:00Z"));
}

static void the_next_time_is_strictly_later(void **state)
{
	AUTO_TIME_ZONE struct time_zone *zone = NULL;
	struct schedule s = parsed("daily at 02:00");
	int64_t ns = at("2027-01-01T02:00:00Z");
	int64_t next;

	(void)state;
	assert_int_equal(time_zone_open("UTC", &zone), 0);
	assert_int_equal(schedule_next(&s, zone, ns - 1, &next), 0);
	assert_int_equal(next, ns);
	assert_int_equal(schedule_next(&s, zone, ns, &next), 0);
	assert_int_equal(next, ns + 24 * HOUR_NS);
	assert_int_equal(schedule_next(&s, zone, INT64_MAX - HOUR_NS, &next), -ERANGE);
}

static void missed_runs_are_caught_up_once(void **state)
{
	AUTO_TIME_ZONE struct time_zone *zone = NULL;
	struct schedule s = parsed("daily at 02:00");
	int64_t last = at("2027-01-01T02:00:00Z");
	int64_t due = 7;
	int64_t next;

	(void)state;
	assert_int_equal(time_zone_open("UTC", &zone), 0);
	clock_fake(at("2027-01-02T01:59:59Z"));
	assert_int_equal(schedule_missed(&s, zone, last, clock_real_ns(), &due), 0);
	assert_int_equal(due, 7);
	/* the mirror was off for nine days */
	clock_fake(at("2027-01-10T12:00:00Z"));
	assert_int_equal(schedule_missed(&s, zone, last, clock_real_ns(), &due), 1);
	assert_int_equal(due, at("2027-01-02T02:00:00Z"));
	/* it ran; nothing else is due until tomorrow */
	assert_int_equal(
		schedule_missed(&s, zone, clock_real_ns(), clock_real_ns(), &due), 0);
	assert_int_equal(schedule_next(&s, zone, clock_real_ns(), &next), 0);
	assert_int_equal(next, at("2027-01-11T02:00:00Z"));
	clock_fake(0);
}

static void splay_is_steady_and_spreads_a_fleet_and_the_nights(void **state)
{
	struct schedule s = parsed("daily at 02:00");
	char reason[TEXT_REASON_SIZE];
	int64_t fire = at("2027-01-01T02:00:00Z");
	size_t by_mirror[4] = {0};
	size_t by_night[4] = {0};
	char name[32];

	(void)state;
	assert_int_equal(schedule_delay_ns(&s, "oslo", "nightly", fire), 0);
	assert_int_equal(schedule_set_splay(&s, "30 minutes", reason), 0);
	for (int i = 0; i < MIRRORS; i++) {
		(void)snprintf(name, sizeof(name), "mirror-%d", i);
		int64_t a = schedule_delay_ns(&s, name, "nightly", fire);
		int64_t b =
			schedule_delay_ns(&s, "oslo", "nightly", fire + i * 24 * HOUR_NS);

		assert_in_range(a, 0, SPLAY_NS);
		assert_in_range(b, 0, SPLAY_NS);
		assert_int_equal(a, schedule_delay_ns(&s, name, "nightly", fire));
		by_mirror[a * 4 / (SPLAY_NS + 1)]++;
		by_night[b * 4 / (SPLAY_NS + 1)]++;
	}
	/* a quarter each, give or take four standard deviations */
	for (int i = 0; i < 4; i++) {
		assert_in_range(by_mirror[i], 65, 135);
		assert_in_range(by_night[i], 65, 135);
	}
	assert_int_not_equal(schedule_delay_ns(&s, "oslo", "nightly", fire),
		schedule_delay_ns(&s, "oslo", "weekly", fire));
}

static void splays_and_zones_are_refused_with_their_reasons(void **state)
{
	static const char *const splays[] = {"", "30", "minutes", "30 minutes more",
		"25 hours", "2 days", "-5 minutes", "999999999 days"};
	static const char *const zones[] = {"", "Oslo", "Europe/", "/etc/localtime",
		"../Europe/Oslo", "Europe/../Europe/Oslo", "+02:00", "05",
		"Europe/Oslo "};
	struct schedule s = parsed("daily");
	char reason[TEXT_REASON_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(splays); i++) {
		assert_int_equal(schedule_set_splay(&s, splays[i], reason), -EINVAL);
		assert_non_null(strstr(reason, "is no splay"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
		assert_int_equal(schedule_set_zone(&s, zones[i], reason), -EINVAL);
		assert_non_null(strstr(reason, "is no time zone"));
	}
	assert_int_equal(s.splay_s, 0);
	assert_string_equal(s.zone, "");
	assert_int_equal(schedule_set_splay(&s, "1 day", reason), 0);
	assert_int_equal(s.splay_s, SECONDS_PER_DAY);
	assert_int_equal(
		schedule_set_zone(&s, "America/Argentina/Buenos_Aires", reason), 0);
	assert_string_equal(s.zone, "America/Argentina/Buenos_Aires");
	assert_int_equal(schedule_set_zone(&s, "Etc/GMT+5", reason), 0);
	assert_int_equal(schedule_set_zone(&s, "local", reason), 0);
	assert_string_equal(s.zone, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_that_is_no_schedule_is_refused_with_its_reason),
		cmocka_unit_test(letters_blanks_and_full_names_do_not_matter),
		cmocka_unit_test(a_time_in_the_gap_runs_once_after_it),
		cmocka_unit_test(a_time_that_occurs_twice_runs_the_first_time),
		cmocka_unit_test(a_rhythm_of_cron_goes_on_through_both_changes),
		cmocka_unit_test(elapsed_time_does_not_see_the_clocks_change),
		cmocka_unit_test(days_are_counted_from_the_first_of_2000),
		cmocka_unit_test(
			the_last_day_stands_for_the_31st_and_a_delay_crosses_months),
		cmocka_unit_test(the_next_time_is_strictly_later),
		cmocka_unit_test(missed_runs_are_caught_up_once),
		cmocka_unit_test(splay_is_steady_and_spreads_a_fleet_and_the_nights),
		cmocka_unit_test(splays_and_zones_are_refused_with_their_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
