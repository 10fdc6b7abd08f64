/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Schedules that a mirror knows, whoever made them: `schedules` of state.db. The fields are texts as
 * the admin wrote them; who reads them is sync/jobs/.
 *
 *	r = state_db_schedule_put(db, &schedule);
 *	r = state_db_schedules_list(db, &list);
 *	schedule_list_release(&list);
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/state/state_texts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_db;

/* The numbers are in the database: never change one. */
enum schedule_origin {
	SCHEDULE_BY_COMMAND = 1,
	SCHEDULE_BY_POLICY = 2, /* the master's */
	SCHEDULE_BY_FILE = 3,	/* this machine's configuration */
};

/* "command", "policy" or "file"; "?" for a number that is none. */
const char *schedule_origin_text(enum schedule_origin origin);

/* Texts are borrowed: from the caller in what is given (NULL is as ""), from the list in what it
 * brings. */
struct schedule_record {
	const char *name; /* unique */
	const char *when;
	const char *zone;
	const char *splay;
	const char *mode;
	const char *packages; /* globs, one a line */
	const char *prefetch;
	const char *rate;
	enum schedule_origin origin;
	bool is_enabled;
	int64_t last_run_ns; /* the fire time handled last; 0: none yet */
	int64_t created_ns;
};

struct schedule_list {
	struct schedule_record *items; /* by name */
	size_t count;
	struct state_texts texts;
};

/* Writes all of it, in place of one of that name. */
int state_db_schedule_put(
	struct state_db *db, const struct schedule_record *schedule) WARN_UNUSED;

/* The next three: -ENOENT if there is none of this name. */
int state_db_schedule_remove(struct state_db *db, const char *name) WARN_UNUSED;
int state_db_schedule_enable(
	struct state_db *db, const char *name, bool is_enabled) WARN_UNUSED;
int state_db_schedule_ran(
	struct state_db *db, const char *name, int64_t last_run_ns) WARN_UNUSED;

int state_db_schedules_list(struct state_db *db, struct schedule_list *out) WARN_UNUSED;
void schedule_list_release(struct schedule_list *list);
