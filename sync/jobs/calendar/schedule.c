/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A schedule other than "every so many hours" names readings of the clock on the wall: next_*()
 * below list them in order, and time_zone_instant() says when each of them is. That mapping never
 * decreases, so the first reading whose instant is late enough is the answer, and several
 * readings in one gap, or a reading that occurs twice, make one run.
 */
#include "sync/jobs/calendar/schedule.h"

#include "cache/base/data/hash.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#define SECONDS_PER_MINUTE 60
#define MINUTES_PER_HOUR   60
#define MINUTES_PER_DAY	   (24 * 60)
#define ALL_HOURS	   ((UINT32_C(1) << 24) - 1)
#define ANCHOR_DAY	   10957 /* 2000-01-01, counted from 1970-01-01 */

/* A 29 February that is a Sunday (29 2 and a weekday of cron) is 40 years from the next when one
 * of 2100 would lie between. */
#define SEARCH_DAYS (41 * 366)
/* A fifth weekday of its kind is at most 3 months from the next. */
#define SEARCH_MONTHS 8

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

struct date {
	int year;
	unsigned int month; /* from 1 */
	unsigned int day;   /* from 1 */
};

static struct date date_of(int64_t day)
{
	time_t seconds = (time_t)(day * SECONDS_PER_DAY);
	struct tm tm = {0};

	(void)gmtime_r(&seconds, &tm);
	return (struct date){.year = tm.tm_year + 1900,
		.month = (unsigned int)tm.tm_mon + 1,
		.day = (unsigned int)tm.tm_mday};
}

/* Days since 1970 of the first of a month, months counted from year 0. */
static int64_t first_of(int64_t month)
{
	struct tm tm = {.tm_year = (int)(month / 12) - 1900,
		.tm_mon = (int)(month % 12),
		.tm_mday = 1};

	return timegm(&tm) / SECONDS_PER_DAY;
}

static unsigned int weekday_of(int64_t day)
{
	return (unsigned int)((day % 7 + 7 + 4) % 7); /* 1970 began on a Thursday */
}

static bool cron_has_day(const struct schedule_cron *cron, int64_t day)
{
	struct date date = date_of(day);
	bool is_day = cron->days >> date.day & 1;
	bool is_weekday = cron->weekdays >> weekday_of(day) & 1;

	if (!(cron->months >> date.month & 1))
		return false;
	return cron->is_either ? is_day || is_weekday : is_day && is_weekday;
}

/* The first minute of a day, not before `minute`, that cron names; -1: none. */
static int cron_minute(const struct schedule_cron *cron, int minute)
{
	for (; minute < MINUTES_PER_DAY; minute++) {
		if (!(cron->hours >> (minute / MINUTES_PER_HOUR) & 1))
			minute += MINUTES_PER_HOUR - 1 - minute % MINUTES_PER_HOUR;
		else if (cron->minutes >> (minute % MINUTES_PER_HOUR) & 1)
			return minute;
	}
	return -1;
}

/* Each of the following finds the first reading after `local_s` that the schedule names. */

static int next_cron(const struct schedule_cron *cron, int64_t local_s, int64_t *out)
{
	int64_t minute = floor_div(local_s, SECONDS_PER_MINUTE) + 1;
	int64_t day = floor_div(minute, MINUTES_PER_DAY);
	int start = (int)(minute - day * MINUTES_PER_DAY);

	for (int64_t end = day + SEARCH_DAYS; day < end; day++, start = 0) {
		int at = cron_has_day(cron, day) ? cron_minute(cron, start) : -1;

		if (at < 0)
			continue;
		*out = day * SECONDS_PER_DAY + (int64_t)at * SECONDS_PER_MINUTE;
		return 0;
	}
	return -ERANGE;
}

static int next_days(const struct schedule *s, int64_t local_s, int64_t *out)
{
	int64_t at_s = (int64_t)s->minute * SECONDS_PER_MINUTE;
	int64_t day = floor_div(local_s - at_s, SECONDS_PER_DAY) + 1;
	int64_t step = s->every_days;

	day = ANCHOR_DAY - floor_div(ANCHOR_DAY - day, step) * step;
	*out = day * SECONDS_PER_DAY + at_s;
	return 0;
}

/* The day that the schedule names in a month, its delay not counted; false: there is none. */
static bool day_in_month(const struct schedule *s, int64_t month, int64_t *out)
{
	int64_t first = first_of(month);
	int64_t length = first_of(month + 1) - first;
	int64_t index; /* from 0 */

	if (s->month_day)
		index = s->month_day < length ? s->month_day - 1 : length - 1;
	else if (s->nth == SCHEDULE_LAST)
		index = length - 1 -
			(weekday_of(first + length - 1) + 7 - s->weekday) % 7;
	else
		index = (s->weekday + 7 - weekday_of(first)) % 7 +
			7 * ((int64_t)s->nth - 1);
	*out = first + index;
	return index < length;
}

static int next_monthly(const struct schedule *s, int64_t local_s, int64_t *out)
{
	struct date date =
		date_of(floor_div(local_s, SECONDS_PER_DAY) - (int64_t)s->delay_days);
	int64_t month = (int64_t)date.year * 12 + date.month - 1;

	for (int64_t end = month + SEARCH_MONTHS; month < end; month++) {
		int64_t day;

		if (!day_in_month(s, month, &day))
			continue;
		int64_t at = (day + s->delay_days) * SECONDS_PER_DAY +
			     (int64_t)s->minute * SECONDS_PER_MINUTE;

		if (at <= local_s)
			continue;
		*out = at;
		return 0;
	}
	return -ERANGE;
}

static int next_reading(const struct schedule *s, int64_t local_s, int64_t *out)
{
	switch (s->kind) {
	case SCHEDULE_DAYS:
		return next_days(s, local_s, out);
	case SCHEDULE_MONTHLY:
		return next_monthly(s, local_s, out);
	default:
		return next_cron(&s->cron, local_s, out);
	}
}

static int next_on_the_wall(const struct schedule *s, const struct time_zone *zone,
	int64_t after_s, int64_t *out)
{
	int64_t local_s = time_zone_local(zone, after_s);
	int64_t utc_s = after_s;

	while (utc_s <= after_s) {
		int r = next_reading(s, local_s, &local_s);

		if (r < 0)
			return r;
		utc_s = time_zone_instant(zone, local_s);
	}
	*out = utc_s;
	return 0;
}

/* Cron with every hour named asks for a rhythm: in an hour that occurs twice it goes on, in one
 * that does not occur it has nothing to make good. So it is looked for stretch by stretch, in each
 * of which the clocks run evenly. */
static int next_in_every_hour(const struct schedule *s, const struct time_zone *zone,
	int64_t after_s, int64_t *out)
{
	for (int64_t end = after_s + SEARCH_DAYS * SECONDS_PER_DAY; after_s < end;) {
		int64_t change =
			time_zone_change(zone, after_s, after_s + SECONDS_PER_DAY);
		int64_t offset = time_zone_offset(zone, after_s);
		int64_t local_s;
		int r = next_cron(&s->cron, after_s + offset, &local_s);

		if (r < 0)
			return r;
		if (local_s - offset < change) {
			*out = local_s - offset;
			return 0;
		}
		/* the first second after a change may itself be named */
		offset = time_zone_offset(zone, change);
		r = next_cron(&s->cron, change + offset - 1, &local_s);
		if (r < 0)
			return r;
		if (local_s - offset == change) {
			*out = change;
			return 0;
		}
		/* nothing is named up to there, and no clock is put back by a whole day */
		after_s = local_s - offset - 2 * SECONDS_PER_DAY;
		if (after_s < change)
			after_s = change;
	}
	return -ERANGE;
}

static int next_elapsed(const struct schedule *s, const struct time_zone *zone,
	int64_t after_s, int64_t *out)
{
	int64_t anchor = time_zone_instant(zone, ANCHOR_DAY * SECONDS_PER_DAY);

	*out = anchor + (floor_div(after_s - anchor, s->every_s) + 1) * s->every_s;
	return 0;
}

int schedule_next(const struct schedule *s, const struct time_zone *zone,
	int64_t after_ns, int64_t *out_ns)
{
	int64_t after_s = floor_div(after_ns, NS_PER_SEC);
	int64_t next_s;
	int r;

	if (s->kind == SCHEDULE_ELAPSED)
		r = next_elapsed(s, zone, after_s, &next_s);
	else if (s->kind == SCHEDULE_CRON && s->cron.hours == ALL_HOURS)
		r = next_in_every_hour(s, zone, after_s, &next_s);
	else
		r = next_on_the_wall(s, zone, after_s, &next_s);
	if (r < 0)
		return r;
	if (next_s > INT64_MAX / NS_PER_SEC || next_s < INT64_MIN / NS_PER_SEC)
		return -ERANGE;
	*out_ns = next_s * NS_PER_SEC;
	return 0;
}

int schedule_missed(const struct schedule *s, const struct time_zone *zone,
	int64_t last_ns, int64_t now_ns, int64_t *out_due_ns)
{
	int64_t due_ns;
	int r = schedule_next(s, zone, last_ns, &due_ns);

	if (r < 0)
		return r;
	if (due_ns > now_ns)
		return 0;
	*out_due_ns = due_ns;
	return 1;
}

int64_t schedule_delay_ns(
	const struct schedule *s, const char *mirror, const char *job, int64_t fire_ns)
{
	uint64_t seed = hash64(mirror, strlen(mirror), (uint64_t)fire_ns);

	if (s->splay_s <= 0)
		return 0;
	return (int64_t)(hash64(job, strlen(job), seed) %
			 (uint64_t)(s->splay_s * NS_PER_SEC + 1));
}
