/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verbs about jobs and schedules; see cache/base/cli.h for what a verb is. */
#pragma once

int cmd_sync(int argc, char **argv);
int cmd_jobs(int argc, char **argv);
int cmd_job(int argc, char **argv);
int cmd_schedule(int argc, char **argv);
int cmd_reload(int argc, char **argv);
