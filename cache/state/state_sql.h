/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The connection that the records of cache/state/ share, and the few ways in which they speak SQL.
 * Not for others.
 *
 *	mutex_lock(&db->lock);
 *	int r = state_take(db, "DELETE FROM pins WHERE path = ?1", &st);
 *	if (r == 0) {
 *		state_bind_path(st, 1, path);
 *		r = state_run(db, st);
 *	}
 *	mutex_unlock(&db->lock);
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/state/state_db.h"

#include <sqlite3.h>
#include <stdbool.h>

#define STATE_STATEMENTS_MAX 48

struct state_statement {
	const char *text; /* static */
	sqlite3_stmt *st;
};

struct state_db {
	struct mutex lock; /* guards all that follows but the path */
	char *path;	   /* of state.db, absolute */
	sqlite3 *sql;
	bool is_damaged; /* found so while in use: replaced before the next statement */
	char words[STATE_WORDS_SIZE]; /* what became of the file; "" */
	bool has_view;
	struct state_view
		view; /* as it was read or set last: survives such a replacement */
	size_t statement_count;
	struct state_statement statements[STATE_STATEMENTS_MAX];
};

/* The statement of this text (static), prepared once and ready to bind. The caller runs or resets it. */
int state_take(struct state_db *db, const char *text, sqlite3_stmt **out)
	REQUIRES(db->lock) WARN_UNUSED;

/* For statements without a result; resets. */
int state_run(struct state_db *db, sqlite3_stmt *st) REQUIRES(db->lock) WARN_UNUSED;

/* As state_run(), -ENOENT if it touched no row. */
int state_run_hit(struct state_db *db, sqlite3_stmt *st) REQUIRES(db->lock) WARN_UNUSED;

/* The next row: 0, or -ENOENT at the end. The caller resets when it is through. */
int state_step(struct state_db *db, sqlite3_stmt *st) REQUIRES(db->lock) WARN_UNUSED;

/* One transaction: state_end() commits if `r` is 0 and rolls back otherwise, and returns what came
 * of it. */
int state_begin(struct state_db *db) REQUIRES(db->lock) WARN_UNUSED;
int state_end(struct state_db *db, int r) REQUIRES(db->lock) WARN_UNUSED;

/* Logs the failure and returns what it is. */
int state_error(struct state_db *db) REQUIRES(db->lock);

/* Texts and paths are borrowed until the statement is reset. Paths are blobs: they are bytes. */
void state_bind_text(sqlite3_stmt *st, int at, const char *text);
void state_bind_path(sqlite3_stmt *st, int at, const char *path);

/* A copy of the column that `texts` owns. 0 or -ENOMEM. */
int state_keep_text(struct state_texts *texts, sqlite3_stmt *st, int column,
	const char **out) WARN_UNUSED;

/* Writes the changes behind those that the run has; inside a transaction. */
int state_changes_add_locked(struct state_db *db, int64_t run,
	const struct change_record *changes, size_t count) REQUIRES(db->lock) WARN_UNUSED;

/* For state_db.c and state_attend.c: */

/* Sets db->sql: the file, a fresh one, or memory. 0 or -errno (logged). */
int state_connect(struct state_db *db) REQUIRES(db->lock) WARN_UNUSED;
void state_disconnect(struct state_db *db) REQUIRES(db->lock);

/* Makes the file, or gives it its mode. It names what lies in directories that not everybody may read;
 * SQLite would make it by the umask, and gives its log the file's own mode. */
void state_keep_private(const char *path);

/* Moves the file and its log away, as PATH.KIND-TIME. The log goes along: it belongs to this file and
 * to no other. 0 or -errno. */
int state_move_away(const char *path, const char *kind, const char *time) WARN_UNUSED;
