/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The words that texts about time and rates share: weekdays, months, clock times, lengths of
 * time. Private to sync/jobs.
 *
 *	struct words words;
 *	words_open(&words, "second tuesday + 4 days");
 *	while (words_next(&words))
 *		... words.word
 *
 * All readers refuse with false and touch nothing. Any thread.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What parsers say about a mistake fits in here. */
#define TEXT_REASON_SIZE 200
#define WORD_SIZE	 48

#define SECONDS_PER_DAY INT64_C(86400)

struct words {
	const char *next;
	char word
		[WORD_SIZE]; /* in small letters; longer ones are cut, and match nothing */
};

/* Borrows `text`. */
void words_open(struct words *words, const char *text);

/* Moves to the next word; "," and "+" are words. False at the end, with an empty word. */
bool words_next(struct words *words);

/* True, and moves on, if the current word is this one. */
bool words_take(struct words *words, const char *word);

/* Always -EINVAL, with the reason written. */
int words_refuse(char reason[TEXT_REASON_SIZE], const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A number of at most nine digits, nothing else. */
bool word_number(const char *word, uint32_t *out);

/* "sun" or "sunday" is 0; "jan" or "january" is 1. */
bool word_weekday(const char *word, unsigned int *out);
bool word_month(const char *word, unsigned int *out);

/* "tue" or "mon-fri" or "fri-mon", as a set: bit 0 is Sunday. */
bool word_weekdays(const char *word, uint8_t *out);

/* "20:00": minutes since midnight, up to 24:00. */
bool word_clock(const char *word, unsigned int *out);

/* "minute", "hours", "day": in seconds. */
bool word_unit(const char *word, int64_t *out_s);
