/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * When a job runs: "daily at 02:00", "second tuesday + 4 days at 02:00", "every 6 hours",
 * "0 2 * * mon-fri". What each form means, and what becomes of it on the days on which clocks
 * change, stands in docs/schedules.md. Pure: nothing here reads a clock.
 *
 *	r = schedule_parse("daily at 02:00", &schedule, reason);
 *	r = schedule_set_zone(&schedule, "Europe/Oslo", reason);	optional
 *	r = schedule_set_splay(&schedule, "30 minutes", reason);	optional
 *	r = time_zone_open(schedule.zone, &zone);
 *	r = schedule_next(&schedule, zone, clock_real_ns(), &fire_ns);
 *	begin_ns = fire_ns + schedule_delay_ns(&schedule, mirror_id, job, fire_ns);
 *
 * Any thread.
 */
#pragma once

#include "sync/jobs/calendar/time_zone.h"
#include "sync/jobs/calendar/words.h"

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_DELAY_DAYS_MAX 31
#define SCHEDULE_EVERY_DAYS_MAX 366
#define SCHEDULE_SPLAY_MAX_S	SECONDS_PER_DAY
#define SCHEDULE_LAST		255 /* the month's last day, or its last such weekday */

/* Sets of numbers: bit n is n. */
struct schedule_cron {
	uint64_t minutes;
	uint32_t hours;
	uint32_t days;	  /* of the month */
	uint16_t months;  /* bits 1 to 12 */
	uint8_t weekdays; /* bit 0 is Sunday */
	bool is_either;	  /* a day that one of days and weekdays names will do */
};

struct schedule {
	enum {
		SCHEDULE_CRON,	  /* by minute, hour and day: hourly, daily, weekly too */
		SCHEDULE_ELAPSED, /* every so many seconds, whatever the clocks do */
		SCHEDULE_DAYS,	  /* every so many days at a time of day */
		SCHEDULE_MONTHLY, /* a day of the month, and some days after it */
	} kind;
	char zone[TIME_ZONE_NAME_SIZE]; /* "": the machine's own */
	int64_t splay_s;		/* a run begins up to so much later */

	struct schedule_cron cron;
	int64_t every_s;	 /* SCHEDULE_ELAPSED */
	uint32_t every_days;	 /* SCHEDULE_DAYS */
	unsigned int month_day;	 /* SCHEDULE_MONTHLY: 1 to 31, SCHEDULE_LAST, or 0: */
	unsigned int nth;	 /* 1 to 5 or SCHEDULE_LAST, of ... */
	unsigned int weekday;	 /* ... these */
	unsigned int delay_days; /* after that day */
	unsigned int minute;	 /* of the day: SCHEDULE_DAYS and SCHEDULE_MONTHLY */
};

/* Reads a schedule's text; zone and splay are not in it and come out empty. Returns 0, or
 * -EINVAL with the reason in words for the admin. */
int schedule_parse(const char *text, struct schedule *out,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* The five fields of cron: schedule_parse() calls it for a text that begins with no letter. */
int schedule_parse_cron(const char *text, struct schedule *out,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* A zone that this machine knows; "local" is its own. Errors as above. */
int schedule_set_zone(struct schedule *schedule, const char *text,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* "30 minutes", up to a day. Errors as above. */
int schedule_set_splay(struct schedule *schedule, const char *text,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* The first time after `after_ns` (strictly). `zone` is the schedule's. -ERANGE when none can
 * be told in 64 bits. */
int schedule_next(const struct schedule *schedule, const struct time_zone *zone,
	int64_t after_ns, int64_t *out_ns) WARN_UNUSED;

/* What to catch up with: 1 when the job should have run after `last_ns` and not after
 * `now_ns`, and the first such time, however many there were; 0 when not; -ERANGE. One run
 * makes good for all of them: the next is schedule_next() after now. */
int schedule_missed(const struct schedule *schedule, const struct time_zone *zone,
	int64_t last_ns, int64_t now_ns, int64_t *out_due_ns) WARN_UNUSED;

/* How much later than `fire_ns` this run begins: from 0 to the splay, always the same for the
 * same mirror, job and time, and evenly spread over mirrors and over times. */
int64_t schedule_delay_ns(const struct schedule *schedule, const char *mirror,
	const char *job, int64_t fire_ns);
