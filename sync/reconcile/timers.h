/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The schedules of a mirror and when each begins next. They stand in the state database, whoever
 * made them; this is what of them is needed to wait.
 *
 *	timers_init(&timers, db, mirror);
 *	r = timers_adopt(&timers, SCHEDULE_BY_FILE, &policy, labels, label_count);	(the file's replace the file's)
 *	r = timers_load(&timers);
 *	wake_ns = timers_next_ns(&timers);
 *	while ((timer = timers_due(&timers, now_ns))) {
 *		... queue a run for timer->record ...
 *		timers_ran(&timers, timer, now_ns);
 *	}
 *	timers_release(&timers);
 *
 * Not thread-safe: its owner's lock.
 */
#pragma once

#include "cache/state/schedule_records.h"
#include "sync/jobs/calendar/schedule.h"
#include "sync/jobs/policy/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMER_NEVER INT64_MAX

struct timer {
	const struct schedule_record *record;
	struct schedule schedule;
	struct time_zone *zone;
	int64_t fire_ns;  /* real time; TIMER_NEVER: disabled, or never again */
	int64_t begin_ns; /* fire_ns and the splay's delay */
	bool is_ahead;	  /* the clock was put back behind the time it ran last */
	char error[TEXT_REASON_SIZE]; /* why it cannot run; "" */
};

struct timers {
	struct state_db *db;
	const char *mirror; /* makes the splay this mirror's own */
	struct schedule_list records;
	struct timer *items;
	size_t count;
};

/* Borrows both. */
void timers_init(struct timers *timers, struct state_db *db, const char *mirror);
void timers_release(struct timers *timers);

/* Writes the schedules of `policy` that are for these labels to the database as `origin`'s, in
 * place of those it had; who was disabled stays so, and what ran stays known. A name that another
 * origin has is left to it, with a warning. 0 or -errno. */
int timers_adopt(struct timers *timers, enum schedule_origin origin,
	const struct policy *policy, char *const *labels, size_t label_count) WARN_UNUSED;

/* Reads the database and tells for each when it begins next. What was missed while nothing
 * ran is due at once, once. 0 or -errno. */
int timers_load(struct timers *timers) WARN_UNUSED;

/* The earliest beginning, TIMER_NEVER if there is none. */
int64_t timers_next_ns(const struct timers *timers);

/* One whose time has come, NULL if there is none. */
struct timer *timers_due(struct timers *timers, int64_t now_ns);

/* It was seen to: notes that, and when it begins next. */
void timers_ran(struct timers *timers, struct timer *timer, int64_t now_ns);

/* It could not be: due again after a while. */
void timers_postpone(struct timers *timers, struct timer *timer, int64_t now_ns);

/* Whoever seems to have run more than a day from now ran by a clock that was put back since, and would
 * wait until it has come so far again: counts from now, as long as the clock says so. */
void timers_check_clock(struct timers *timers, int64_t now_ns);

/* The schedule of this name; NULL if there is none. */
const struct schedule_record *timers_find(const struct timers *timers, const char *name);

/* Whether there is any: one that is disabled says as well that somebody plans. */
bool timers_any(const struct timers *timers);
