/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A daemon whose start is reported by the command that started it: the parent waits until the
 * child is ready or has failed, and exits with that.
 *
 *	r = daemonize_begin(true, &d, &status);
 *	if (d.is_daemon) { ...set up...; daemonize_ready(&d); ...serve...; daemonize_end(...); }
 *	else return status;
 *
 * Before any thread is started.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>

struct daemonize {
	bool is_daemon; /* this process does the work */
	int ready_fd;	/* -1 in the foreground, and once the parent was told */
};

/* Forks if `in_background`. In the parent it returns when the child has reported, with the
 * exit status for this command in *out_status. 0 or -errno. */
int daemonize_begin(bool in_background, struct daemonize *d, int *out_status) WARN_UNUSED;

/* Lets the parent exit with success and leaves its terminal and directory. 0 or -errno. */
int daemonize_ready(struct daemonize *d) WARN_UNUSED;

/* Tells a parent that still waits how it ended. */
void daemonize_end(struct daemonize *d, int status);
