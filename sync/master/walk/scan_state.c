/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/walk/scan_state.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/mutex.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define SCHEMA_VERSION "1"

static const char schema[] =
	"PRAGMA page_size = 8192;"
	"PRAGMA journal_mode = WAL;"
	"PRAGMA synchronous = NORMAL;"
	"PRAGMA cache_size = -65536;"
	"CREATE TABLE IF NOT EXISTS setting(key TEXT PRIMARY KEY, value TEXT) WITHOUT "
	"ROWID;"
	"CREATE TABLE IF NOT EXISTS package(path BLOB PRIMARY KEY, hash INTEGER,"
	" digest BLOB, stored INTEGER, raw INTEGER, entries INTEGER, bytes INTEGER,"
	" mark INTEGER, prints INTEGER) WITHOUT ROWID;"
	/* apart, so that looking at packages does not page through them */
	"CREATE TABLE IF NOT EXISTS prints(id INTEGER PRIMARY KEY, data BLOB);"
	"CREATE TABLE IF NOT EXISTS pack(id INTEGER PRIMARY KEY, digest BLOB UNIQUE,"
	" bytes INTEGER);"
	"CREATE TABLE IF NOT EXISTS frame(id INTEGER PRIMARY KEY, pack INTEGER,"
	" position INTEGER, stored INTEGER, raw INTEGER, flags INTEGER);"
	"CREATE TABLE IF NOT EXISTS chunk(key INTEGER PRIMARY KEY, rest BLOB,"
	" frame INTEGER, position INTEGER, length INTEGER);";

enum statement {
	GET_PACKAGE,
	GET_PRINTS,
	GET_SETTING,
	PUT_SETTING,
	FIND_PRINTS_ROW,
	PUT_PRINTS,
	PUT_PACKAGE,
	KEEP_PACKAGE,
	DROP_PRINTS,
	DROP_PACKAGES,
	CLEAR_MARKS,
	HAS_CHUNKS,
	FIND_PACK,
	PUT_PACK,
	PUT_FRAME,
	PUT_CHUNK,
	FIND_CHUNK,
	STATEMENTS,
};

static const char *const statement_text[STATEMENTS] = {
	[GET_PACKAGE] = "SELECT hash, digest, stored, raw, entries, bytes FROM package"
			" WHERE path = ?1",
	[GET_PRINTS] = "SELECT data, digest FROM package JOIN prints ON id = prints"
		       " WHERE path = ?1",
	[GET_SETTING] = "SELECT value FROM setting WHERE key = ?1",
	[PUT_SETTING] = "INSERT OR REPLACE INTO setting VALUES(?1, ?2)",
	[FIND_PRINTS_ROW] = "SELECT prints FROM package WHERE path = ?1",
	[PUT_PRINTS] = "INSERT OR REPLACE INTO prints VALUES(?1, ?2)",
	[PUT_PACKAGE] = "INSERT OR REPLACE INTO package VALUES"
			"(?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8)",
	[KEEP_PACKAGE] = "UPDATE package SET mark = 1 WHERE path = ?1",
	[DROP_PRINTS] = "DELETE FROM prints WHERE id IN"
			" (SELECT prints FROM package WHERE mark = 0)",
	[DROP_PACKAGES] = "DELETE FROM package WHERE mark = 0",
	[CLEAR_MARKS] = "UPDATE package SET mark = 0",
	[HAS_CHUNKS] = "SELECT 1 FROM chunk LIMIT 1",
	[FIND_PACK] = "SELECT id FROM pack WHERE digest = ?1",
	[PUT_PACK] = "INSERT INTO pack(digest, bytes) VALUES(?1, ?2)",
	[PUT_FRAME] = "INSERT INTO frame(pack, position, stored, raw, flags)"
		      " VALUES(?1, ?2, ?3, ?4, ?5)",
	[PUT_CHUNK] = "INSERT OR REPLACE INTO chunk VALUES(?1, ?2, ?3, ?4, ?5)",
	[FIND_CHUNK] = "SELECT rest, chunk.position, length, frame.id, frame.position,"
		       " stored, raw, flags, pack.id, digest, bytes FROM chunk"
		       " JOIN frame ON frame.id = chunk.frame"
		       " JOIN pack ON pack.id = frame.pack WHERE key = ?1",
};

struct scan_state {
	struct mutex lock; /* guards all that follows */
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
};

static int db_error(struct scan_state *s) REQUIRES(s->lock)
{
	int code = sqlite3_errcode(s->db);

	if (code == SQLITE_NOMEM)
		return -ENOMEM;
	if (code == SQLITE_FULL) {
		log_error("the publisher's state cannot grow: %s", log_strerror(-ENOSPC));
		return -ENOSPC;
	}
	log_error("the publisher's state failed: %s; .publisher/state.db may be removed, "
		  "the next publish then reads all files again",
		sqlite3_errmsg(s->db));
	return -EIO;
}

static int take(struct scan_state *s, enum statement which, sqlite3_stmt **out)
	REQUIRES(s->lock)
{
	sqlite3_stmt **st = &s->statements[which];

	if (*st)
		(void)sqlite3_reset(*st);
	else if (sqlite3_prepare_v3(s->db, statement_text[which], -1,
			 SQLITE_PREPARE_PERSISTENT, st, NULL) != SQLITE_OK)
		return db_error(s);
	*out = *st;
	return 0;
}

/* For statements without a result. */
static int run(struct scan_state *s, sqlite3_stmt *st) REQUIRES(s->lock)
{
	int r = sqlite3_step(st) == SQLITE_DONE ? 0 : db_error(s);

	(void)sqlite3_reset(st);
	return r;
}

/* 0 with a row, -ENOENT without. The caller resets. */
static int step_row(struct scan_state *s, sqlite3_stmt *st) REQUIRES(s->lock)
{
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		return 0;
	case SQLITE_DONE:
		return -ENOENT;
	default:
		return db_error(s);
	}
}

static bool column_digest(sqlite3_stmt *st, int column, struct digest *out)
{
	if (sqlite3_column_bytes(st, column) != DIGEST_SIZE)
		return false;
	memcpy(out->bytes, sqlite3_column_blob(st, column), DIGEST_SIZE);
	return true;
}

static int get_setting_locked(struct scan_state *s, const char *key, char **out)
	REQUIRES(s->lock)
{
	sqlite3_stmt *st;
	int r = take(s, GET_SETTING, &st);

	if (r < 0)
		return r;
	(void)sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	r = step_row(s, st);
	if (r == 0) {
		const char *value = (const char *)sqlite3_column_text(st, 0);

		*out = mem_strdup(value ? value : "");
		r = *out ? 0 : -ENOMEM;
	}
	(void)sqlite3_reset(st);
	return r;
}

static int put_setting_locked(struct scan_state *s, const char *key, const char *value)
	REQUIRES(s->lock)
{
	sqlite3_stmt *st;
	int r = take(s, PUT_SETTING, &st);

	if (r < 0)
		return r;
	(void)sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(st, 2, value, -1, SQLITE_STATIC);
	return run(s, st);
}

/* True if it is ours and sound. */
static bool adopt(
	struct scan_state *s, const char *repository_id, bool *out_is_new) NO_LOCK_CHECK
{
	AUTO_FREE char *id = NULL;
	AUTO_FREE char *version = NULL;

	if (sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK)
		return false;
	int r = get_setting_locked(s, "repository", &id);

	*out_is_new = r == -ENOENT;
	if (r == -ENOENT)
		return put_setting_locked(s, "repository", repository_id) == 0 &&
		       put_setting_locked(s, "version", SCHEMA_VERSION) == 0;
	return r == 0 && strcmp(id, repository_id) == 0 &&
	       get_setting_locked(s, "version", &version) == 0 &&
	       strcmp(version, SCHEMA_VERSION) == 0;
}

static void close_db(struct scan_state *s) NO_LOCK_CHECK
{
	for (size_t i = 0; i < STATEMENTS; i++) {
		(void)sqlite3_finalize(s->statements[i]);
		s->statements[i] = NULL;
	}
	(void)sqlite3_close(s->db);
	s->db = NULL;
}

static int remove_db(const char *dir)
{
	static const char *const names[] = {"state.db", "state.db-wal", "state.db-shm"};
	char path[4096];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (snprintf(path, sizeof(path), "%s/%s", dir, names[i]) >=
			(int)sizeof(path))
			return -ENAMETOOLONG;
		if (unlink(path) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

int scan_state_open(const char *dir, const char *repository_id, struct scan_state **out,
	bool *out_is_new) NO_LOCK_CHECK
{
	char path[4096];

	if (snprintf(path, sizeof(path), "%s/state.db", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	AUTO_FREE struct scan_state *s = mem_calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	for (int attempt = 0; attempt < 2; attempt++) {
		if (sqlite3_open_v2(path, &s->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_NOMUTEX,
			    NULL) == SQLITE_OK &&
			adopt(s, repository_id, out_is_new)) {
			mutex_init(&s->lock);
			*out = TAKE_PTR(s);
			return 0;
		}
		int code = s->db ? sqlite3_errcode(s->db) : SQLITE_NOMEM;

		close_db(s);
		if (code == SQLITE_FULL || code == SQLITE_IOERR ||
			code == SQLITE_CANTOPEN || code == SQLITE_READONLY ||
			attempt == 1)
			return log_error_errno(code == SQLITE_FULL ? -ENOSPC : -EIO,
				"cannot open %s: %s", path, sqlite3_errstr(code));
		log_warn("%s is damaged or another depot's; starting afresh, "
			 "all files are read again",
			path);
		int r = remove_db(dir);

		if (r < 0)
			return log_error_errno(
				r, "cannot remove %s: %s", path, log_strerror(r));
	}
	return -EIO;
}

void scan_state_close(struct scan_state *s)
{
	if (!s)
		return;
	close_db(s);
	mutex_release(&s->lock);
	free(s);
}

int scan_state_package(
	struct scan_state *s, const char *path, size_t len, struct known_package *out)
{
	struct known_package k = {0};
	sqlite3_stmt *st;

	mutex_lock(&s->lock);
	int r = take(s, GET_PACKAGE, &st);

	if (r == 0) {
		(void)sqlite3_bind_blob(st, 1, path, (int)len, SQLITE_STATIC);
		r = step_row(s, st);
		if (r == 0) {
			k.hash = (uint64_t)sqlite3_column_int64(st, 0);
			if (!column_digest(st, 1, &k.ref.digest))
				r = -ENOENT;
			k.ref.stored_bytes = (uint64_t)sqlite3_column_int64(st, 2);
			k.ref.raw_bytes = (uint64_t)sqlite3_column_int64(st, 3);
			k.tree_entries = (uint64_t)sqlite3_column_int64(st, 4);
			k.tree_bytes = (uint64_t)sqlite3_column_int64(st, 5);
		}
		(void)sqlite3_reset(st);
	}
	mutex_unlock(&s->lock);
	if (r == 0)
		*out = k;
	return r;
}

int scan_state_fingerprints(struct scan_state *s, const char *path, size_t len,
	const struct digest *catalog, size_t count, uint64_t **out)
{
	sqlite3_stmt *st;

	mutex_lock(&s->lock);
	int r = take(s, GET_PRINTS, &st);

	if (r == 0) {
		struct digest d;

		(void)sqlite3_bind_blob(st, 1, path, (int)len, SQLITE_STATIC);
		r = step_row(s, st);
		if (r == 0 && (!column_digest(st, 1, &d) || !digest_equal(&d, catalog) ||
				      (size_t)sqlite3_column_bytes(st, 0) !=
					      count * sizeof(uint64_t)))
			r = -ENOENT;
		if (r == 0) {
			*out = mem_dup(
				sqlite3_column_blob(st, 0), count * sizeof(uint64_t));
			r = *out ? 0 : -ENOMEM;
		}
		(void)sqlite3_reset(st);
	}
	mutex_unlock(&s->lock);
	return r;
}

int scan_state_setting(struct scan_state *s, const char *key, char **out)
{
	mutex_lock(&s->lock);
	int r = get_setting_locked(s, key, out);

	mutex_unlock(&s->lock);
	return r;
}

int scan_state_put_setting(struct scan_state *s, const char *key, const char *value)
{
	mutex_lock(&s->lock);
	int r = put_setting_locked(s, key, value);

	mutex_unlock(&s->lock);
	return r;
}

int scan_state_begin(struct scan_state *s)
{
	sqlite3_stmt *st;

	mutex_lock(&s->lock);
	int r = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK
			? 0
			: db_error(s);

	if (r == 0)
		r = take(s, CLEAR_MARKS, &st);
	if (r == 0)
		r = run(s, st);
	mutex_unlock(&s->lock);
	return r;
}

static int put_prints_locked(struct scan_state *s, const char *path, size_t len,
	const uint64_t *fingerprints, size_t count, int64_t *out_row) REQUIRES(s->lock)
{
	sqlite3_stmt *st;
	int64_t row = 0;
	int r = take(s, FIND_PRINTS_ROW, &st);

	if (r < 0)
		return r;
	(void)sqlite3_bind_blob(st, 1, path, (int)len, SQLITE_STATIC);
	r = step_row(s, st);
	if (r == 0)
		row = sqlite3_column_int64(st, 0);
	(void)sqlite3_reset(st);
	if (r < 0 && r != -ENOENT)
		return r;
	r = take(s, PUT_PRINTS, &st);
	if (r < 0)
		return r;
	if (row)
		(void)sqlite3_bind_int64(st, 1, row);
	else
		(void)sqlite3_bind_null(st, 1);
	(void)sqlite3_bind_blob64(
		st, 2, fingerprints, count * sizeof(*fingerprints), SQLITE_STATIC);
	r = run(s, st);
	*out_row = row ? row : sqlite3_last_insert_rowid(s->db);
	return r;
}

int scan_state_put_package(struct scan_state *s, const char *path, size_t len,
	const struct known_package *known, const uint64_t *fingerprints, size_t count)
{
	sqlite3_stmt *st;
	int64_t row;

	mutex_lock(&s->lock);
	int r = put_prints_locked(s, path, len, fingerprints, count, &row);

	if (r == 0)
		r = take(s, PUT_PACKAGE, &st);
	if (r == 0) {
		(void)sqlite3_bind_blob(st, 1, path, (int)len, SQLITE_STATIC);
		(void)sqlite3_bind_int64(st, 2, (int64_t)known->hash);
		(void)sqlite3_bind_blob(
			st, 3, known->ref.digest.bytes, DIGEST_SIZE, SQLITE_STATIC);
		(void)sqlite3_bind_int64(st, 4, (int64_t)known->ref.stored_bytes);
		(void)sqlite3_bind_int64(st, 5, (int64_t)known->ref.raw_bytes);
		(void)sqlite3_bind_int64(st, 6, (int64_t)known->tree_entries);
		(void)sqlite3_bind_int64(st, 7, (int64_t)known->tree_bytes);
		(void)sqlite3_bind_int64(st, 8, row);
		r = run(s, st);
	}
	mutex_unlock(&s->lock);
	return r;
}

int scan_state_keep_package(struct scan_state *s, const char *path, size_t len)
{
	sqlite3_stmt *st;

	mutex_lock(&s->lock);
	int r = take(s, KEEP_PACKAGE, &st);

	if (r == 0) {
		(void)sqlite3_bind_blob(st, 1, path, (int)len, SQLITE_STATIC);
		r = run(s, st);
	}
	mutex_unlock(&s->lock);
	return r;
}

int scan_state_drop_others(struct scan_state *s)
{
	static const enum statement steps[] = {DROP_PRINTS, DROP_PACKAGES};
	int r = 0;

	mutex_lock(&s->lock);
	for (size_t i = 0; i < ARRAY_SIZE(steps) && r == 0; i++) {
		sqlite3_stmt *st;

		r = take(s, steps[i], &st);
		if (r == 0)
			r = run(s, st);
	}
	mutex_unlock(&s->lock);
	return r;
}

int scan_state_commit(struct scan_state *s)
{
	mutex_lock(&s->lock);
	int r = sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK
			? 0
			: db_error(s);

	mutex_unlock(&s->lock);
	return r;
}

bool scan_state_has_chunks(struct scan_state *s)
{
	sqlite3_stmt *st;

	mutex_lock(&s->lock);
	int r = take(s, HAS_CHUNKS, &st);

	if (r == 0) {
		r = step_row(s, st);
		(void)sqlite3_reset(st);
	}
	mutex_unlock(&s->lock);
	return r == 0;
}

static int put_pack_locked(struct scan_state *s, struct pack_ref *pack) REQUIRES(s->lock)
{
	sqlite3_stmt *st;
	int r = take(s, FIND_PACK, &st);

	if (r < 0)
		return r;
	(void)sqlite3_bind_blob(st, 1, pack->digest.bytes, DIGEST_SIZE, SQLITE_STATIC);
	r = step_row(s, st);
	if (r == 0)
		pack->row = (uint64_t)sqlite3_column_int64(st, 0);
	(void)sqlite3_reset(st);
	if (r != -ENOENT)
		return r;
	r = take(s, PUT_PACK, &st);
	if (r < 0)
		return r;
	(void)sqlite3_bind_blob(st, 1, pack->digest.bytes, DIGEST_SIZE, SQLITE_STATIC);
	(void)sqlite3_bind_int64(st, 2, (int64_t)pack->bytes);
	r = run(s, st);
	pack->row = (uint64_t)sqlite3_last_insert_rowid(s->db);
	return r;
}

static int put_frame_locked(struct scan_state *s, struct frame_ref *frame)
	REQUIRES(s->lock)
{
	sqlite3_stmt *st;
	int r = frame->pack->row ? 0 : put_pack_locked(s, frame->pack);

	if (r == 0)
		r = take(s, PUT_FRAME, &st);
	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(st, 1, (int64_t)frame->pack->row);
	(void)sqlite3_bind_int64(st, 2, (int64_t)frame->offset);
	(void)sqlite3_bind_int64(st, 3, frame->stored_bytes);
	(void)sqlite3_bind_int64(st, 4, frame->raw_bytes);
	(void)sqlite3_bind_int64(st, 5, frame->flags);
	r = run(s, st);
	frame->row = (uint64_t)sqlite3_last_insert_rowid(s->db);
	return r;
}

int scan_state_put_chunk(struct scan_state *s, struct chunk_ref *chunk)
{
	sqlite3_stmt *st;

	mutex_lock(&s->lock);
	int r = chunk->frame->row ? 0 : put_frame_locked(s, chunk->frame);

	if (r == 0)
		r = take(s, PUT_CHUNK, &st);
	if (r == 0) {
		(void)sqlite3_bind_int64(st, 1, (int64_t)digest_key(&chunk->digest));
		(void)sqlite3_bind_blob(
			st, 2, chunk->digest.bytes + 8, DIGEST_SIZE - 8, SQLITE_STATIC);
		(void)sqlite3_bind_int64(st, 3, (int64_t)chunk->frame->row);
		(void)sqlite3_bind_int64(st, 4, chunk->offset);
		(void)sqlite3_bind_int64(st, 5, chunk->length);
		r = run(s, st);
	}
	mutex_unlock(&s->lock);
	return r;
}

int scan_state_find_chunk(struct scan_state *s, const struct digest *digest,
	uint32_t length, uint32_t *out_offset, struct frame_ref *out_frame,
	struct pack_ref *out_pack)
{
	sqlite3_stmt *st;

	mutex_lock(&s->lock);
	int r = take(s, FIND_CHUNK, &st);

	if (r == 0) {
		(void)sqlite3_bind_int64(st, 1, (int64_t)digest_key(digest));
		r = step_row(s, st);
		if (r == 0 && (sqlite3_column_bytes(st, 0) != DIGEST_SIZE - 8 ||
				      memcmp(sqlite3_column_blob(st, 0),
					      digest->bytes + 8, DIGEST_SIZE - 8) != 0 ||
				      sqlite3_column_int64(st, 2) != length ||
				      !column_digest(st, 9, &out_pack->digest)))
			r = -ENOENT;
		if (r == 0) {
			*out_offset = (uint32_t)sqlite3_column_int64(st, 1);
			out_frame->row = (uint64_t)sqlite3_column_int64(st, 3);
			out_frame->offset = (uint64_t)sqlite3_column_int64(st, 4);
			out_frame->stored_bytes = (uint32_t)sqlite3_column_int64(st, 5);
			out_frame->raw_bytes = (uint32_t)sqlite3_column_int64(st, 6);
			out_frame->flags = (uint32_t)sqlite3_column_int64(st, 7);
			out_pack->row = (uint64_t)sqlite3_column_int64(st, 8);
			out_pack->bytes = (uint64_t)sqlite3_column_int64(st, 10);
		}
		(void)sqlite3_reset(st);
	}
	mutex_unlock(&s->lock);
	return r;
}
