/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For tests of verbs that ask the daemon: a daemon of these verbs, and the command in a child. */
#pragma once

#include "tests/cache/support.h"

#include "sync/watch/control_verbs.h"

/* Serves scratch->path as a mountpoint; `verbs` is borrowed. */
void verb_daemon_start(const struct scratch *scratch, const struct control_verbs *verbs);
void verb_daemon_stop(void);

/* Runs cmd with these arguments up to a NULL behind its name and the mountpoint. Its exit status. */
int verb_run(
	int (*cmd)(int argc, char **argv), const char *name, const char *const *more);

/* What it printed. */
extern char verb_output[1 << 20];
