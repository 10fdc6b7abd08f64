/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Waiting at the terminal for a run of the daemon. Both return the exit status of the command. */
#pragma once

/* Shows progress on stderr until it is over, then says what it did. */
int run_watch(const char *mountpoint, double id);

/* Waits for a dry run, then prints its plan, one path a line. */
int run_watch_plan(const char *mountpoint, double id);
