/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/state/state_db.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/state/state_sql.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEMA_VERSION 2

/* Somebody who looks at the file from outside is waited for so long. */
#define BUSY_TIMEOUT_MS 2000

/* EXCLUSIVE: the cache directory is one daemon's, and the log's index then needs no file of its own,
 * which a full disk would refuse. */
static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE;"
			       "PRAGMA journal_mode = WAL;"
			       "PRAGMA synchronous = FULL;"
			       "PRAGMA journal_size_limit = 4194304;";

static const char schema[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE view(id INTEGER PRIMARY KEY CHECK(id = 1), digest BLOB,"
	" stored INTEGER, raw INTEGER, revision INTEGER, sequence INTEGER,"
	" time_ns INTEGER, sum INTEGER);"
	"CREATE TABLE runs(id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT,"
	" selection TEXT, prefetch TEXT, message TEXT, cause INTEGER, state INTEGER,"
	" is_full INTEGER, is_dry INTEGER, is_deep INTEGER, is_delete_allowed INTEGER,"
	" queued_ns INTEGER, start_ns INTEGER, end_ns INTEGER,"
	" revision_before INTEGER, revision_after INTEGER,"
	" bytes_fetched INTEGER, bytes_reused INTEGER, added INTEGER, changed INTEGER,"
	" removed INTEGER, kept_stale INTEGER, skipped INTEGER, errors INTEGER,"
	" is_post_owed INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE changes(run INTEGER, position INTEGER, what INTEGER, path BLOB,"
	" old_digest BLOB, old_bytes INTEGER, new_digest BLOB, new_bytes INTEGER,"
	" PRIMARY KEY(run, position)) WITHOUT ROWID;"
	"CREATE TABLE skipped(run INTEGER, position INTEGER, path BLOB, reason TEXT,"
	" PRIMARY KEY(run, position)) WITHOUT ROWID;"
	"CREATE TABLE schedules(name TEXT PRIMARY KEY, origin INTEGER, fires TEXT,"
	" zone TEXT, splay TEXT, mode TEXT, packages TEXT, prefetch TEXT, rate TEXT,"
	" is_enabled INTEGER, last_run_ns INTEGER, created_ns INTEGER) WITHOUT ROWID;"
	"CREATE TABLE pins(path BLOB PRIMARY KEY) WITHOUT ROWID;"
	"CREATE TABLE packages(path BLOB PRIMARY KEY, since_ns INTEGER,"
	" last_error TEXT, last_error_ns INTEGER, next_attempt_ns INTEGER) WITHOUT ROWID;"
	"PRAGMA user_version = 2;"
	"COMMIT;";

/* Version 1 ran post_sync after every run that a kill had interrupted. */
static const char from_version_1[] =
	"BEGIN IMMEDIATE;"
	"ALTER TABLE runs ADD COLUMN is_post_owed INTEGER NOT NULL DEFAULT 0;"
	"UPDATE runs SET is_post_owed = 1 WHERE state = 2;"
	"PRAGMA user_version = 2;"
	"COMMIT;";

void state_disconnect(struct state_db *db) NO_LOCK_CHECK
{
	for (size_t i = 0; i < db->statement_count; i++)
		(void)sqlite3_finalize(db->statements[i].st);
	db->statement_count = 0;
	(void)sqlite3_close(db->sql);
	db->sql = NULL;
}

static int query_version(sqlite3 *sql, int *out)
{
	sqlite3_stmt *st = NULL;
	int code = sqlite3_prepare_v2(sql, "PRAGMA user_version", -1, &st, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		*out = sqlite3_column_int(st, 0);
	(void)sqlite3_finalize(st);
	return code == SQLITE_ROW ? SQLITE_OK : code;
}

void state_keep_private(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0 && fchmod(fd, 0600) < 0)
		log_debug("%s keeps its mode", path);
}

/* An SQLite code; SQLITE_NOTADB for a version that is not ours. */
static int connect_to(const char *path, sqlite3 **out)
{
	int version = 0;

	if (*path == '/')
		state_keep_private(path);
	int code = sqlite3_open_v2(path, out,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_busy_timeout(*out, BUSY_TIMEOUT_MS);
	if (code == SQLITE_OK)
		code = sqlite3_exec(*out, settings, NULL, NULL, NULL);
	if (code == SQLITE_OK)
		code = query_version(*out, &version);
	if (code == SQLITE_OK && version == 0) {
		code = sqlite3_exec(*out, schema, NULL, NULL, NULL);
		/* a database of somebody else's has tables, but no version */
		if (code == SQLITE_ERROR)
			code = SQLITE_NOTADB;
	} else if (code == SQLITE_OK && version == 1) {
		code = sqlite3_exec(*out, from_version_1, NULL, NULL, NULL);
	} else if (code == SQLITE_OK && version != SCHEMA_VERSION) {
		code = SQLITE_NOTADB;
	}
	return code & 0xff;
}

int state_move_away(const char *path, const char *kind, const char *time)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char from[PATH_MAX];
	char to[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (snprintf(from, sizeof(from), "%s%s", path, suffixes[i]) >=
				(int)sizeof(from) ||
			snprintf(to, sizeof(to), "%s.%s-%s%s", path, kind, time,
				suffixes[i]) >= (int)sizeof(to))
			return -ENAMETOOLONG;
		if (rename(from, to) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int set_aside(const char *path)
{
	char time[CLOCK_TEXT_SIZE];

	clock_format(clock_real_ns(), time);
	int r = state_move_away(path, "damaged", time);

	if (r < 0)
		return r;
	log_error("%s is damaged and was set aside as %s.damaged-%s; the mirror goes on "
		  "with "
		  "a fresh one, without history, pins and schedules made by command",
		path, path, time);
	return 0;
}

static bool is_damage(int code)
{
	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

/* A row whose bits flipped is no row: SQLite has no sums of its own. */
static int64_t view_sum(const struct state_view *v)
{
	const uint64_t numbers[] = {v->root.stored_bytes, v->root.raw_bytes, v->revision,
		v->sequence, (uint64_t)v->time_ns};

	return (int64_t)hash64(numbers, sizeof(numbers),
		digest_key(&v->root.digest) ^
			hash64(v->root.digest.bytes, DIGEST_SIZE, 0));
}

static const char view_query[] =
	"SELECT digest, stored, raw, revision, sequence, time_ns, sum FROM view";

/* Whether the row is what was written. */
static bool take_view(sqlite3_stmt *st, struct state_view *out)
{
	struct state_view v = {0};

	if (sqlite3_column_bytes(st, 0) == DIGEST_SIZE)
		memcpy(v.root.digest.bytes, sqlite3_column_blob(st, 0), DIGEST_SIZE);
	v.root.stored_bytes = (uint64_t)sqlite3_column_int64(st, 1);
	v.root.raw_bytes = (uint64_t)sqlite3_column_int64(st, 2);
	v.revision = (uint64_t)sqlite3_column_int64(st, 3);
	v.sequence = (uint64_t)sqlite3_column_int64(st, 4);
	v.time_ns = sqlite3_column_int64(st, 5);
	if (sqlite3_column_int64(st, 6) != view_sum(&v))
		return false;
	*out = v;
	return true;
}

/* "file:" and the path, in which an URI's own characters are escaped. */
static int immutable_uri(const char *path, char out[3 * PATH_MAX + 32])
{
	static const char special[] = "%?#";
	size_t n = (size_t)snprintf(out, 8, "file:");

	for (; *path && n < 3 * PATH_MAX; path++)
		n += (size_t)snprintf(out + n, 4,
			strchr(special, *path) ? "%%%02x" : "%c", (unsigned char)*path);
	return *path					   ? -ENAMETOOLONG
	       : snprintf(out + n, 16, "?immutable=1") < 0 ? -EIO
							   : 0;
}

/* Reads the view out of a file that cannot be opened as it should be, and changes nothing of it: its
 * log is left out. */
static int read_view(sqlite3 *sql, struct state_view *out, bool *out_has)
{
	sqlite3_stmt *st = NULL;
	int code = sqlite3_prepare_v2(sql, view_query, -1, &st, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(st);
	*out_has = code == SQLITE_ROW && take_view(st, out);
	(void)sqlite3_finalize(st);
	return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : -EIO;
}

/* What is shown must not be forgotten with the rest: the next to be written down would take its
 * place, and what only it names be let go. */
static int save_view(struct state_db *db)
{
	char uri[3 * PATH_MAX + 32];
	struct stat st;
	sqlite3 *sql = NULL;

	if (db->has_view || stat(db->path, &st) < 0 || st.st_size == 0)
		return 0;
	int r = immutable_uri(db->path, uri);

	if (r == 0 &&
		sqlite3_open_v2(uri, &sql,
			SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
			NULL) != SQLITE_OK)
		r = -EIO;
	if (r == 0)
		r = read_view(sql, &db->view, &db->has_view);
	(void)sqlite3_close(sql);
	return r;
}

int state_connect(struct state_db *db) NO_LOCK_CHECK
{
	int code = connect_to(db->path, &db->sql);

	if (is_damage(code)) {
		state_disconnect(db);
		int r = set_aside(db->path);

		if (r < 0)
			log_error("cannot set %s aside: %s", db->path, log_strerror(r));
		else
			code = connect_to(db->path, &db->sql);
	}
	if (code == SQLITE_OK)
		return 0;
	const char *reason = sqlite3_errstr(code);

	state_disconnect(db);
	if (code == SQLITE_NOMEM)
		return -ENOMEM;
	if (code == SQLITE_BUSY)
		return log_error_errno(-EBUSY,
			"another process has %s open: end it and try again", db->path);
	if (save_view(db) < 0)
		return log_error_errno(-EIO,
			"%s cannot be read (%s), and what is shown stands in it: mend "
			"the "
			"disk, or move the file away to begin with the channel's newest",
			db->path, reason);
	log_warn("%s cannot be used (%s): until the next start, history, pins and "
		 "schedules are "
		 "kept in memory only",
		db->path, reason);
	code = connect_to(":memory:", &db->sql);
	if (code == SQLITE_OK)
		return 0;
	state_disconnect(db);
	return -ENOMEM;
}

static int set_view_locked(struct state_db *db, const struct state_view *view)
	REQUIRES(db->lock)
{
	sqlite3_stmt *st = NULL;
	int r = state_take(db,
		"INSERT OR REPLACE INTO view VALUES(1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)", &st);

	if (r < 0)
		return r;
	(void)sqlite3_bind_blob(
		st, 1, view->root.digest.bytes, DIGEST_SIZE, SQLITE_STATIC);
	(void)sqlite3_bind_int64(st, 2, (int64_t)view->root.stored_bytes);
	(void)sqlite3_bind_int64(st, 3, (int64_t)view->root.raw_bytes);
	(void)sqlite3_bind_int64(st, 4, (int64_t)view->revision);
	(void)sqlite3_bind_int64(st, 5, (int64_t)view->sequence);
	(void)sqlite3_bind_int64(st, 6, view->time_ns);
	(void)sqlite3_bind_int64(st, 7, view_sum(view));
	return state_run(db, st);
}

int state_db_open(const char *cache_path, struct state_db **out) NO_LOCK_CHECK
{
	AUTO_FREE char *real = realpath(cache_path, NULL);
	AUTO_FREE struct state_db *db = mem_calloc(1, sizeof(*db));
	char path[PATH_MAX];

	if (!real)
		return -errno;
	if (!db)
		return -ENOMEM;
	if (snprintf(path, sizeof(path), "%s/state.db", real) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	db->path = mem_strdup(path);
	if (!db->path)
		return -ENOMEM;
	int r = state_connect(db);

	if (r < 0) {
		free(db->path);
		return r;
	}
	mutex_init(&db->lock);
	/* in memory now; the file has it still */
	if (db->has_view)
		r = set_view_locked(db, &db->view);
	if (r < 0) {
		state_db_close(TAKE_PTR(db));
		return r;
	}
	*out = TAKE_PTR(db);
	return 0;
}

void state_db_close(struct state_db *db)
{
	if (!db)
		return;
	state_db_attend(db);
	mutex_lock(&db->lock);
	state_disconnect(db);
	mutex_unlock(&db->lock);
	mutex_release(&db->lock);
	free(db->path);
	free(db);
}

/* The file turned out to be damaged under way. What is shown must not depend on it. */
static int replace_damaged(struct state_db *db) REQUIRES(db->lock)
{
	state_disconnect(db);
	int r = set_aside(db->path);

	if (r < 0)
		log_error("cannot set %s aside: %s", db->path, log_strerror(r));
	r = state_connect(db);
	if (r < 0)
		return r;
	db->is_damaged = false;
	return db->has_view ? set_view_locked(db, &db->view) : 0;
}

int state_take(struct state_db *db, const char *text, sqlite3_stmt **out)
{
	struct state_statement *s = db->statements;
	int r = 0;

	/* without a connection: the last replacement failed for want of memory */
	if (!db->sql || (db->is_damaged && sqlite3_get_autocommit(db->sql)))
		r = replace_damaged(db);
	if (r < 0)
		return r;
	while (s < db->statements + db->statement_count && strcmp(s->text, text) != 0)
		s++;
	if (s == db->statements + db->statement_count) {
		if (db->statement_count == STATE_STATEMENTS_MAX)
			return -ENOBUFS;
		s->text = text;
		if (sqlite3_prepare_v3(db->sql, text, -1, SQLITE_PREPARE_PERSISTENT,
			    &s->st, NULL) != SQLITE_OK)
			return state_error(db);
		db->statement_count++;
	}
	(void)sqlite3_reset(s->st);
	(void)sqlite3_clear_bindings(s->st);
	*out = s->st;
	return 0;
}

int state_db_view_get(struct state_db *db, struct state_view *out)
{
	struct state_view v;
	sqlite3_stmt *st;

	mutex_lock(&db->lock);
	int r = state_take(db, view_query, &st);

	if (r == 0) {
		r = state_step(db, st);
		if (r == 0 && !take_view(st, &v)) {
			log_error("the view in %s is damaged: the channel's head is "
				  "shown instead",
				db->path);
			r = -ENOENT;
		}
		(void)sqlite3_reset(st);
	}
	if (r == 0) {
		db->has_view = true;
		db->view = v;
	}
	mutex_unlock(&db->lock);
	if (r == 0)
		*out = v;
	return r;
}

int state_db_view_set(struct state_db *db, const struct state_view *view)
{
	return state_db_flip(db, view, 0, NULL, 0);
}

static int drop_changes_locked(struct state_db *db, int64_t run) REQUIRES(db->lock)
{
	sqlite3_stmt *st;
	int r = state_take(db, "DELETE FROM changes WHERE run = ?1", &st);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(st, 1, run);
	return state_run(db, st);
}

int state_db_flip(struct state_db *db, const struct state_view *view, int64_t run,
	const struct change_record *changes, size_t count)
{
	mutex_lock(&db->lock);
	int r = state_begin(db);

	if (r == 0) {
		r = set_view_locked(db, view);
		if (r == 0 && run)
			r = drop_changes_locked(db, run);
		if (r == 0 && run)
			r = state_changes_add_locked(db, run, changes, count);
		r = state_end(db, r);
	}
	if (r == 0) {
		db->has_view = true;
		db->view = *view;
	}
	mutex_unlock(&db->lock);
	return r;
}
