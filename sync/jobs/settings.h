/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How a mirror's background work is to be done, as the admin says it: mount options, and the
 * configuration file (conf=FILE), whose section [mirror] holds the same names and whose other
 * sections are schedules and windows (sync/jobs/policy/policy.h). What stands on the command line wins.
 *
 *	settings_init(&settings);
 *	r = settings_set(&settings, "poll", "30", reason);
 *	r = settings_read(&settings, "/etc/depotfs/share.conf", reason);
 *	settings_release(&settings);
 */
#pragma once

#include "sync/jobs/calendar/words.h"
#include "sync/jobs/policy/policy.h"

#include <stdbool.h>
#include <stdint.h>

#define SETTINGS_POLL_DEFAULT_SEC 60
#define SETTINGS_GUARD_SHARE	  25 /* percent */

/* What a new head of the channel starts by itself. */
enum on_change {
	ON_CHANGE_AUTO, /* as incremental while there is no schedule, else nothing */
	ON_CHANGE_NONE,
	ON_CHANGE_INCREMENTAL,
	ON_CHANGE_FULL,
};

struct settings {
	unsigned int poll_sec; /* 0: never by itself */
	enum on_change on_change;
	char *prefetch; /* policy; never NULL */
	char **labels;
	size_t label_count;
	unsigned int guard_share; /* percent of the entries; 100: no guard by share */
	uint64_t guard_count;	  /* 0: no guard by count */
	char *pre_sync;		  /* NULL: none */
	char *post_sync;
	unsigned int hook_timeout_sec;
	char *logdir;
	uint32_t given;	     /* names that settings_set() was called for: a bit each */
	struct policy local; /* the file's schedules and windows */
};

/* 0 or -ENOMEM. */
int settings_init(struct settings *s) WARN_UNUSED;
void settings_release(struct settings *s);

/* One name and its value. -ENOENT for a name that is no setting, -EINVAL with the reason, or
 * -ENOMEM. */
int settings_set(struct settings *s, const char *name, const char *value,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* Reads a configuration file; names that were set before are left as they are. -EINVAL with
 * line and reason, or why it cannot be read. */
int settings_read(
	struct settings *s, const char *path, char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* What is given to settings_set() on the command line, for --help. */
extern const char settings_help[];
