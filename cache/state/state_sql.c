/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/state/state_sql.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <string.h>

int state_error(struct state_db *db)
{
	int code = sqlite3_errcode(db->sql) & 0xff;

	if (code == SQLITE_NOMEM)
		return -ENOMEM;
	if (code == SQLITE_FULL)
		return log_error_errno(
			-ENOSPC, "%s cannot grow: %s", db->path, log_strerror(-ENOSPC));
	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
		db->is_damaged = true;
	return log_error_errno(
		-EIO, "%s cannot be used: %s", db->path, sqlite3_errmsg(db->sql));
}

int state_step(struct state_db *db, sqlite3_stmt *st)
{
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		return 0;
	case SQLITE_DONE:
		return -ENOENT;
	default:
		return state_error(db);
	}
}

int state_run(struct state_db *db, sqlite3_stmt *st)
{
	int r = sqlite3_step(st) == SQLITE_DONE ? 0 : state_error(db);

	(void)sqlite3_reset(st);
	return r;
}

int state_run_hit(struct state_db *db, sqlite3_stmt *st)
{
	int r = state_run(db, st);

	return r == 0 && sqlite3_changes(db->sql) == 0 ? -ENOENT : r;
}

int state_begin(struct state_db *db)
{
	sqlite3_stmt *st;
	int r = state_take(db, "BEGIN IMMEDIATE", &st);

	return r < 0 ? r : state_run(db, st);
}

int state_end(struct state_db *db, int r)
{
	sqlite3_stmt *st;

	if (r == 0)
		r = state_take(db, "COMMIT", &st);
	if (r == 0)
		r = state_run(db, st);
	/* a full disk may have rolled back by itself */
	if (r < 0 && !sqlite3_get_autocommit(db->sql))
		(void)sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

void state_bind_text(sqlite3_stmt *st, int at, const char *text)
{
	(void)sqlite3_bind_text(st, at, text ? text : "", -1, SQLITE_STATIC);
}

void state_bind_path(sqlite3_stmt *st, int at, const char *path)
{
	(void)sqlite3_bind_blob(st, at, path, (int)strlen(path), SQLITE_STATIC);
}

int state_keep_text(
	struct state_texts *texts, sqlite3_stmt *st, int column, const char **out)
{
	int r = mem_grow((void **)&texts->items, &texts->capacity, texts->count,
		sizeof(*texts->items));

	if (r < 0)
		return r;
	/* in this order: the length is that of what the first call made of the column */
	const void *text = sqlite3_column_blob(st, column);
	size_t len = (size_t)sqlite3_column_bytes(st, column);
	char *copy = mem_dup(text ? text : "", len);

	if (!copy)
		return -ENOMEM;
	texts->items[texts->count++] = copy;
	*out = copy;
	return 0;
}

void state_texts_release(struct state_texts *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		free(texts->items[i]);
	free(texts->items);
	*texts = (struct state_texts){0};
}
