/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/job_log.h"

#include "cache/base/disk/durable.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "sync/jobs/progress/progress_line.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAIN_LOG  "depotfs.log"
#define MAIN_OLD  "depotfs-" /* and a time */
#define OWNER	  "mirror"
#define LINE_MAX_ 2048

struct job_log {
	int fd;
	struct mutex lock; /* guards what follows */
	char label[32];	   /* of the growing line; "" while there is none */
	struct progress_line line;
	bool is_in_line; /* the file does not end with a line feed */
};

int job_log_path(const char *directory, int64_t run, char *out, size_t size)
{
	int n = snprintf(out, size, "%s/run-%" PRId64 ".log", directory, run);

	return n >= 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

static int main_path(const char *directory, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/" MAIN_LOG, directory);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Complete from the beginning, or not there: 0 or -EEXIST. */
static int write_owner(int dirfd, const char *mountpoint)
{
	char name[sizeof(OWNER) + 16];

	(void)snprintf(name, sizeof(name), OWNER ".%d", (int)getpid());
	(void)unlinkat(dirfd, name, 0);
	int r = durable_write(dirfd, name, mountpoint, strlen(mountpoint), 0644);

	if (r == 0 && linkat(dirfd, name, dirfd, OWNER, 0) < 0)
		r = -errno;
	(void)unlinkat(dirfd, name, 0);
	return r;
}

int job_log_claim(
	const char *directory, const char *mountpoint, char reason[TEXT_REASON_SIZE])
{
	AUTO_BUFFER struct buffer owner = BUFFER_INIT(PATH_MAX);
	int r = io_mkdirs(directory, 0750);
	AUTO_CLOSE int dirfd =
		r == 0 ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (r == 0)
		r = dirfd < 0 ? -errno : write_owner(dirfd, mountpoint);
	if (r == -EEXIST)
		r = io_read_regular(dirfd, OWNER, &owner);
	if (r < 0) {
		(void)words_refuse(
			reason, "logdir=%.100s: %s", directory, log_strerror(r));
		return r;
	}
	if (owner.len == 0 || (owner.len == strlen(mountpoint) &&
				      memcmp(owner.data, mountpoint, owner.len) == 0))
		return 0;
	(void)words_refuse(reason,
		"logdir=%.60s is of the mirror on %.*s: each needs one of its own (or "
		"remove its file '" OWNER "')",
		directory, owner.len < 60 ? (int)owner.len : 60, owner.data);
	return -EEXIST;
}

int job_log_begin(const char *directory)
{
	char path[PATH_MAX];
	int r = main_path(directory, path);

	if (r == 0)
		r = io_mkdirs(directory, 0750);
	return r < 0 ? r : log_open(path);
}

static void say_beginning(struct job_log *log, const struct run_record *run)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "run %" PRId64 " (%s, %s%s%s, by %s) begins",
		run->id, run->job && *run->job ? run->job : "sync",
		run->is_full ? "full" : "incremental", run->is_dry ? ", dry" : "",
		run->is_deep ? ", deep" : "", run_trigger_text(run->trigger));
	log_info("%s", text);
	job_log_print(log, "%s", text);
	if (run->selection && *run->selection)
		job_log_print(log, "packages: %s", run->selection);
	if (run->prefetch && *run->prefetch)
		job_log_print(log, "prefetch: %s", run->prefetch);
}

struct job_log *job_log_open(const char *directory, const struct run_record *run)
{
	AUTO_FREE struct job_log *log = NULL;
	char path[PATH_MAX] = "";
	int r = 0;

	if (directory) {
		log = mem_calloc(1, sizeof(*log));
		r = log ? job_log_path(directory, run->id, path, sizeof(path)) : -ENOMEM;
		if (r == 0)
			r = io_mkdirs(directory, 0750);
		if (r == 0) {
			log->fd = log_open_file(path);
			r = log->fd < 0 ? log->fd : 0;
		}
		if (r == 0) {
			mutex_init(&log->lock);
		} else {
			log_warn("run %" PRId64 " goes without a log of its own, %s: %s",
				run->id, path, log_strerror(r));
			free(TAKE_PTR(log));
		}
	}
	say_beginning(log, run);
	return TAKE_PTR(log);
}

/* A log that cannot be written costs nothing but the log. */
static void append(const struct job_log *log, const char *text, size_t len)
{
	if (io_write(log->fd, text, len) < 0)
		log_debug("a job's log cannot be written");
}

static void leave_line_locked(struct job_log *log) REQUIRES(log->lock)
{
	if (log->is_in_line)
		append(log, "\n", 1);
	log->is_in_line = false;
	log->line = (struct progress_line){0};
}

void job_log_print(struct job_log *log, const char *format, ...)
{
	char line[LINE_MAX_];
	char time[CLOCK_TEXT_SIZE];
	va_list args;

	if (!log)
		return;
	clock_format(clock_real_ns(), time);
	int head = snprintf(line, sizeof(line), "%s ", time);

	va_start(args, format);
	(void)vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args);
	va_end(args);
	log_make_plain(line);
	size_t len = strlen(line);

	line[len++] = '\n';
	mutex_lock(&log->lock);
	leave_line_locked(log);
	append(log, line, len);
	mutex_unlock(&log->lock);
}

void job_log_progress(
	struct job_log *log, const char *label, uint64_t done, uint64_t total)
{
	if (!log)
		return;
	mutex_lock(&log->lock);
	if (strcmp(log->label, label) != 0) {
		leave_line_locked(log);
		(void)snprintf(log->label, sizeof(log->label), "%s", label);
	}
	const char *grown = progress_line_grow(&log->line, done, total);

	if (*grown) {
		char text[128];
		int n = snprintf(text, sizeof(text), "%s%s%s",
			log->is_in_line ? "" : log->label, log->is_in_line ? "" : "  |",
			grown);

		append(log, text, (size_t)n);
		log->is_in_line = true;
	}
	mutex_unlock(&log->lock);
}

void job_log_close(struct job_log *log, const struct run_record *run)
{
	const struct run_counts *c = &run->counts;
	char text[1024];

	(void)snprintf(text, sizeof(text),
		"run %" PRId64 " %s%s: %" PRIu64 " added, %" PRIu64 " changed, %" PRIu64
		" removed, %" PRIu64 " kept as stale, %" PRIu64 " skipped, %" PRIu64
		" bytes fetched, %" PRIu64 " re-used%s%.600s",
		run->id, run_state_is_over(run->state) ? "is " : "stays ",
		run_state_text(run->state), c->added, c->changed, c->removed,
		c->kept_stale, c->skipped, c->bytes_fetched, c->bytes_reused,
		run->message && *run->message ? ": " : "",
		run->message ? run->message : "");
	log_info("%s", text);
	job_log_print(log, "%s", text);
	if (!log)
		return;
	close(log->fd);
	mutex_release(&log->lock);
	free(log);
}

static void put_main_aside(const char *directory, int dirfd, int64_t now_ns)
{
	char time[CLOCK_TEXT_SIZE];
	char name[64];
	char path[PATH_MAX];
	struct stat st;

	if (fstatat(dirfd, MAIN_LOG, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		st.st_size <= JOB_LOG_MAIN_MAX || !log_goes_to(&st))
		return;
	clock_format(now_ns, time);
	(void)snprintf(name, sizeof(name), MAIN_OLD "%s.log", time);
	int r = main_path(directory, path);

	if (r == 0 && renameat(dirfd, MAIN_LOG, dirfd, name) < 0)
		r = -errno;
	if (r == 0)
		r = log_open(path);
	if (r < 0)
		log_warn("the main log in %s cannot be put aside: %s", directory,
			log_strerror(r));
}

static bool is_older(int dirfd, const char *name, int64_t time_ns)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_mtim.tv_sec < time_ns / NS_PER_SEC;
}

/* The newest run of the history; 0 if it has none. */
static int64_t newest_run(struct state_db *db)
{
	struct run_list found;
	int64_t id = 0;

	if (state_db_runs_list(db, 0, 1, &found) < 0)
		return 0;
	if (found.count)
		id = found.items[0].id;
	run_list_release(&found);
	return id;
}

/* Whether a file of the directory has had its time. A run that comes after all that the history knows was
 * not forgotten: it is the history that was lost, and logs are what is left of it. */
static bool is_over(
	struct state_db *db, int64_t newest, int dirfd, const char *name, int64_t now_ns)
{
	int64_t keep_from_ns = now_ns - STATE_KEEP_NS;
	struct run_list found;
	char *end = NULL;
	bool is_run = strncmp(name, "run-", 4) == 0;
	int64_t run = is_run ? strtoll(name + 4, &end, 10) : 0;

	if (is_run && end != name + 4 && strcmp(end, ".log") == 0) {
		int r = state_db_run_find(db, run, &found);

		if (r == 0)
			run_list_release(&found);
		return r == -ENOENT &&
		       (run < newest || is_older(dirfd, name, keep_from_ns));
	}
	return strncmp(name, MAIN_OLD, strlen(MAIN_OLD)) == 0 &&
	       is_older(dirfd, name, keep_from_ns);
}

void job_log_tidy(const char *directory, struct state_db *db, int64_t now_ns)
{
	DIR *dir = directory ? opendir(directory) : NULL;

	if (!dir)
		return; /* nothing was logged there yet */
	int64_t newest = newest_run(db);

	put_main_aside(directory, dirfd(dir), now_ns);
	for (const struct dirent *d; (d = readdir(dir));)
		if (is_over(db, newest, dirfd(dir), d->d_name, now_ns) &&
			unlinkat(dirfd(dir), d->d_name, 0) < 0)
			log_warn("the old log %s/%s cannot be removed: %s", directory,
				d->d_name, log_strerror(errno));
	(void)closedir(dir);
}
