/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The history of runs: `runs` of state.db.
 *
 *	struct run_record run = {.job = "nightly", .trigger = RUN_BY_SCHEDULE, ...};
 *	r = state_db_run_add(db, &run, &id);
 *	run.state = RUN_RUNNING; ...
 *	r = state_db_run_update(db, &run);
 *	r = state_db_runs_list(db, 0, 20, &list);	(newest first)
 *	run_list_release(&list);
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/state/state_texts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_db;

/* The numbers of both are in the database: never change one. */
enum run_trigger {
	RUN_BY_HAND = 1,
	RUN_BY_SCHEDULE = 2,
	RUN_BY_CHANGE = 3,
	RUN_BY_RESUME = 4
};

enum run_state {
	RUN_QUEUED = 1,
	RUN_RUNNING = 2,
	RUN_DONE = 3,
	RUN_FAILED = 4,
	RUN_STOPPED = 5,   /* by the guard or a hook, before anything was changed */
	RUN_CANCELLED = 6, /* by the admin */
};

/* "now", "schedule", ...; "queued", ...; "?" for a number that is none. */
const char *run_trigger_text(enum run_trigger trigger);
const char *run_state_text(enum run_state state);

/* True for those that have an end. */
bool run_state_is_over(enum run_state state);

struct run_counts {
	uint64_t bytes_fetched;
	uint64_t bytes_reused; /* copied from what was here instead */
	uint64_t added;
	uint64_t changed;
	uint64_t removed;
	uint64_t kept_stale;
	uint64_t skipped;
	uint64_t errors;
};

/* Texts are borrowed: from the caller in what is given (NULL is as ""), from the list in what it
 * brings. */
struct run_record {
	int64_t id; /* never used twice */
	const char *job;
	const char *selection; /* globs, one a line; "" for everything */
	const char *prefetch;  /* policy: none, cached, all or globs */
	const char *message;   /* why it ended as it did */
	enum run_trigger trigger;
	enum run_state state;
	bool is_full;
	bool is_dry;
	bool is_deep;
	bool is_delete_allowed;
	bool is_post_owed; /* pre_sync was started, and post_sync has not been run yet */
	int64_t queued_ns; /* real time, as the next two; 0: not yet */
	int64_t start_ns;
	int64_t end_ns;
	uint64_t revision_before;
	uint64_t revision_after;
	struct run_counts counts;
};

struct run_list {
	struct run_record *items;
	size_t count;
	struct state_texts texts;
};

/* Writes a new run; its `id` is given back, not read. */
int state_db_run_add(
	struct state_db *db, const struct run_record *run, int64_t *out_id) WARN_UNUSED;

/* Writes all of run->id anew. -ENOENT if there is none. */
int state_db_run_update(struct state_db *db, const struct run_record *run) WARN_UNUSED;

/* At most `max` runs, newest first, from below id `before` (0: the newest). */
int state_db_runs_list(struct state_db *db, int64_t before, size_t max,
	struct run_list *out) WARN_UNUSED;

/* One run as a list of one. -ENOENT if there is none. */
int state_db_run_find(struct state_db *db, int64_t id, struct run_list *out) WARN_UNUSED;

/* Those queued or running, oldest first: after a start, what a kill interrupted. */
int state_db_runs_unfinished(struct state_db *db, struct run_list *out) WARN_UNUSED;
void run_list_release(struct run_list *list);

/* What the history keeps. */
#define STATE_KEEP_NS	   (INT64_C(400) * 86400 * 1000000000)
#define STATE_KEEP_RUNS	   1000
#define STATE_KEEP_CHANGES 2000000

/* Forgets runs that ended more than STATE_KEEP_NS before `now_ns` and those beyond the newest
 * STATE_KEEP_RUNS, with their changes; beyond STATE_KEEP_CHANGES changes, the oldest runs' changes
 * (but not the newest run's). Those queued or running stay. */
int state_db_rotate(struct state_db *db, int64_t now_ns) WARN_UNUSED;
