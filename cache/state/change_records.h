/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a run did to each path, and what it could not do: `changes` and `skipped` of state.db.
 *
 *	r = state_db_changes_add(db, run, changes, count);
 *	r = state_db_changes_list(db, run, after, 1000, &list);	(a page at a time)
 *	... after = list.last
 *	change_list_release(&list);
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/data/hash.h"
#include "cache/state/state_texts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_db;

/* Numbers are in the database: never change one. */
enum change_what {
	CHANGE_ADDED = 1,
	CHANGE_CHANGED = 2,
	CHANGE_REMOVED = 3,
	CHANGE_STALE = 4, /* gone on the master, kept here */
	CHANGE_REPAIRED =
		5, /* its content was damaged here, and was removed or fetched again */
	CHANGE_EVICTED = 6,
	CHANGE_PINNED = 7,
	CHANGE_UNPINNED = 8,
	CHANGE_REVIVED = 9, /* was stale; the master has it again, and alike */
};

/* "added", ...; "?" for a number that is none. */
const char *change_what_text(enum change_what what);

struct change_side {
	bool is_set; /* false: the path was not there, or has no content */
	struct digest digest;
	uint64_t bytes;
};

struct change_record {
	const char *path; /* from the tree's root; bytes, not necessarily UTF-8 */
	enum change_what what;
	struct change_side before;
	struct change_side after;
};

/* Appends to the run's changes, all or none. 100,000 of them take some tenths of a second. */
int state_db_changes_add(struct state_db *db, int64_t run,
	const struct change_record *changes, size_t count) WARN_UNUSED;

struct change_list {
	struct change_record *items;
	size_t count;
	struct state_texts texts;
	int64_t last; /* the position of the last item: where the next page begins */
};

/* At most `max` changes of the run behind position `after` (0: from the start), in the order in which
 * they were added; none: the end. */
int state_db_changes_list(struct state_db *db, int64_t run, int64_t after, size_t max,
	struct change_list *out) WARN_UNUSED;
void change_list_release(struct change_list *list);

struct skipped_record {
	const char *path;
	const char *reason;
};

struct skipped_list {
	struct skipped_record *items;
	size_t count;
	struct state_texts texts;
	int64_t last;
};

/* As for changes. */
int state_db_skipped_add(struct state_db *db, int64_t run,
	const struct skipped_record *skipped, size_t count) WARN_UNUSED;
int state_db_skipped_list(struct state_db *db, int64_t run, int64_t after, size_t max,
	struct skipped_list *out) WARN_UNUSED;
void skipped_list_release(struct skipped_list *list);
