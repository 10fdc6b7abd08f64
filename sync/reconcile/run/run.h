/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One sync from beginning to end: plan, guard, hook, prefetch, flip, sweep, hook. Until the flip
 * the mirror is as it was; the flip is one transaction of the state database.
 *
 *	struct run run = {.env = &env, .record = record, ...};
 *	run_execute(&run);		(record->state and ->message say how it ended)
 *
 * On the runner's thread; waits for the network, as long as no source is given up.
 */
#pragma once

#include "cache/catalog/catalog_store.h"
#include "cache/content/content.h"
#include "cache/content/fetch/prefetch.h"
#include "cache/content/fetch/reasons.h"
#include "cache/pins.h"
#include "cache/state/run_records.h"
#include "cache/state/state_db.h"
#include "sync/jobs/job_log.h"
#include "sync/jobs/settings.h"
#include "sync/trust/record.h"

#include <stdatomic.h>
#include <stdbool.h>

#define RUN_MESSAGE_SIZE 512

/* What runs work with. Borrowed for as long as runs are executed. */
struct run_env {
	const char *mountpoint;
	int cache_dirfd;
	struct catalog_store *catalogs;
	struct content_store *contents;
	struct object_store *objects;
	struct source *source; /* NULL: nothing can be fetched */
	struct state_db *state;
	struct pins *pins;
	int64_t timeout_ns; /* for one answer of the network */

	/* Switches the mount over; returns when the kernel knows. 0 or -errno. */
	int (*flip)(void *arg, const struct catalog_ref *root, uint64_t revision);
	void *flip_arg;

	/* What a run is about to show, before its catalogs are on disk; NULL: nothing any more. */
	void (*coming)(void *arg, const struct catalog_ref *root);
	void *coming_arg;
};

enum run_phase {
	RUN_PHASE_WAITING,
	RUN_PHASE_PLANNING,
	RUN_PHASE_HOOK,
	RUN_PHASE_FETCHING,
	RUN_PHASE_FLIPPING,
	RUN_PHASE_CHECKING,
};

const char *run_phase_text(enum run_phase phase);

/* How far it has come; anybody may look. */
struct run_progress {
	atomic_int phase;
	atomic_ullong bytes_total; /* to be fetched ahead, as far as is known */
	atomic_ullong contents_total;
	struct prefetch_progress fetch;
};

struct run {
	const struct run_env *env;
	const struct settings *settings;
	const struct head *head;   /* where to go */
	struct run_record *record; /* the revisions are the view's */
	struct state_view *view;   /* what the mount shows; set by the flip */
	struct run_progress *progress;
	const atomic_bool *is_cancelled;
	struct job_log *log;
	struct fetch_reasons reasons;	/* since it began */
	bool is_held;			/* the guard or pre_sync does not let it go on */
	int64_t next_attempt_ns;	/* real time, if this one fails; 0: none */
	bool has_changes;		/* the plan's root is not what is shown */
	bool is_switched;		/* the mount shows the new view */
	char message[RUN_MESSAGE_SIZE]; /* record->message points here at the end */
};

/* Sets record->state, ->counts, ->revision_after and ->message. Returns 0 when it was done, else
 * why not: -ECANCELED leaves the record as run_state_cancelled() says, -EPERM RUN_STOPPED (the guard or a
 * hook), all else RUN_FAILED. */
int run_execute(struct run *run) WARN_UNUSED;

/* What a run is that ended with -ECANCELED: RUN_CANCELLED, or RUN_QUEUED if nobody has cancelled it and
 * the mirror ends; then the next start takes it up. */
enum run_state run_state_cancelled(const struct run *run);

/* Adds to run->message and to the logs, and counts it; returns `error`. */
int run_note_error(struct run *run, int error, const char *format, ...) PRINTF_LIKE(3, 4);

/* Likewise what does not make the run less than done. */
void run_note_warning(struct run *run, const char *format, ...) PRINTF_LIKE(2, 3);
