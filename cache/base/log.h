/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The one logger. A message says what, which object, and what the admin can do; nothing
 * secret. Lines go to stderr and, when log_open() was given a path, to that file, whole
 * lines at a time. Any thread; takes no lock but the stream's own.
 *
 *	return log_error_errno(r, "cannot read %s: %s", path, log_strerror(r));
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Opens a file to append lines to, and makes it if it is missing: no symbolic link, and no pipe, which
 * would hold up whoever writes to it. Returns the descriptor or -errno. */
int log_open_file(const char *path) WARN_UNUSED;

/* Appends to the file at `path` from now on, with time stamps. Returns 0 or -errno.
 * A second call goes on in another file, while any thread may log; the first one comes before threads
 * start. */
int log_open(const char *path) WARN_UNUSED;

/* Whether this is the file that log_open() opened. Any thread. */
bool log_goes_to(const struct stat *file);

/* Messages above `level` are dropped; the default is LOG_INFO. */
void log_set_level(enum log_level level);

/* Stops writing to stderr (a daemon that has let go of its terminal). */
void log_detach_stderr(void);

void log_print(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Writes an error line and returns `r`, so that a failing function ends in one line. */
int log_error_errno(int r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The words for an internal error (-errno or errno): the fixed meanings of this project
 * (corrupt, bad signature, no source answers, superseded, full) first, else strerror's.
 * The pointer stays valid for ever. */
const char *log_strerror(int r);

/* Puts '?' in place of control characters but the tab: names of files and what others say must neither
 * begin a line of their own nor command a terminal. Done for every line that is logged. */
void log_make_plain(char *text);

/* Copies the newest LOG_ERR line into `out` ("" if there was none). Returns when it was logged, in real
 * time; 0 if there was none. */
int64_t log_last_error(char *out, size_t size);

#define log_error(...) log_print(LOG_ERR, __VA_ARGS__)
#define log_warn(...)  log_print(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_print(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_print(LOG_DEBUG, __VA_ARGS__)
