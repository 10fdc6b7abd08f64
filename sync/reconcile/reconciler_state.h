/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the reconciler share; not for others. */
#pragma once

#include "cache/base/threads/mutex.h"
#include "sync/jobs/policy_fetch.h"
#include "sync/jobs/prefetch_policy.h"
#include "sync/reconcile/mirror_name.h"
#include "sync/reconcile/reconciler.h"
#include "sync/reconcile/retries.h"
#include "sync/reconcile/run/run_queue.h"
#include "sync/reconcile/timers.h"

#include <pthread.h>

/* Settings in use: a run keeps those that it began with, whatever is read anew meanwhile. */
struct shared_settings {
	struct settings settings;
	struct prefetch_policy prefetch; /* as the settings say it */
	atomic_uint refs;
};

struct reconciler {
	struct run_env env;
	char mirror[MIRROR_NAME_SIZE]; /* what makes splay and retries its own */
	struct follower *follower;     /* the time thread's */
	struct fetcher *fetcher;
	int (*reload)(void *arg, struct settings *out, char reason[TEXT_REASON_SIZE]);
	void *reload_arg;
	struct run_queue *queue;
	struct control_verbs verbs;

	/* Whoever reads schedules in order to write them: what a verb says must not be undone by
	 * the time thread, which takes up the file's and the master's. Taken before `lock`. */
	struct mutex schedules;

	struct mutex lock;
	struct condition changed;
	struct shared_settings *settings; /* lock */
	struct head head;		  /* lock */
	struct state_view view;		  /* lock; written by the runner */
	struct catalog_ref coming;	  /* lock; what the run is about to show */
	bool has_coming;		  /* lock */
	bool is_stopping;		  /* lock */
	bool is_schedule_changed;	  /* lock; the time thread is to read them anew */
	uint64_t polls_wanted;		  /* lock */
	uint64_t polls_done;		  /* lock */
	int poll_result;		  /* lock; of the last one */
	char poll_reason[OFFER_REASON_SIZE]; /* lock; "" if it went well */
	int64_t last_poll_ns;		     /* lock */
	int64_t last_sync_ns;		     /* lock */
	bool is_window_open;		     /* lock */
	int64_t window_changes_ns;	     /* lock */
	struct rate_limit run_rate;	     /* lock; the running schedule's own */
	bool has_run_rate;		     /* lock */
	struct retries retries;		     /* lock */
	char last_error[512];		     /* lock */
	char policy_error[POLICY_FETCH_REASON_SIZE]; /* lock; "" if it was taken up */

	struct run_progress progress; /* of the run under way */

	/* the time thread's own */
	struct timers timers;
	int64_t next_poll_ns;	  /* monotonic */
	struct policy policy;	  /* the master's, as the head names it */
	uint64_t policy_sequence; /* of the head that it came with; 0: none yet */

	bool has_threads;
	pthread_t time_thread;
	pthread_t run_thread;
};

/* The settings now in force, to be given back. */
struct shared_settings *reconciler_settings(struct reconciler *r);
void shared_settings_put(struct shared_settings *settings);

/* Takes over `settings`, leaving them empty. NULL when memory is short. */
struct shared_settings *shared_settings_new(struct settings *settings);

/* Queues a run by what a schedule says. 0 or -errno. */
int reconciler_queue_schedule(struct reconciler *r,
	const struct schedule_record *schedule, int64_t *out_id) WARN_UNUSED;

/* Makes the time thread look at everything again. */
void reconciler_wake(struct reconciler *r);

/* The thread that keeps the time: polls, schedules, windows (reconciler_time.c). */
void *reconciler_keep_time(void *arg);

/* The control verbs (reconciler_verbs.c). */
void reconciler_set_verbs(struct reconciler *r);
