/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The background of a mirror: asks the channel for news, runs what the schedules and the admin want,
 * and keeps transfers within their windows. Two threads: one keeps the time, one runs.
 *
 *	r = reconciler_new(&config, &reconciler);
 *	r = reconciler_start(reconciler);	(once the mount can be switched over)
 *	... reconciler_verbs() answers the control socket
 *	reconciler_stop(reconciler);		(no run is under way any more)
 *	reconciler_free(reconciler);
 */
#pragma once

#include "sync/jobs/settings.h"
#include "sync/mirror/follower.h"
#include "sync/reconcile/run/run.h"
#include "sync/watch/control_verbs.h"

#include <stdbool.h>
#include <stdint.h>

struct reconciler;

struct reconciler_config {
	struct run_env env;
	struct follower *follower;
	struct fetcher *fetcher;	/* for the master's policy */
	struct follower_result channel; /* as the mount began */
	struct state_view view;		/* what it shows */
	struct settings *settings;	/* taken over, and left empty */
	/* Reads the settings anew for `reload`; refuses with the reason. */
	int (*reload)(void *arg, struct settings *out, char reason[TEXT_REASON_SIZE]);
	void *reload_arg;
};

/* Borrows what `config` points to but for the settings. 0 or -errno. */
int reconciler_new(
	const struct reconciler_config *config, struct reconciler **out) WARN_UNUSED;
int reconciler_start(struct reconciler *reconciler) WARN_UNUSED;

/* Cancels the run under way (it is taken up at the next start) and ends the threads. Takes NULL. */
void reconciler_stop(struct reconciler *reconciler);
void reconciler_free(struct reconciler *reconciler);

/* Answers sync, jobs, job, job-cancel, schedule-*, reload. Lives as long as the reconciler. */
const struct control_verbs *reconciler_verbs(struct reconciler *reconciler);

struct reconciler_status {
	struct head head;	/* the newest of the channel */
	struct state_view view; /* what the mount shows */
	int64_t last_poll_ns; /* real time of the last answer of the channel; 0: none yet */
	int64_t last_sync_ns; /* ... the end of the last run that was done */
	char last_error[512]; /* of the last run or poll, "" if it went well */
	int64_t running;      /* the run's id, or 0 */
	size_t waiting;
	char policy_error[512]; /* why the master's policy is not taken up, "" */
	bool is_window_open;
	uint64_t polls;
};

/* Any thread. */
void reconciler_status(struct reconciler *reconciler, struct reconciler_status *out);

#define RECONCILER_ROOTS 3

/* The roots of what is shown (first), of the newest head, and of what a run is about to show. Returns
 * how many. Any thread. */
size_t reconciler_roots(
	struct reconciler *reconciler, struct catalog_ref out[RECONCILER_ROOTS]);

/* Whether the mount's prefetch policy wants this file here. Any thread. */
bool reconciler_promises(struct reconciler *reconciler, const char *path);
