/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/calendar/window.h"

#include "cache/base/threads/clock.h"
#include "sync/jobs/calendar/rate.h"

#include <errno.h>
#include <string.h>

#define ALL_DAYS	   0x7f
#define DAY_MINUTES	   1440
#define SECONDS_PER_MINUTE 60

/* A week has everything, but for an hour that a change of the clocks leaves out once. */
#define SEARCH_DAYS 16

/* "20:00-06:00" */
static bool parse_hours(const char *word, struct window *w)
{
	const char *dash = strchr(word, '-');
	char start[WORD_SIZE] = "";

	if (!dash)
		return false;
	memcpy(start, word, (size_t)(dash - word));
	return word_clock(start, &w->start) && word_clock(dash + 1, &w->end) &&
	       w->start < DAY_MINUTES;
}

/* One window, up to its comma. */
static int parse_window(
	struct words *words, struct window *out, char reason[TEXT_REASON_SIZE])
{
	struct window w = {.end = DAY_MINUTES};
	bool has_hours = false;
	uint8_t days;

	for (; word_weekdays(words->word, &days); (void)words_next(words))
		w.days |= days;
	if (strchr(words->word, ':')) {
		if (!parse_hours(words->word, &w))
			return words_refuse(
				reason, "'%s': write hours as 20:00-06:00", words->word);
		if (w.start == w.end)
			return words_refuse(reason,
				"'%s' has no end: for a whole day name the day alone",
				words->word);
		has_hours = true;
		(void)words_next(words);
	}
	if (!w.days && !has_hours)
		return words_refuse(reason,
			"'%s' is neither a weekday nor hours: write mon-fri 20:00-06:00",
			words->word);
	if (!w.days)
		w.days = ALL_DAYS;
	if (words_take(words, "rate")) {
		int r = rate_parse(words->word, &w.rate, reason);

		if (r < 0)
			return r;
		(void)words_next(words);
	}
	*out = w;
	return 0;
}

int window_parse(
	const char *text, struct window_list *list, char reason[TEXT_REASON_SIZE])
{
	struct window_list windows = *list;
	struct words words;

	words_open(&words, text);
	(void)words_next(&words);
	do {
		if (windows.count == WINDOW_MAX)
			return words_refuse(reason, "more than %d windows", WINDOW_MAX);
		int r = parse_window(&words, &windows.items[windows.count], reason);

		if (r < 0)
			return r;
		windows.count++;
	} while (words_take(&words, ",") && words.word[0]);
	if (words.word[0])
		return words_refuse(reason,
			"'%s' is out of place: a window is days, hours, rate; the next "
			"one follows a comma",
			words.word);
	*list = windows;
	return 0;
}

/* A stretch of time in which one window is open, in seconds UTC. */
struct opening {
	int64_t start_s;
	int64_t end_s; /* the first second that is closed */
};

/* When a window that begins on a day is open; empty where a change of the clocks skips it. */
static struct opening opening_of(
	const struct window *w, const struct time_zone *zone, int64_t day)
{
	int64_t start_s = day * SECONDS_PER_DAY + (int64_t)w->start * SECONDS_PER_MINUTE;
	int64_t end_s = (day + (w->end <= w->start)) * SECONDS_PER_DAY +
			(int64_t)w->end * SECONDS_PER_MINUTE;

	return (struct opening){.start_s = time_zone_instant(zone, start_s),
		.end_s = time_zone_instant(zone, end_s)};
}

static bool begins_on(const struct window *w, int64_t day)
{
	return w->days >> ((day % 7 + 7 + 4) % 7) & 1; /* 1970 began on a Thursday */
}

static int64_t day_of(const struct time_zone *zone, int64_t utc_s)
{
	int64_t local_s = time_zone_local(zone, utc_s);

	return local_s / SECONDS_PER_DAY - (local_s % SECONDS_PER_DAY < 0);
}

/* The first window that is open at an instant; NULL: none. */
static const struct window *find_open(
	const struct window_list *list, const struct time_zone *zone, int64_t utc_s)
{
	int64_t today = day_of(zone, utc_s);

	for (size_t i = 0; i < list->count; i++) {
		const struct window *w = &list->items[i];

		/* clocks that are put back at midnight may show a day's end twice: look one
		 * day ahead, too */
		for (int64_t day = today - 1; day <= today + 1; day++) {
			if (!begins_on(w, day))
				continue;
			struct opening o = opening_of(w, zone, day);

			if (o.start_s <= utc_s && utc_s < o.end_s)
				return w;
		}
	}
	return NULL;
}

/* The first start or end of any window after an instant, within the next two days. */
static int64_t next_edge(
	const struct window_list *list, const struct time_zone *zone, int64_t utc_s)
{
	int64_t today = day_of(zone, utc_s);
	int64_t edge = utc_s + SECONDS_PER_DAY;

	for (size_t i = 0; i < list->count; i++) {
		for (int64_t day = today - 1; day <= today + 2; day++) {
			if (!begins_on(&list->items[i], day))
				continue;
			struct opening o = opening_of(&list->items[i], zone, day);

			if (o.start_s > utc_s && o.start_s < edge)
				edge = o.start_s;
			if (o.end_s > utc_s && o.end_s < edge)
				edge = o.end_s;
		}
	}
	return edge;
}

static bool is_alike(const struct window *a, const struct window *b)
{
	if (!a || !b)
		return a == b;
	return a->rate.kind == b->rate.kind &&
	       a->rate.bytes_per_sec == b->rate.bytes_per_sec;
}

void window_at(const struct window_list *list, const struct time_zone *zone,
	int64_t now_ns, struct window_state *out)
{
	static const struct window always = {0};
	int64_t now_s = now_ns / NS_PER_SEC;
	const struct window *now = list->count ? find_open(list, zone, now_s) : &always;
	int64_t edge = now_s;

	*out = (struct window_state){.is_open = now != NULL, .changes_ns = WINDOW_NEVER};
	if (now)
		out->rate = now->rate;
	while (list->count && edge < now_s + SEARCH_DAYS * SECONDS_PER_DAY) {
		edge = next_edge(list, zone, edge);
		if (is_alike(now, find_open(list, zone, edge)))
			continue;
		out->changes_ns = edge * NS_PER_SEC;
		return;
	}
}
