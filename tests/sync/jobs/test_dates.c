/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two years of every schedule in docs/schedules.md, compared with the lists that dates/generate
 * made without a line of depotfs. */
#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "sync/jobs/calendar/schedule.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LIST_MAX_BYTES (1024 * 1024)
#define DAY_NS	       (SECONDS_PER_DAY * NS_PER_SEC)

/* One schedule of a list: its times in order. */
struct dates {
	char when[64];
	int64_t *times;
	size_t count;
	size_t capacity;
};

struct list {
	char zone[TIME_ZONE_NAME_SIZE];
	int64_t from_ns;
	int64_t until_ns;
	struct dates *items;
	size_t count;
	size_t capacity;
};

static void list_release(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].times);
	free(list->items);
}

static char *read_text(const char *path)
{
	struct buffer text = BUFFER_INIT(LIST_MAX_BYTES);

	assert_int_equal(io_read_file(AT_FDCWD, path, &text), 0);
	assert_int_equal(buffer_add_zero(&text, 1), 0);
	return (char *)text.data;
}

/* "TIME" or "TIME + SECONDS x COUNT" */
static void add_times(struct dates *dates, char *line)
{
	long step_s = 0;
	long more = 0;
	int64_t time_ns;
	char *plus = strstr(line, " + ");

	if (plus) {
		/* NOLINTNEXTLINE(cert-err34-c): the file is ours */
		assert_int_equal(sscanf(plus, " + %ld x %ld", &step_s, &more), 2);
		*plus = '\0';
	}
	assert_int_equal(clock_parse(line, &time_ns), 0);
	for (long i = 0; i <= more; i++) {
		assert_int_equal(mem_grow((void **)&dates->times, &dates->capacity,
					 dates->count, sizeof(int64_t)),
			0);
		dates->times[dates->count++] = time_ns + i * step_s * NS_PER_SEC;
	}
}

static void read_list(const char *name, struct list *out)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s.txt", DATES_DIR, name);
	AUTO_FREE char *text = read_text(path);
	char *next = text;

	for (char *line; (line = strsep(&next, "\n")) && *line;) {
		char *value = strchr(line, ' ');

		if (strncmp(line, "zone ", 5) == 0) {
			(void)snprintf(out->zone, sizeof(out->zone), "%s", value + 1);
		} else if (strncmp(line, "from ", 5) == 0) {
			assert_int_equal(clock_parse(value + 1, &out->from_ns), 0);
		} else if (strncmp(line, "until ", 6) == 0) {
			assert_int_equal(clock_parse(value + 1, &out->until_ns), 0);
		} else if (strncmp(line, "when ", 5) == 0) {
			assert_int_equal(mem_grow((void **)&out->items, &out->capacity,
						 out->count, sizeof(*out->items)),
				0);
			out->items[out->count] = (struct dates){0};
			(void)snprintf(out->items[out->count++].when,
				sizeof(out->items->when), "%s", value + 1);
		} else if (out->items) {
			add_times(&out->items[out->count - 1], line);
		} else {
			fail_msg("%s: no schedule stands before %s", name, line);
		}
	}
	assert_true(out->from_ns > 0 && out->until_ns > out->from_ns && out->count > 0);
}

static void expect_next(const struct schedule *s, const struct time_zone *zone,
	const struct dates *dates, int64_t after_ns, int64_t wanted_ns)
{
	int64_t next_ns;

	assert_int_equal(schedule_next(s, zone, after_ns, &next_ns), 0);
	if (next_ns == wanted_ns)
		return;
	char after[CLOCK_TEXT_SIZE];
	char wanted[CLOCK_TEXT_SIZE];
	char got[CLOCK_TEXT_SIZE];

	clock_format(after_ns, after);
	clock_format(wanted_ns, wanted);
	clock_format(next_ns, got);
	fail_msg("'%s': after %s comes %s, not %s", dates->when, after, wanted, got);
}

static void compare(
	const struct list *list, const struct time_zone *zone, const struct dates *dates)
{
	char reason[TEXT_REASON_SIZE] = "";
	struct schedule s;
	int64_t after_ns = list->from_ns - 1;

	if (schedule_parse(dates->when, &s, reason) < 0)
		fail_msg("'%s': %s", dates->when, reason);
	assert_true(dates->count > 0);
	for (size_t i = 0; i < dates->count; i++) {
		int64_t next_ns = dates->times[i];

		/* from the time before, from everywhere between, and strictly after */
		expect_next(&s, zone, dates, after_ns, next_ns);
		expect_next(&s, zone, dates, next_ns - 1, next_ns);
		for (int64_t t = after_ns; t < next_ns; t += DAY_NS / 3 + 1)
			expect_next(&s, zone, dates, t, next_ns);
		after_ns = next_ns;
	}
	int64_t beyond_ns;

	assert_int_equal(schedule_next(&s, zone, after_ns, &beyond_ns), 0);
	assert_true(beyond_ns >= list->until_ns);
}

static void compare_list(const char *name)
{
	struct list list CLEANUP(list_release) = {0};
	AUTO_TIME_ZONE struct time_zone *zone = NULL;

	read_list(name, &list);
	assert_int_equal(time_zone_open(list.zone, &zone), 0);
	for (size_t i = 0; i < list.count; i++)
		compare(&list, zone, &list.items[i]);
}

static void two_years_in_oslo_are_as_listed(void **state)
{
	(void)state;
	compare_list("europe-oslo");
}

static void two_years_in_new_york_are_as_listed(void **state)
{
	(void)state;
	compare_list("america-new_york");
}

/* Rows of its table of schedules: "| `daily at 02:00` | ..." */
static void every_schedule_of_the_manual_is_listed(void **state)
{
	struct list list CLEANUP(list_release) = {0};
	AUTO_FREE char *text = read_text(SCHEDULES_PAGE);
	char *next = strstr(text, "| `when` |");
	size_t rows = 0;

	(void)state;
	read_list("europe-oslo", &list);
	assert_non_null(next);
	for (char *line; (line = strsep(&next, "\n")) && *line;) {
		bool is_listed = false;
		char *end;

		if (strncmp(line, "| `", 3) != 0 || strstr(line, "`when`"))
			continue;
		line += 3;
		end = line + strcspn(line, "`");
		assert_int_equal(*end, '`');
		*end = '\0';
		for (size_t i = 0; list.items && i < list.count; i++)
			is_listed |= strcmp(list.items[i].when, line) == 0;
		if (!is_listed)
			fail_msg("'%s' is in the manual, but has no dates", line);
		rows++;
	}
	assert_int_equal(rows, list.count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_years_in_oslo_are_as_listed),
		cmocka_unit_test(two_years_in_new_york_are_as_listed),
		cmocka_unit_test(every_schedule_of_the_manual_is_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
