/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/state/schedule_records.h"

#include "cache/base/memory.h"
#include "cache/state/state_sql.h"

#include <errno.h>

const char *schedule_origin_text(enum schedule_origin origin)
{
	switch (origin) {
	case SCHEDULE_BY_COMMAND:
		return "command";
	case SCHEDULE_BY_POLICY:
		return "policy";
	case SCHEDULE_BY_FILE:
		return "file";
	}
	return "?";
}

int state_db_schedule_put(struct state_db *db, const struct schedule_record *schedule)
{
	const char *const texts[] = {schedule->name, schedule->when, schedule->zone,
		schedule->splay, schedule->mode, schedule->packages, schedule->prefetch,
		schedule->rate};
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(db,
		"INSERT OR REPLACE INTO schedules(name, fires, zone, splay, mode, "
		"packages,"
		" prefetch, rate, origin, is_enabled, last_run_ns, created_ns)"
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
		&st);

	if (r == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
			state_bind_text(st, 1 + (int)i, texts[i]);
		(void)sqlite3_bind_int(st, 9, (int)schedule->origin);
		(void)sqlite3_bind_int(st, 10, schedule->is_enabled);
		(void)sqlite3_bind_int64(st, 11, schedule->last_run_ns);
		(void)sqlite3_bind_int64(st, 12, schedule->created_ns);
		r = state_run(db, st);
	}
	mutex_unlock(&db->lock);
	return r;
}

/* A statement for the one of this name, with one number. */
static int change_one(
	struct state_db *db, const char *text, const char *name, int64_t number)
{
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(db, text, &st);

	if (r == 0) {
		state_bind_text(st, 1, name);
		if (sqlite3_bind_parameter_count(st) == 2)
			(void)sqlite3_bind_int64(st, 2, number);
		r = state_run_hit(db, st);
	}
	mutex_unlock(&db->lock);
	return r;
}

int state_db_schedule_remove(struct state_db *db, const char *name)
{
	return change_one(db, "DELETE FROM schedules WHERE name = ?1", name, 0);
}

int state_db_schedule_enable(struct state_db *db, const char *name, bool is_enabled)
{
	return change_one(db, "UPDATE schedules SET is_enabled = ?2 WHERE name = ?1",
		name, is_enabled);
}

int state_db_schedule_ran(struct state_db *db, const char *name, int64_t last_run_ns)
{
	return change_one(db, "UPDATE schedules SET last_run_ns = ?2 WHERE name = ?1",
		name, last_run_ns);
}

static int read_schedule(sqlite3_stmt *st, struct schedule_list *list, size_t *capacity)
{
	int r = mem_grow(
		(void **)&list->items, capacity, list->count, sizeof(*list->items));

	if (r < 0)
		return r;
	struct schedule_record *s = &list->items[list->count];

	*s = (struct schedule_record){
		.origin = (enum schedule_origin)sqlite3_column_int(st, 8),
		.is_enabled = sqlite3_column_int(st, 9),
		.last_run_ns = sqlite3_column_int64(st, 10),
		.created_ns = sqlite3_column_int64(st, 11),
	};
	const char **texts[] = {&s->name, &s->when, &s->zone, &s->splay, &s->mode,
		&s->packages, &s->prefetch, &s->rate};

	for (size_t i = 0; i < ARRAY_SIZE(texts) && r == 0; i++)
		r = state_keep_text(&list->texts, st, (int)i, texts[i]);
	if (r == 0)
		list->count++;
	return r;
}

int state_db_schedules_list(struct state_db *db, struct schedule_list *out)
{
	struct schedule_list list = {0};
	size_t capacity = 0;
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(db,
		"SELECT name, fires, zone, splay, mode, packages, prefetch, rate, origin,"
		" is_enabled, last_run_ns, created_ns FROM schedules ORDER BY name",
		&st);

	if (r == 0) {
		while (r == 0 && (r = state_step(db, st)) == 0)
			r = read_schedule(st, &list, &capacity);
		(void)sqlite3_reset(st);
	}
	mutex_unlock(&db->lock);
	if (r != -ENOENT) {
		schedule_list_release(&list);
		return r;
	}
	*out = list;
	return 0;
}

void schedule_list_release(struct schedule_list *list)
{
	free(list->items);
	state_texts_release(&list->texts);
	*list = (struct schedule_list){0};
}
