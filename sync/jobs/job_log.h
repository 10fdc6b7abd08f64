/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The log directory (logdir=DIR, one for each mirror): the main log, depotfs.log, and a log for each
 * run, run-ID.log, which lives as long as the run stands in the history.
 *
 *	r = job_log_claim("/var/log/depotfs/share", "/srv/share", reason);
 *	r = job_log_begin("/var/log/depotfs/share");	(the mount, before threads start)
 *
 *	struct job_log *log = job_log_open(logdir, &run);
 *	job_log_print(log, "hook: %s", line);
 *	job_log_progress(log, "fetching", done, total);
 *	job_log_close(log, &run);
 *
 *	job_log_tidy(logdir, db, clock_real_ns());
 *
 * All of it works without a directory (NULL): beginning and end of a run stand in the daemon's log
 * then, and nothing else does. Any thread.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/state/run_records.h"
#include "sync/jobs/calendar/words.h"

#include <stdint.h>

/* A main log that is larger than this is put aside as depotfs-TIME.log. */
#define JOB_LOG_MAIN_MAX (8 << 20)

struct job_log;

/* Makes the directory, and this mirror's by writing the mountpoint into its file `mirror`: run numbers
 * are a mirror's own, so two would write into and tidy away each other's logs. -EEXIST if it is
 * another's, or why it cannot be had; the reason says which and what to do. */
int job_log_claim(const char *directory, const char *mountpoint,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* Makes the directory and sends the daemon's log to its depotfs.log. 0 or -errno. */
int job_log_begin(const char *directory) WARN_UNUSED;

/* Begins the run's log, or goes on with it after an interruption. Never fails for the caller: NULL
 * without a directory, and, with a warning, when no file can be written. */
struct job_log *job_log_open(const char *directory, const struct run_record *run);

/* One line with its time. NULL is fine here and below. */
void job_log_print(struct job_log *log, const char *format, ...) PRINTF_LIKE(2, 3);

/* A line that grows as progress is made: fetching  |...25%...50%...75%..100%|
 * Another label begins a new one; a print in between breaks it, it is then begun again. */
void job_log_progress(
	struct job_log *log, const char *label, uint64_t done, uint64_t total);

/* Says how the run ended, there and in the daemon's log. */
void job_log_close(struct job_log *log, const struct run_record *run);

/* Puts a large main log aside; removes the logs of runs that the history has forgotten, and main logs
 * that were put aside more than STATE_KEEP_NS before `now_ns`. What a history that was lost knew stays as long
 * as that, too. Errors are logged. */
void job_log_tidy(const char *directory, struct state_db *db, int64_t now_ns);

/* Writes the path of a run's log, which need not be there. 0 or -ENAMETOOLONG. */
int job_log_path(const char *directory, int64_t run, char *out, size_t size) WARN_UNUSED;
