/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/calendar/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_DIGITS 9
#define DAY_MINUTES   (24 * 60)

void words_open(struct words *words, const char *text)
{
	words->next = text;
	words->word[0] = '\0';
}

bool words_next(struct words *words)
{
	const char *p = words->next;
	size_t len = 0;

	while (isspace((unsigned char)*p))
		p++;
	while (*p && !isspace((unsigned char)*p)) {
		bool is_alone = *p == ',' || *p == '+';

		if (is_alone && len)
			break;
		if (len < WORD_SIZE - 1)
			words->word[len] = (char)tolower((unsigned char)*p);
		len++;
		p++;
		if (is_alone)
			break;
	}
	words->word[len < WORD_SIZE - 1 ? len : WORD_SIZE - 1] = '\0';
	words->next = p;
	return len > 0;
}

bool words_take(struct words *words, const char *word)
{
	if (strcmp(words->word, word) != 0)
		return false;
	(void)words_next(words);
	return true;
}

int words_refuse(char reason[TEXT_REASON_SIZE], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(reason, TEXT_REASON_SIZE, fmt, args);
	va_end(args);
	return -EINVAL;
}

/* Digits from `*p` on; moves behind them. */
static bool read_digits(const char **p, size_t max, uint32_t *out)
{
	uint32_t n = 0;
	size_t len = 0;

	for (; isdigit((unsigned char)**p); (*p)++) {
		if (++len > max)
			return false;
		n = n * 10 + (uint32_t)(**p - '0');
	}
	if (!len)
		return false;
	*out = n;
	return true;
}

bool word_number(const char *word, uint32_t *out)
{
	uint32_t n;

	if (!read_digits(&word, NUMBER_DIGITS, &n) || *word)
		return false;
	*out = n;
	return true;
}

/* The index of a name given in full or by its first three letters. */
static bool find_name(
	const char *const *names, size_t count, const char *word, unsigned int *out)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(word, names[i]) != 0 &&
			(strlen(word) != 3 || strncmp(word, names[i], 3) != 0))
			continue;
		*out = (unsigned int)i;
		return true;
	}
	return false;
}

bool word_weekday(const char *word, unsigned int *out)
{
	static const char *const names[] = {"sunday", "monday", "tuesday", "wednesday",
		"thursday", "friday", "saturday"};

	return find_name(names, ARRAY_SIZE(names), word, out);
}

bool word_month(const char *word, unsigned int *out)
{
	static const char *const names[] = {"january", "february", "march", "april",
		"may", "june", "july", "august", "september", "october", "november",
		"december"};
	unsigned int index;

	if (!find_name(names, ARRAY_SIZE(names), word, &index))
		return false;
	*out = index + 1;
	return true;
}

bool word_weekdays(const char *word, uint8_t *out)
{
	char first_name[WORD_SIZE];
	const char *dash = strchr(word, '-');
	unsigned int first;
	unsigned int last;
	uint8_t days = 0;

	(void)snprintf(first_name, sizeof(first_name), "%.*s",
		(int)(dash ? dash - word : WORD_SIZE - 1), word);
	if (!word_weekday(first_name, &first))
		return false;
	last = first;
	if (dash && !word_weekday(dash + 1, &last))
		return false;
	for (unsigned int day = first;; day = (day + 1) % 7) {
		days |= (uint8_t)(1U << day);
		if (day == last)
			break;
	}
	*out = days;
	return true;
}

bool word_clock(const char *word, unsigned int *out)
{
	uint32_t hours;
	uint32_t minutes;

	if (!read_digits(&word, 2, &hours) || *word++ != ':' || strlen(word) != 2 ||
		!read_digits(&word, 2, &minutes) || *word || minutes > 59 ||
		hours * 60 + minutes > DAY_MINUTES)
		return false;
	*out = hours * 60 + minutes;
	return true;
}

bool word_unit(const char *word, int64_t *out_s)
{
	static const struct {
		const char *name;
		int64_t seconds;
	} units[] = {
		{"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", SECONDS_PER_DAY}};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		size_t len = strlen(units[i].name);

		if (strncmp(word, units[i].name, len) != 0 ||
			(word[len] && strcmp(word + len, "s") != 0))
			continue;
		*out_s = units[i].seconds;
		return true;
	}
	return false;
}
