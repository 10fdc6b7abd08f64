/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A file that is open can be removed, or another put in its place: SQLite writes on to what has no
 * name any more, and all of it goes with the daemon. Whoever cleans up a disk, or puts back what he
 * saved, does not mean that.
 */
#include "cache/base/disk/durable.h"
#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "cache/state/state_sql.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether the path names another file than the one that is open, or none. */
static bool has_moved(const struct state_db *db) REQUIRES(db->lock)
{
	int moved = 0;

	return db->sql &&
	       sqlite3_file_control(db->sql, "main", SQLITE_FCNTL_HAS_MOVED, &moved) ==
		       SQLITE_OK &&
	       moved;
}

/* All that the open file holds, as a file of this name. */
static int copy_to(struct state_db *db, const char *path) REQUIRES(db->lock)
{
	sqlite3_stmt *st = NULL;
	int r = 0;

	(void)unlink(path);
	state_keep_private(path);
	if (sqlite3_prepare_v2(db->sql, "VACUUM INTO ?1", -1, &st, NULL) != SQLITE_OK ||
		sqlite3_bind_text(st, 1, path, -1, SQLITE_STATIC) != SQLITE_OK ||
		sqlite3_step(st) != SQLITE_DONE)
		r = state_error(db);
	(void)sqlite3_finalize(st);
	return r;
}

/* In this order: what is open is complete until its copy is, and a log that is left of it by name
 * would be taken for the copy's. */
static int write_anew(struct state_db *db, const char *time) REQUIRES(db->lock)
{
	char fresh[PATH_MAX];

	/* the next start removes a name like this */
	if (snprintf(fresh, sizeof(fresh), "%s.tmp00000000", db->path) >=
		(int)sizeof(fresh))
		return -ENAMETOOLONG;
	int r = copy_to(db, fresh);
	AUTO_CLOSE int fd = r == 0 ? open(fresh, O_RDWR | O_CLOEXEC) : -1;

	if (r == 0 && fd < 0)
		r = -errno;
	if (r == 0)
		r = state_move_away(db->path, "replaced", time);
	if (r == 0)
		r = durable_adopt(fd, AT_FDCWD, fresh, AT_FDCWD, db->path);
	if (r < 0) {
		(void)unlink(fresh);
		return r;
	}
	state_disconnect(db);
	return state_connect(db);
}

static void attend_locked(struct state_db *db) REQUIRES(db->lock)
{
	char time[CLOCK_TEXT_SIZE];
	char words[STATE_WORDS_SIZE];
	struct stat st;

	if (!has_moved(db))
		return;
	bool is_replaced = lstat(db->path, &st) == 0;

	clock_format(clock_real_ns(), time);
	int r = write_anew(db, time);

	if (r < 0)
		(void)snprintf(words, sizeof(words),
			"state.db was %s while it was in use, and cannot be written anew "
			"(%s): history, pins and schedules made by command will be lost "
			"at the next start",
			is_replaced ? "replaced" : "removed", log_strerror(r));
	else
		(void)snprintf(words, sizeof(words),
			"state.db was %s while it was in use; it was written anew at "
			"%s%s%s",
			is_replaced ? "replaced" : "removed", time,
			is_replaced ? ", and what lay there is kept as "
				      "state.db.replaced-"
				    : "",
			is_replaced ? time : "");
	if (strcmp(words, db->words) != 0)
		log_error("%s: %s", db->path, words);
	memcpy(db->words, words, sizeof(words));
}

void state_db_attend(struct state_db *db)
{
	mutex_lock(&db->lock);
	attend_locked(db);
	mutex_unlock(&db->lock);
}

void state_db_words(struct state_db *db, char words[STATE_WORDS_SIZE])
{
	mutex_lock(&db->lock);
	memcpy(words, db->words, STATE_WORDS_SIZE);
	mutex_unlock(&db->lock);
}
