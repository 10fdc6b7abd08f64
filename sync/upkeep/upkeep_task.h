/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One request, and how far it has come; not for others than sync/upkeep. */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/content/fetch/prefetch.h"
#include "sync/upkeep/upkeep.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Paths that are named in an answer; all are counted. */
#define UPKEEP_NAMED_MAX 1000

enum upkeep_kind { UPKEEP_PIN, UPKEEP_PREFETCH, UPKEEP_EVICT, UPKEEP_VERIFY };
enum upkeep_state {
	UPKEEP_QUEUED,
	UPKEEP_RUNNING,
	UPKEEP_DONE,
	UPKEEP_FAILED,
	UPKEEP_CANCELLED
};

struct upkeep_task {
	struct upkeep_task *next; /* upkeep.lock */
	uint64_t id;
	enum upkeep_kind kind;
	char **paths;
	size_t path_count;
	bool is_deep;
	bool is_forced;
	atomic_bool is_cancelled;
	atomic_int state; /* enum upkeep_state */

	/* how far it has come */
	struct prefetch_progress progress;
	atomic_ullong bytes_total; /* to be fetched, as far as is known */
	atomic_ullong looked_at;   /* contents */
	atomic_ullong removed;
	atomic_ullong removed_bytes;
	atomic_ullong kept; /* pinned ones that were not removed */
	atomic_ullong damaged;
	atomic_ullong missing_catalogs;

	struct mutex lock;
	char message[512]; /* lock */
	char **named;	   /* lock; paths that were damaged or could not be had */
	size_t named_count;
	size_t named_capacity;
};

/* Runs the task on the caller's thread, sets its state and message. */
void upkeep_task_run(struct upkeep_task *task, const struct upkeep_config *config);

void upkeep_task_free(struct upkeep_task *task);
