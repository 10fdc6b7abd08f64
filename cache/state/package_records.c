/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/state/package_records.h"

#include "cache/base/memory.h"
#include "cache/state/state_sql.h"

#include <errno.h>

static int put_locked(struct state_db *db, const struct package_record *p)
	REQUIRES(db->lock)
{
	sqlite3_stmt *st;
	int r = state_take(
		db, "INSERT OR REPLACE INTO packages VALUES(?1, ?2, ?3, ?4, ?5)", &st);

	if (r < 0)
		return r;
	state_bind_path(st, 1, p->path);
	(void)sqlite3_bind_int64(st, 2, p->since_ns);
	state_bind_text(st, 3, p->last_error);
	(void)sqlite3_bind_int64(st, 4, p->last_error_ns);
	(void)sqlite3_bind_int64(st, 5, p->next_attempt_ns);
	return state_run(db, st);
}

int state_db_packages_put(
	struct state_db *db, const struct package_record *packages, size_t count)
{
	mutex_lock(&db->lock);
	int r = state_begin(db);

	if (r == 0) {
		for (size_t i = 0; i < count && r == 0; i++)
			r = put_locked(db, &packages[i]);
		r = state_end(db, r);
	}
	mutex_unlock(&db->lock);
	return r;
}

/* A statement for one path: 0, or -ENOENT if it touched nothing. */
static int change_path(struct state_db *db, const char *text, const char *path)
{
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(db, text, &st);

	if (r == 0) {
		state_bind_path(st, 1, path);
		r = state_run_hit(db, st);
	}
	mutex_unlock(&db->lock);
	return r;
}

int state_db_package_remove(struct state_db *db, const char *path)
{
	int r = change_path(db, "DELETE FROM packages WHERE path = ?1", path);

	return r == -ENOENT ? 0 : r;
}

static int read_package(sqlite3_stmt *st, struct package_list *list, size_t *capacity)
{
	int r = mem_grow(
		(void **)&list->items, capacity, list->count, sizeof(*list->items));

	if (r < 0)
		return r;
	struct package_record *p = &list->items[list->count];

	*p = (struct package_record){
		.since_ns = sqlite3_column_int64(st, 2),
		.last_error_ns = sqlite3_column_int64(st, 3),
		.next_attempt_ns = sqlite3_column_int64(st, 4),
	};
	r = state_keep_text(&list->texts, st, 0, &p->path);
	if (r == 0)
		r = state_keep_text(&list->texts, st, 1, &p->last_error);
	if (r == 0)
		list->count++;
	return r;
}

int state_db_packages_list(struct state_db *db, struct package_list *out)
{
	struct package_list list = {0};
	size_t capacity = 0;
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(db,
		"SELECT path, last_error, since_ns, last_error_ns, next_attempt_ns"
		" FROM packages ORDER BY path",
		&st);

	if (r == 0) {
		while (r == 0 && (r = state_step(db, st)) == 0)
			r = read_package(st, &list, &capacity);
		(void)sqlite3_reset(st);
	}
	mutex_unlock(&db->lock);
	if (r != -ENOENT) {
		package_list_release(&list);
		return r;
	}
	*out = list;
	return 0;
}

void package_list_release(struct package_list *list)
{
	free(list->items);
	state_texts_release(&list->texts);
	*list = (struct package_list){0};
}

int state_db_pin_add(struct state_db *db, const char *path)
{
	int r = change_path(db, "INSERT OR IGNORE INTO pins VALUES(?1)", path);

	return r == -ENOENT ? 0 : r;
}

int state_db_pin_remove(struct state_db *db, const char *path)
{
	return change_path(db, "DELETE FROM pins WHERE path = ?1", path);
}

int state_db_pins_list(struct state_db *db, struct pin_list *out)
{
	struct pin_list list = {0};
	const char *path;
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(db, "SELECT path FROM pins ORDER BY path", &st);

	if (r == 0) {
		while (r == 0 && (r = state_step(db, st)) == 0)
			r = state_keep_text(&list.paths, st, 0, &path);
		(void)sqlite3_reset(st);
	}
	mutex_unlock(&db->lock);
	if (r != -ENOENT) {
		pin_list_release(&list);
		return r;
	}
	*out = list;
	return 0;
}

void pin_list_release(struct pin_list *list)
{
	state_texts_release(&list->paths);
}
