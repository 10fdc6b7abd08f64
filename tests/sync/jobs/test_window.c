/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/threads/clock.h"
#include "sync/jobs/calendar/rate.h"
#include "sync/jobs/calendar/window.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct window_list parsed(const char *text)
{
	char reason[TEXT_REASON_SIZE] = "";
	struct window_list list = {0};

	if (window_parse(text, &list, reason) < 0)
		fail_msg("'%s': %s", text, reason);
	return list;
}

/* What holds at a time, as "open 20M until 2027-01-04T05:00:00Z". */
static void expect(
	const char *windows, const char *zone_name, const char *when, const char *wanted)
{
	AUTO_TIME_ZONE struct time_zone *zone = NULL;
	struct window_list list = {0};
	struct window_state state;
	char until[CLOCK_TEXT_SIZE] = "never";
	char rate[RATE_TEXT_SIZE];
	char got[128];
	int64_t ns;

	if (*windows)
		list = parsed(windows);
	assert_int_equal(time_zone_open(zone_name, &zone), 0);
	assert_int_equal(clock_parse(when, &ns), 0);
	window_at(&list, zone, ns, &state);
	rate_format(&state.rate, rate);
	if (state.changes_ns != WINDOW_NEVER)
		clock_format(state.changes_ns, until);
	(void)snprintf(got, sizeof(got), "%s%s%s until %s",
		state.is_open ? "open" : "closed", state.is_open ? " " : "",
		state.is_open ? rate : "", until);
	if (strcmp(got, wanted) != 0)
		fail_msg("'%s' at %s: %s, not %s", windows, when, got, wanted);
}

/* 1 January 2027 is a Friday; Oslo is an hour ahead in winter. */
static void a_window_over_midnight_belongs_to_the_day_it_starts_on(void **state)
{
	static const char windows[] = "fri 20:00-06:00";

	(void)state;
	expect(windows, "Europe/Oslo", "2027-01-01T18:59:59Z",
		"closed until 2027-01-01T19:00:00Z");
	expect(windows, "Europe/Oslo", "2027-01-01T19:00:00Z",
		"open unlimited until 2027-01-02T05:00:00Z");
	expect(windows, "Europe/Oslo", "2027-01-02T04:59:59Z",
		"open unlimited until 2027-01-02T05:00:00Z");
	expect(windows, "Europe/Oslo", "2027-01-02T05:00:00Z",
		"closed until 2027-01-08T19:00:00Z");
	/* Friday's early hours are Thursday's window, which there is not */
	expect(windows, "Europe/Oslo", "2027-01-01T03:00:00Z",
		"closed until 2027-01-01T19:00:00Z");
}

static void windows_that_touch_are_one(void **state)
{
	static const char windows[] = "mon-fri 20:00-06:00, sat, sun";

	(void)state;
	/* from Friday evening to Monday: there is none on Sunday night */
	expect(windows, "Europe/Oslo", "2027-01-01T19:30:00Z",
		"open unlimited until 2027-01-03T23:00:00Z");
	expect(windows, "Europe/Oslo", "2027-01-03T23:00:00Z",
		"closed until 2027-01-04T19:00:00Z");
	expect("00:00-24:00", "Europe/Oslo", "2027-01-03T23:00:00Z",
		"open unlimited until never");
	expect("mon-sun", "Europe/Oslo", "2027-01-03T23:00:00Z",
		"open unlimited until never");
	expect("fri 20:00-00:00, sat 00:00-01:00", "UTC", "2027-01-01T20:00:00Z",
		"open unlimited until 2027-01-02T01:00:00Z");
	expect("", "Europe/Oslo", "2027-01-03T23:00:00Z", "open unlimited until never");
	expect("08:00-16:00, 16:00-08:00 rate 1M", "UTC", "2027-01-03T10:00:00Z",
		"open unlimited until 2027-01-03T16:00:00Z");
}

static void the_first_open_window_says_the_rate(void **state)
{
	static const char windows[] = "mon-fri 20:00-06:00 rate 20M, sat rate idle, sat "
				      "sun 10:00-12:00 rate 1k";

	(void)state;
	expect(windows, "UTC", "2027-01-01T21:00:00Z",
		"open 20M until 2027-01-02T06:00:00Z");
	expect(windows, "UTC", "2027-01-02T06:00:00Z",
		"open idle until 2027-01-03T00:00:00Z");
	expect(windows, "UTC", "2027-01-02T11:00:00Z",
		"open idle until 2027-01-03T00:00:00Z");
	expect(windows, "UTC", "2027-01-03T11:00:00Z",
		"open 1k until 2027-01-03T12:00:00Z");
}

static void a_night_is_shorter_or_longer_when_clocks_change(void **state)
{
	(void)state;
	/* Oslo, 28 March 2027: 02:00 is 03:00; 31 October: 03:00 is 02:00 */
	expect("sat 20:00-06:00", "Europe/Oslo", "2027-03-28T00:30:00Z",
		"open unlimited until 2027-03-28T04:00:00Z");
	expect("sat 20:00-06:00", "Europe/Oslo", "2027-10-31T00:30:00Z",
		"open unlimited until 2027-10-31T05:00:00Z");
	/* begins or ends in the gap: at its end */
	expect("02:30-05:00", "Europe/Oslo", "2027-03-28T00:59:59Z",
		"closed until 2027-03-28T01:00:00Z");
	expect("01:00-02:30", "Europe/Oslo", "2027-03-28T00:30:00Z",
		"open unlimited until 2027-03-28T01:00:00Z");
	/* lies in the gap: not on this day */
	expect("02:00-03:00", "Europe/Oslo", "2027-03-27T12:00:00Z",
		"closed until 2027-03-29T00:00:00Z");
	expect("sun 02:00-03:00", "Europe/Oslo", "2027-03-21T12:00:00Z",
		"closed until 2027-04-04T00:00:00Z");
	/* opens and closes at the first of two */
	expect("02:30-05:00", "Europe/Oslo", "2027-10-31T00:00:00Z",
		"closed until 2027-10-31T00:30:00Z");
	expect("02:30-05:00", "Europe/Oslo", "2027-10-31T01:10:00Z",
		"open unlimited until 2027-10-31T04:00:00Z");
	expect("01:00-02:30", "Europe/Oslo", "2027-10-31T00:00:00Z",
		"open unlimited until 2027-10-31T00:30:00Z");
	expect("01:00-02:30", "Europe/Oslo", "2027-10-31T01:10:00Z",
		"closed until 2027-11-01T00:00:00Z");
	/* New York, 14 March 2027; and Havana, whose midnight of 7 November comes twice */
	expect("sun 00:00-04:00", "America/New_York", "2027-03-14T05:00:00Z",
		"open unlimited until 2027-03-14T08:00:00Z");
	expect("sat", "America/Havana", "2027-11-07T03:00:00Z",
		"open unlimited until 2027-11-07T04:00:00Z");
	expect("sun", "America/Havana", "2027-11-07T04:30:00Z",
		"open unlimited until 2027-11-08T05:00:00Z");
	/* a minute after midnight it is Saturday again, but Sunday's window has begun */
	expect("sun", "America/St_Johns", "2010-11-07T02:45:00Z",
		"open unlimited until 2010-11-08T03:30:00Z");
	expect("sat", "America/St_Johns", "2010-11-07T02:45:00Z",
		"closed until 2010-11-13T03:30:00Z");
	/* the day that Apia left out */
	expect("fri", "Pacific/Apia", "2011-12-30T09:00:00Z",
		"closed until 2012-01-05T10:00:00Z");
}

static void a_text_that_is_no_window_is_refused_with_its_reason(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{"", "'' is neither a weekday nor hours"},
		{",", "',' is neither"},
		{"mon,,tue", "',' is neither"},
		{"noon", "'noon' is neither"},
		{"mon 20:00", "'20:00': write hours as"},
		{"mon 20:00-25:00", "'20:00-25:00': write hours as"},
		{"mon 24:00-25:00", "write hours as"},
		{"mon 24:00-06:00", "write hours as"},
		{"mon 20:00-20:00", "has no end"},
		{"00:00-00:00", "has no end"},
		{"mon sat-", "'sat-' is out of place"},
		{"mon 20:00-22:00 23:00-24:00", "'23:00-24:00' is out of place"},
		{"mon rate", "'' is no rate"},
		{"mon rate fast", "'fast' is no rate"},
		{"mon rate 0", "would never end"},
		{"rate 20M", "'rate' is neither"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char reason[TEXT_REASON_SIZE] = "";
		struct window_list list = parsed("tue");

		if (window_parse(cases[i].text, &list, reason) != -EINVAL ||
			!strstr(reason, cases[i].reason))
			fail_msg("'%s' gives \"%s\"", cases[i].text, reason);
		assert_int_equal(list.count, 1);
	}
}

static void there_is_an_end_to_windows(void **state)
{
	char reason[TEXT_REASON_SIZE];
	struct window_list list = {0};

	(void)state;
	for (size_t i = 0; i < WINDOW_MAX; i++)
		assert_int_equal(window_parse("mon", &list, reason), 0);
	assert_int_equal(window_parse("tue", &list, reason), -EINVAL);
	assert_int_equal(list.count, WINDOW_MAX);
}

static void rates_are_read_and_written(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes_per_sec;
		const char *written;
	} cases[] = {
		{"20M", 20000000, "20M"},
		{"20MB/s", 20000000, "20M"},
		{"2.5m", 2500000, "2500k"},
		{"20Mbit", 2500000, "2500k"},
		{"1Gbit/s", 125000000, "125M"},
		{"512k", 512000, "512k"},
		{"1", 1, "1"},
		{"1g", 1000000000, "1G"},
		{"0.5k", 500, "500"},
		{"unlimited", 0, "unlimited"},
		{"Idle", 0, "idle"},
	};
	static const char *const refused[] = {"", "M", ".5M", "1.M", "1.2.3M", "20 M",
		"20T", "20MM", "-1", "7bit", "20M/h", "2000G", "9999999999", "1.2345k"};
	char reason[TEXT_REASON_SIZE];
	char text[RATE_TEXT_SIZE];
	struct rate_limit rate;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(rate_parse(cases[i].text, &rate, reason), 0);
		assert_int_equal(rate.bytes_per_sec, cases[i].bytes_per_sec);
		assert_int_equal(rate.kind == RATE_FIXED, rate.bytes_per_sec > 0);
		rate_format(&rate, text);
		assert_string_equal(text, cases[i].written);
	}
	assert_int_equal(rate.kind, RATE_IDLE);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (rate_parse(refused[i], &rate, reason) != -EINVAL)
			fail_msg("'%s' was taken", refused[i]);
}

static void of_two_rates_both_hold(void **state)
{
	static const struct {
		const char *a, *b;
		int kind;
		uint64_t bytes_per_sec;
	} cases[] = {{"20M", "2M", RATE_FIXED, 2000000},
		{"20M", "unlimited", RATE_FIXED, 20000000},
		{"20M", "idle", RATE_IDLE, 20000000}, {"unlimited", "idle", RATE_IDLE, 0},
		{"idle", "idle", RATE_IDLE, 0},
		{"unlimited", "unlimited", RATE_UNLIMITED, 0}};
	char reason[TEXT_REASON_SIZE];
	struct rate_limit a;
	struct rate_limit b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(rate_parse(cases[i].a, &a, reason), 0);
		assert_int_equal(rate_parse(cases[i].b, &b, reason), 0);
		for (int order = 0; order < 2; order++) {
			struct rate_limit both =
				order ? rate_both(&b, &a) : rate_both(&a, &b);

			assert_int_equal((int)both.kind, cases[i].kind);
			assert_int_equal(both.bytes_per_sec, cases[i].bytes_per_sec);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_window_over_midnight_belongs_to_the_day_it_starts_on),
		cmocka_unit_test(windows_that_touch_are_one),
		cmocka_unit_test(the_first_open_window_says_the_rate),
		cmocka_unit_test(a_night_is_shorter_or_longer_when_clocks_change),
		cmocka_unit_test(a_text_that_is_no_window_is_refused_with_its_reason),
		cmocka_unit_test(there_is_an_end_to_windows),
		cmocka_unit_test(rates_are_read_and_written),
		cmocka_unit_test(of_two_rates_both_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
