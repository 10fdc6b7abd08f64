/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The words admins use for schedules; cron's fields are in schedule_cron.c. */
#include "sync/jobs/calendar/schedule.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define ALL_HOURS      ((UINT32_C(1) << 24) - 1)
#define ALL_DAYS       (UINT32_MAX - 1)
#define ALL_MONTHS     0x1ffe
#define ALL_WEEKDAYS   0x7f
#define DAY_MINUTES    (24 * 60)
#define SECONDS_MINUTE 60

/* What a parser of one form works on. */
struct form {
	struct words words;
	struct schedule *schedule;
	char *reason;
};

/* "at 02:00", or nothing: midnight. */
static int parse_at(struct form *f, unsigned int *out_minute)
{
	unsigned int minute;

	*out_minute = 0;
	if (!words_take(&f->words, "at"))
		return 0;
	if (!word_clock(f->words.word, &minute) || minute == DAY_MINUTES)
		return words_refuse(f->reason,
			"'%s' is no time of day: write 00:00 to 23:59", f->words.word);
	(void)words_next(&f->words);
	*out_minute = minute;
	return 0;
}

static int parse_minute_of_cron(struct form *f)
{
	unsigned int minute;
	int r = parse_at(f, &minute);

	f->schedule->cron.hours = UINT32_C(1) << (minute / 60);
	f->schedule->cron.minutes = UINT64_C(1) << (minute % 60);
	return r;
}

static int parse_hourly(struct form *f)
{
	f->schedule->cron.hours = ALL_HOURS;
	f->schedule->cron.minutes = 1;
	return 0;
}

static int parse_daily(struct form *f)
{
	return parse_minute_of_cron(f);
}

static int parse_weekly(struct form *f)
{
	uint8_t days = 0;
	uint8_t more;

	if (!words_take(&f->words, "on"))
		return words_refuse(
			f->reason, "say on which day: weekly on sunday at 04:00");
	do {
		if (!word_weekdays(f->words.word, &more))
			return words_refuse(
				f->reason, "'%s' is no weekday", f->words.word);
		days |= more;
		(void)words_next(&f->words);
	} while (words_take(&f->words, ","));
	f->schedule->cron.weekdays = days;
	return parse_minute_of_cron(f);
}

static int parse_every(struct form *f)
{
	struct schedule *s = f->schedule;
	uint32_t count = 1;
	int64_t unit_s;

	if (word_number(f->words.word, &count))
		(void)words_next(&f->words);
	if (!word_unit(f->words.word, &unit_s) || unit_s < SECONDS_MINUTE)
		return words_refuse(f->reason,
			"'%s' is no unit of 'every': write minutes, hours or days",
			f->words.word);
	(void)words_next(&f->words);
	if (!count || (int64_t)count * unit_s > SCHEDULE_EVERY_DAYS_MAX * SECONDS_PER_DAY)
		return words_refuse(f->reason, "'every' takes 1 minute to %d days",
			SCHEDULE_EVERY_DAYS_MAX);
	if (unit_s < SECONDS_PER_DAY) {
		s->kind = SCHEDULE_ELAPSED;
		s->every_s = count * unit_s;
		return 0;
	}
	s->kind = SCHEDULE_DAYS;
	s->every_days = count;
	return parse_at(f, &s->minute);
}

/* "+ 4 days at 02:00", each part optional. */
static int parse_delay_and_time(struct form *f)
{
	struct schedule *s = f->schedule;
	uint32_t days;

	s->kind = SCHEDULE_MONTHLY;
	if (words_take(&f->words, "+")) {
		if (!word_number(f->words.word, &days) || days > SCHEDULE_DELAY_DAYS_MAX)
			return words_refuse(f->reason, "'+ %s': a delay is 0 to %d days",
				f->words.word, SCHEDULE_DELAY_DAYS_MAX);
		s->delay_days = days;
		(void)words_next(&f->words);
		if (!words_take(&f->words, "days") && !words_take(&f->words, "day"))
			return words_refuse(
				f->reason, "a delay is counted in days: + %u days", days);
	}
	return parse_at(f, &s->minute);
}

static int parse_monthly(struct form *f)
{
	uint32_t day;

	if (!words_take(&f->words, "on"))
		return words_refuse(f->reason, "say on which day: monthly on 1 at 03:30");
	if (strcmp(f->words.word, "last") == 0)
		day = SCHEDULE_LAST;
	else if (!word_number(f->words.word, &day) || day < 1 || day > 31)
		return words_refuse(f->reason,
			"'%s' is no day of a month: write 1 to 31 or last",
			f->words.word);
	f->schedule->month_day = day;
	(void)words_next(&f->words);
	return parse_delay_and_time(f);
}

static int parse_nth(struct form *f, unsigned int nth)
{
	if (!word_weekday(f->words.word, &f->schedule->weekday))
		return words_refuse(f->reason, "'%s' is no weekday", f->words.word);
	f->schedule->nth = nth;
	(void)words_next(&f->words);
	return parse_delay_and_time(f);
}

static int parse_form(struct form *f)
{
	static const struct {
		const char *word;
		int (*parse)(struct form *f);
	} forms[] = {{"hourly", parse_hourly}, {"daily", parse_daily},
		{"weekly", parse_weekly}, {"every", parse_every},
		{"monthly", parse_monthly}};
	static const struct {
		const char *word;
		unsigned int nth;
	} counts[] = {{"first", 1}, {"second", 2}, {"third", 3}, {"fourth", 4},
		{"fifth", 5}, {"last", SCHEDULE_LAST}};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (words_take(&f->words, forms[i].word))
			return forms[i].parse(f);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		if (words_take(&f->words, counts[i].word))
			return parse_nth(f, counts[i].nth);
	return words_refuse(f->reason,
		"'%s' begins no schedule: write hourly, daily, weekly, monthly, every, "
		"first to fifth, last, or the five fields of cron",
		f->words.word);
}

int schedule_parse(const char *text, struct schedule *out, char reason[TEXT_REASON_SIZE])
{
	struct schedule schedule = {.kind = SCHEDULE_CRON,
		.cron = {.days = ALL_DAYS,
			.months = ALL_MONTHS,
			.weekdays = ALL_WEEKDAYS}};
	struct form f = {.schedule = &schedule, .reason = reason};

	words_open(&f.words, text);
	if (!words_next(&f.words))
		return words_refuse(reason, "the schedule is empty");
	if (!isalpha((unsigned char)f.words.word[0]))
		return schedule_parse_cron(text, out, reason);
	int r = parse_form(&f);

	if (r == 0 && f.words.word[0])
		r = words_refuse(reason, "'%s' is one word too many", f.words.word);
	if (r == 0)
		*out = schedule;
	return r;
}

int schedule_set_zone(
	struct schedule *schedule, const char *text, char reason[TEXT_REASON_SIZE])
{
	const char *name = strcmp(text, "local") == 0 ? "" : text;
	AUTO_TIME_ZONE struct time_zone *zone = NULL;
	int r = *text ? time_zone_open(name, &zone) : -EINVAL;

	if (r == -EINVAL || (r == -ENOENT && *name))
		return words_refuse(reason,
			"'%s' is no time zone of this machine: write one as "
			"Europe/Oslo, or local; zones come with the package tzdata",
			text);
	if (r < 0)
		return r;
	memcpy(schedule->zone, name, strlen(name) + 1);
	return 0;
}

int schedule_set_splay(
	struct schedule *schedule, const char *text, char reason[TEXT_REASON_SIZE])
{
	struct words words;
	uint32_t count;
	int64_t unit_s;
	bool is_right;

	words_open(&words, text);
	is_right = words_next(&words) && word_number(words.word, &count) &&
		   words_next(&words) && word_unit(words.word, &unit_s) &&
		   !words_next(&words);
	if (!is_right || count * unit_s > SCHEDULE_SPLAY_MAX_S)
		return words_refuse(reason,
			"'%s' is no splay: write a length of time up to 1 day, as 30 "
			"minutes",
			text);
	schedule->splay_s = count * unit_s;
	return 0;
}
