/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The five fields of crontab(5), as Vixie's cron reads them. */
#include "sync/jobs/calendar/schedule.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define FIELDS 5

enum field { MINUTE, HOUR, DAY, MONTH, WEEKDAY };

static const struct {
	const char *name;
	unsigned int low;
	unsigned int high;
	bool (*by_name)(const char *word, unsigned int *out);
} fields[FIELDS] = {
	[MINUTE] = {"minute", 0, 59, NULL},
	[HOUR] = {"hour", 0, 23, NULL},
	[DAY] = {"day of the month", 1, 31, NULL},
	[MONTH] = {"month", 1, 12, word_month},
	[WEEKDAY] = {"weekday", 0, 7, word_weekday}, /* 0 and 7 are Sunday */
};

static bool parse_value(enum field field, const char *text, unsigned int *out)
{
	uint32_t n;

	if (fields[field].by_name && fields[field].by_name(text, out))
		return true;
	if (!word_number(text, &n) || n < fields[field].low || n > fields[field].high)
		return false;
	*out = n;
	return true;
}

/* "a", "a-b"; cuts the text. */
static bool parse_range(
	enum field field, char *text, unsigned int *out_first, unsigned int *out_last)
{
	char *dash = strchr(text, '-');

	if (dash)
		*dash++ = '\0';
	if (!parse_value(field, text, out_first))
		return false;
	*out_last = *out_first;
	if (dash && !parse_value(field, dash, out_last))
		return false;
	/* a week may end on Sunday, too: fri-sun */
	if (field == WEEKDAY && dash && *out_last == 0)
		*out_last = 7;
	return *out_first <= *out_last;
}

/* One part of a list: "*", "a", "a-b", the first and the last of them with "/step". */
static int parse_part(
	enum field field, const char *part, uint64_t *set, char reason[TEXT_REASON_SIZE])
{
	unsigned int first = fields[field].low;
	unsigned int last = fields[field].high;
	uint32_t step = 1;
	char text[WORD_SIZE];

	memcpy(text, part, strlen(part) + 1);
	char *slash = strchr(text, '/');

	if (slash) {
		*slash++ = '\0';
		if (!word_number(slash, &step) || step == 0 || step > fields[field].high)
			return words_refuse(reason, "'%s': '%s' is no step of the %s",
				part, slash, fields[field].name);
		if (strcmp(text, "*") != 0 && !strchr(text, '-'))
			return words_refuse(reason,
				"'%s': a step follows '*' or a range, as in 0-30/5",
				part);
	}
	if (strcmp(text, "*") != 0 && !parse_range(field, text, &first, &last))
		return words_refuse(reason,
			"'%s' is no %s: write %u to %u, ranges and lists of them, or *",
			part, fields[field].name, fields[field].low, fields[field].high);
	for (; first <= last; first += step)
		*set |= UINT64_C(1) << first;
	return 0;
}

/* A list, from the current word to the last that a comma joins on. */
static int parse_field(enum field field, struct words *words, uint64_t *set,
	bool *out_is_star, char reason[TEXT_REASON_SIZE])
{
	*set = 0;
	*out_is_star = words->word[0] == '*';
	for (;;) {
		if (!words->word[0])
			return words_refuse(reason,
				"cron wants five fields: the %s is missing",
				fields[field].name);
		int r = parse_part(field, words->word, set, reason);

		if (r < 0)
			return r;
		bool is_list = *words->next == ',';

		(void)words_next(words);
		if (!is_list)
			return 0;
		/* a blank behind the comma would begin the next field */
		if (isspace((unsigned char)*words->next))
			words->word[0] = '\0';
		else
			(void)words_next(words);
	}
}

/* 30 February and the like. */
static bool has_some_day(const struct schedule_cron *cron)
{
	static const unsigned int lengths[] = {
		0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (cron->is_either)
		return true;
	for (unsigned int month = 1; month <= 12; month++)
		for (unsigned int day = 1; day <= lengths[month]; day++)
			if ((cron->months >> month & 1) && (cron->days >> day & 1))
				return true;
	return false;
}

int schedule_parse_cron(
	const char *text, struct schedule *out, char reason[TEXT_REASON_SIZE])
{
	struct schedule schedule = {.kind = SCHEDULE_CRON};
	struct words words;
	uint64_t sets[FIELDS];
	bool is_star[FIELDS];

	words_open(&words, text);
	(void)words_next(&words);
	for (enum field field = MINUTE; field <= WEEKDAY; field++) {
		int r = parse_field(field, &words, &sets[field], &is_star[field], reason);

		if (r < 0)
			return r;
	}
	if (words.word[0])
		return words_refuse(
			reason, "'%s' is one field too many: cron has five", words.word);
	schedule.cron = (struct schedule_cron){.minutes = sets[MINUTE],
		.hours = (uint32_t)sets[HOUR],
		.days = (uint32_t)sets[DAY],
		.months = (uint16_t)sets[MONTH],
		.weekdays = (uint8_t)((sets[WEEKDAY] | sets[WEEKDAY] >> 7) & 0x7f),
		.is_either = !is_star[DAY] && !is_star[WEEKDAY]};
	if (!has_some_day(&schedule.cron))
		return words_refuse(
			reason, "'%s': there is no such day in any year", text);
	*out = schedule;
	return 0;
}
