/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/state/change_records.h"

#include "cache/base/memory.h"
#include "cache/state/state_sql.h"

#include <errno.h>
#include <string.h>

const char *change_what_text(enum change_what what)
{
	switch (what) {
	case CHANGE_ADDED:
		return "added";
	case CHANGE_CHANGED:
		return "changed";
	case CHANGE_REMOVED:
		return "removed";
	case CHANGE_STALE:
		return "stale";
	case CHANGE_REPAIRED:
		return "repaired";
	case CHANGE_EVICTED:
		return "evicted";
	case CHANGE_PINNED:
		return "pinned";
	case CHANGE_REVIVED:
		return "revived";
	case CHANGE_UNPINNED:
		return "unpinned";
	}
	return "?";
}

/* The position of the run's last row in this table, 0 if it has none. */
static int last_position(struct state_db *db, const char *query, int64_t run,
	int64_t *out) REQUIRES(db->lock)
{
	sqlite3_stmt *st;
	int r = state_take(db, query, &st);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(st, 1, run);
	r = state_step(db, st);
	if (r == 0)
		*out = sqlite3_column_int64(st, 0);
	(void)sqlite3_reset(st);
	return r;
}

static void bind_side(sqlite3_stmt *st, int at, const struct change_side *side)
{
	if (!side->is_set)
		return;
	(void)sqlite3_bind_blob(st, at, side->digest.bytes, DIGEST_SIZE, SQLITE_STATIC);
	(void)sqlite3_bind_int64(st, at + 1, (int64_t)side->bytes);
}

int state_changes_add_locked(struct state_db *db, int64_t run,
	const struct change_record *changes, size_t count)
{
	int64_t position = 0;
	int r = last_position(db,
		"SELECT coalesce(max(position), 0) FROM changes WHERE run = ?1", run,
		&position);

	for (size_t i = 0; i < count && r == 0; i++) {
		const struct change_record *c = &changes[i];
		sqlite3_stmt *st;

		r = state_take(db,
			"INSERT INTO changes VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
			&st);
		if (r < 0)
			break;
		(void)sqlite3_bind_int64(st, 1, run);
		(void)sqlite3_bind_int64(st, 2, ++position);
		(void)sqlite3_bind_int(st, 3, (int)c->what);
		state_bind_path(st, 4, c->path);
		bind_side(st, 5, &c->before);
		bind_side(st, 7, &c->after);
		r = state_run(db, st);
	}
	return r;
}

int state_db_changes_add(struct state_db *db, int64_t run,
	const struct change_record *changes, size_t count)
{
	mutex_lock(&db->lock);
	int r = state_begin(db);

	if (r == 0)
		r = state_end(db, state_changes_add_locked(db, run, changes, count));
	mutex_unlock(&db->lock);
	return r;
}

static void column_side(sqlite3_stmt *st, int column, struct change_side *out)
{
	if (sqlite3_column_bytes(st, column) != DIGEST_SIZE)
		return;
	out->is_set = true;
	memcpy(out->digest.bytes, sqlite3_column_blob(st, column), DIGEST_SIZE);
	out->bytes = (uint64_t)sqlite3_column_int64(st, column + 1);
}

static int read_change(sqlite3_stmt *st, void *arg, size_t *capacity)
{
	struct change_list *list = arg;
	int r = mem_grow(
		(void **)&list->items, capacity, list->count, sizeof(*list->items));

	if (r < 0)
		return r;
	struct change_record *c = &list->items[list->count];

	*c = (struct change_record){.what = (enum change_what)sqlite3_column_int(st, 1)};
	r = state_keep_text(&list->texts, st, 2, &c->path);
	if (r < 0)
		return r;
	column_side(st, 3, &c->before);
	column_side(st, 5, &c->after);
	list->last = sqlite3_column_int64(st, 0);
	list->count++;
	return 0;
}

/* One page of a run's rows: binds run, the position before it and how many to `query`, and has each row
 * read. 0 or -errno. */
static int read_page(struct state_db *db, const char *query, const int64_t page[3],
	int (*read_row)(sqlite3_stmt *st, void *list, size_t *capacity), void *list)
{
	size_t capacity = 0;
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(db, query, &st);

	if (r == 0) {
		for (int i = 0; i < 3; i++)
			(void)sqlite3_bind_int64(st, i + 1, page[i]);
		while (r == 0 && (r = state_step(db, st)) == 0)
			r = read_row(st, list, &capacity);
		(void)sqlite3_reset(st);
	}
	mutex_unlock(&db->lock);
	return r == -ENOENT ? 0 : r;
}

int state_db_changes_list(struct state_db *db, int64_t run, int64_t after, size_t max,
	struct change_list *out)
{
	const int64_t page[] = {run, after, (int64_t)max};
	struct change_list list = {.last = after};
	int r = read_page(db,
		"SELECT position, what, path, old_digest, old_bytes, new_digest, "
		"new_bytes"
		" FROM changes WHERE run = ?1 AND position > ?2 ORDER BY position LIMIT "
		"?3",
		page, read_change, &list);

	if (r < 0)
		change_list_release(&list);
	else
		*out = list;
	return r;
}

void change_list_release(struct change_list *list)
{
	free(list->items);
	state_texts_release(&list->texts);
	*list = (struct change_list){0};
}

static int add_skipped_locked(struct state_db *db, int64_t run,
	const struct skipped_record *skipped, size_t count) REQUIRES(db->lock)
{
	int64_t position = 0;
	int r = last_position(db,
		"SELECT coalesce(max(position), 0) FROM skipped WHERE run = ?1", run,
		&position);

	for (size_t i = 0; i < count && r == 0; i++) {
		sqlite3_stmt *st;

		r = state_take(db, "INSERT INTO skipped VALUES(?1, ?2, ?3, ?4)", &st);
		if (r < 0)
			break;
		(void)sqlite3_bind_int64(st, 1, run);
		(void)sqlite3_bind_int64(st, 2, ++position);
		state_bind_path(st, 3, skipped[i].path);
		state_bind_text(st, 4, skipped[i].reason);
		r = state_run(db, st);
	}
	return r;
}

int state_db_skipped_add(struct state_db *db, int64_t run,
	const struct skipped_record *skipped, size_t count)
{
	mutex_lock(&db->lock);
	int r = state_begin(db);

	if (r == 0)
		r = state_end(db, add_skipped_locked(db, run, skipped, count));
	mutex_unlock(&db->lock);
	return r;
}

static int read_skipped(sqlite3_stmt *st, void *arg, size_t *capacity)
{
	struct skipped_list *list = arg;
	int r = mem_grow(
		(void **)&list->items, capacity, list->count, sizeof(*list->items));

	if (r < 0)
		return r;
	struct skipped_record *s = &list->items[list->count];

	r = state_keep_text(&list->texts, st, 1, &s->path);
	if (r == 0)
		r = state_keep_text(&list->texts, st, 2, &s->reason);
	if (r < 0)
		return r;
	list->last = sqlite3_column_int64(st, 0);
	list->count++;
	return 0;
}

int state_db_skipped_list(struct state_db *db, int64_t run, int64_t after, size_t max,
	struct skipped_list *out)
{
	const int64_t page[] = {run, after, (int64_t)max};
	struct skipped_list list = {.last = after};
	int r = read_page(db,
		"SELECT position, path, reason FROM skipped"
		" WHERE run = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
		page, read_skipped, &list);

	if (r < 0)
		skipped_list_release(&list);
	else
		*out = list;
	return r;
}

void skipped_list_release(struct skipped_list *list)
{
	free(list->items);
	state_texts_release(&list->texts);
	*list = (struct skipped_list){0};
}
