/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/state/run_records.h"

#include "cache/base/memory.h"
#include "cache/state/state_sql.h"

#include <errno.h>

#define RUN_COLUMNS                                                                      \
	"job, selection, prefetch, message, cause, state, is_full, is_dry, is_deep,"     \
	" is_delete_allowed, queued_ns, start_ns, end_ns, revision_before,"              \
	" revision_after, bytes_fetched, bytes_reused, added, changed, removed,"         \
	" kept_stale, skipped, errors, is_post_owed"

/* Both lists in the order of RUN_COLUMNS; the id stands behind. */
#define RUN_SLOTS                                                                        \
	"?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,"    \
	" ?18, ?19, ?20, ?21, ?22, ?23, ?24"
#define RUN_SLOT_ID 25

const char *run_trigger_text(enum run_trigger trigger)
{
	switch (trigger) {
	case RUN_BY_HAND:
		return "now";
	case RUN_BY_SCHEDULE:
		return "schedule";
	case RUN_BY_CHANGE:
		return "change";
	case RUN_BY_RESUME:
		return "resume";
	}
	return "?";
}

const char *run_state_text(enum run_state state)
{
	switch (state) {
	case RUN_QUEUED:
		return "queued";
	case RUN_RUNNING:
		return "running";
	case RUN_DONE:
		return "done";
	case RUN_FAILED:
		return "failed";
	case RUN_STOPPED:
		return "stopped";
	case RUN_CANCELLED:
		return "cancelled";
	}
	return "?";
}

bool run_state_is_over(enum run_state state)
{
	return state != RUN_QUEUED && state != RUN_RUNNING;
}

static void bind_run(sqlite3_stmt *st, const struct run_record *run)
{
	const struct run_counts *c = &run->counts;
	const int64_t numbers[] = {run->trigger, run->state, run->is_full, run->is_dry,
		run->is_deep, run->is_delete_allowed, run->queued_ns, run->start_ns,
		run->end_ns, (int64_t)run->revision_before, (int64_t)run->revision_after,
		(int64_t)c->bytes_fetched, (int64_t)c->bytes_reused, (int64_t)c->added,
		(int64_t)c->changed, (int64_t)c->removed, (int64_t)c->kept_stale,
		(int64_t)c->skipped, (int64_t)c->errors, run->is_post_owed};

	state_bind_text(st, 1, run->job);
	state_bind_text(st, 2, run->selection);
	state_bind_text(st, 3, run->prefetch);
	state_bind_text(st, 4, run->message);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		(void)sqlite3_bind_int64(st, 5 + (int)i, numbers[i]);
}

int state_db_run_add(struct state_db *db, const struct run_record *run, int64_t *out_id)
{
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(
		db, "INSERT INTO runs(" RUN_COLUMNS ") VALUES(" RUN_SLOTS ")", &st);

	if (r == 0) {
		bind_run(st, run);
		r = state_run(db, st);
	}
	if (r == 0)
		*out_id = sqlite3_last_insert_rowid(db->sql);
	mutex_unlock(&db->lock);
	return r;
}

int state_db_run_update(struct state_db *db, const struct run_record *run)
{
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(db,
		"UPDATE runs SET (" RUN_COLUMNS ") = (" RUN_SLOTS ") WHERE id = ?25",
		&st);

	if (r == 0) {
		bind_run(st, run);
		(void)sqlite3_bind_int64(st, RUN_SLOT_ID, run->id);
		r = state_run_hit(db, st);
	}
	mutex_unlock(&db->lock);
	return r;
}

static uint64_t column_u64(sqlite3_stmt *st, int column)
{
	return (uint64_t)sqlite3_column_int64(st, column);
}

static int read_run(sqlite3_stmt *st, struct run_list *list, size_t *capacity)
{
	int r = mem_grow(
		(void **)&list->items, capacity, list->count, sizeof(*list->items));

	if (r < 0)
		return r;
	struct run_record *run = &list->items[list->count];

	*run = (struct run_record){
		.id = sqlite3_column_int64(st, 0),
		.trigger = (enum run_trigger)sqlite3_column_int(st, 5),
		.state = (enum run_state)sqlite3_column_int(st, 6),
		.is_full = sqlite3_column_int(st, 7),
		.is_dry = sqlite3_column_int(st, 8),
		.is_deep = sqlite3_column_int(st, 9),
		.is_delete_allowed = sqlite3_column_int(st, 10),
		.queued_ns = sqlite3_column_int64(st, 11),
		.start_ns = sqlite3_column_int64(st, 12),
		.end_ns = sqlite3_column_int64(st, 13),
		.revision_before = column_u64(st, 14),
		.revision_after = column_u64(st, 15),
		.counts = {column_u64(st, 16), column_u64(st, 17), column_u64(st, 18),
			column_u64(st, 19), column_u64(st, 20), column_u64(st, 21),
			column_u64(st, 22), column_u64(st, 23)},
		.is_post_owed = sqlite3_column_int(st, 24),
	};
	const char **texts[] = {
		&run->job, &run->selection, &run->prefetch, &run->message};

	for (size_t i = 0; i < ARRAY_SIZE(texts) && r == 0; i++)
		r = state_keep_text(&list->texts, st, 1 + (int)i, texts[i]);
	if (r == 0)
		list->count++;
	return r;
}

/* Any query for id and RUN_COLUMNS with up to two numbers. */
static int list_runs(struct state_db *db, const char *query, int64_t first,
	int64_t second, struct run_list *out)
{
	struct run_list list = {0};
	size_t capacity = 0;
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(db, query, &st);

	if (r == 0) {
		(void)sqlite3_bind_int64(st, 1, first);
		(void)sqlite3_bind_int64(st, 2, second);
		while (r == 0 && (r = state_step(db, st)) == 0)
			r = read_run(st, &list, &capacity);
		(void)sqlite3_reset(st);
	}
	mutex_unlock(&db->lock);
	if (r != -ENOENT) {
		run_list_release(&list);
		return r;
	}
	*out = list;
	return 0;
}

int state_db_runs_list(
	struct state_db *db, int64_t before, size_t max, struct run_list *out)
{
	return list_runs(db,
		"SELECT id, " RUN_COLUMNS " FROM runs WHERE id < ?1"
		" ORDER BY id DESC LIMIT ?2",
		before ? before : INT64_MAX, (int64_t)max, out);
}

int state_db_run_find(struct state_db *db, int64_t id, struct run_list *out)
{
	struct run_list list;
	int r = list_runs(
		db, "SELECT id, " RUN_COLUMNS " FROM runs WHERE id = ?1", id, 0, &list);

	if (r == 0 && list.count == 0) {
		run_list_release(&list);
		return -ENOENT;
	}
	if (r == 0)
		*out = list;
	return r;
}

int state_db_runs_unfinished(struct state_db *db, struct run_list *out)
{
	return list_runs(db,
		"SELECT id, " RUN_COLUMNS
		" FROM runs WHERE state IN (?1, ?2) ORDER BY id",
		RUN_QUEUED, RUN_RUNNING, out);
}

void run_list_release(struct run_list *list)
{
	free(list->items);
	state_texts_release(&list->texts);
	*list = (struct run_list){0};
}

static int run_numbers(struct state_db *db, const char *text, int64_t first,
	int64_t second) REQUIRES(db->lock)
{
	sqlite3_stmt *st;
	int r = state_take(db, text, &st);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(st, 1, first);
	(void)sqlite3_bind_int64(st, 2, second);
	return state_run(db, st);
}

/* Which runs go; states 1 and 2 are not over. */
#define RUNS_TO_FORGET                                                                   \
	"runs WHERE state NOT IN (1, 2) AND (end_ns < ?1 OR id <= "                      \
	"(SELECT id FROM runs ORDER BY id DESC LIMIT 1 OFFSET ?2))"

/* Positions count from 1 without gaps, so a run's last one is the number of its changes. */
#define DROP_CHANGES_BEYOND                                                              \
	"DELETE FROM changes WHERE run IN (SELECT id FROM (SELECT id,"                   \
	" sum((SELECT coalesce(max(position), 0) FROM changes WHERE run = runs.id))"     \
	"  OVER (ORDER BY id DESC) AS total FROM runs)"                                  \
	" WHERE total > ?1 AND id < (SELECT max(run) FROM changes))"

static int rotate_locked(struct state_db *db, int64_t now_ns) REQUIRES(db->lock)
{
	static const char *const steps[] = {
		"DELETE FROM changes WHERE run IN (SELECT id FROM " RUNS_TO_FORGET ")",
		"DELETE FROM skipped WHERE run IN (SELECT id FROM " RUNS_TO_FORGET ")",
		"DELETE FROM " RUNS_TO_FORGET};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && r == 0; i++)
		r = run_numbers(db, steps[i], now_ns - STATE_KEEP_NS, STATE_KEEP_RUNS);
	if (r == 0)
		r = run_numbers(db, DROP_CHANGES_BEYOND, STATE_KEEP_CHANGES, 0);
	return r;
}

int state_db_rotate(struct state_db *db, int64_t now_ns)
{
	mutex_lock(&db->lock);
	int r = state_begin(db);

	if (r == 0)
		r = state_end(db, rotate_locked(db, now_ns));
	mutex_unlock(&db->lock);
	return r;
}
