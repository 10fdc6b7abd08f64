/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a mirror remembers besides content: the view that it shows, its runs, schedules, pins and
 * packages. CACHE/state.db, SQLite; the only place of a mirror that speaks it.
 *
 *	r = state_db_open(cache_path, &db);
 *	r = state_db_view_get(db, &view);		(-ENOENT: the mirror has not flipped yet)
 *	r = state_db_flip(db, &view, run, changes, count);
 *	state_db_close(db);
 *
 * The records' own functions are in the headers beside this one. Each function is one transaction
 * and on the disk when it returns (synchronous=FULL). Any thread: one connection under one lock,
 * so nothing here may be called where a reader waits. All return 0 or -errno: -ENOSPC when the
 * disk is full (nothing is changed then), -ENOENT where said, -EIO (logged) otherwise. The schema and
 * what holds of it: docs/formats/state.md.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/catalog/catalog_format.h"
#include "cache/state/change_records.h"

#include <stdint.h>

struct state_db;

/* Opens cache_path/state.db, making it if it is missing. One that is damaged, or of a version that
 * this program does not know, is set aside as state.db.damaged-TIME, and a fresh one is begun. Where
 * none can be had (a full or read-only disk) the records are kept in memory, with a warning, so that
 * the mirror starts all the same. Returns 0, -EBUSY if another process has it open, or -ENOMEM. */
int state_db_open(const char *cache_path, struct state_db **out) WARN_UNUSED;
void state_db_close(struct state_db *db);

#define STATE_WORDS_SIZE 512

/* Whether somebody has removed the file, or put another in its place: what is recorded would be lost
 * with the daemon. All of it is then written to a new one, and what lies there is kept beside it as
 * state.db.replaced-TIME; an error in the log says so. To be called now and then; closing does, too. */
void state_db_attend(struct state_db *db);

/* What state_db_attend() has found last, for the status; "" if all was well since the start. */
void state_db_words(struct state_db *db, char words[STATE_WORDS_SIZE]);

/* What the mirror shows. */
struct state_view {
	struct catalog_ref root;
	uint64_t revision;
	uint64_t sequence; /* of the head that it came from */
	int64_t time_ns;   /* when it was set */
};

/* -ENOENT if there is none. */
int state_db_view_get(struct state_db *db, struct state_view *out) WARN_UNUSED;
int state_db_view_set(struct state_db *db, const struct state_view *view) WARN_UNUSED;

/* Sets the view and writes what run `run` changes by it, in one transaction, so that whoever is
 * killed in between finds neither or both. Changes of this run that were written before are replaced. */
int state_db_flip(struct state_db *db, const struct state_view *view, int64_t run,
	const struct change_record *changes, size_t count) WARN_UNUSED;
