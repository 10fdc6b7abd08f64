/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Runs that failed and that nobody stands by to ask for again: what schedules and news started. They
 * are tried again after a minute, then after twice as long each time, an hour at most, until one of
 * the same job is done. A fleet that fails together does not come back together: each mirror adds up
 * to a quarter of its own.
 *
 *	at_ns = retries_add(&retries, record, now_ns);		(it failed)
 *	retries_forget(&retries, record->job);			(it is done, or was not to be)
 *	while (retries_take(&retries, now_ns, &record)) ...	(queue it, then retry_release())
 *	retries_release(&retries);
 *
 * Not thread-safe: its owner's lock.
 */
#pragma once

#include "cache/state/run_records.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RETRIES_MAX	  64
#define RETRY_FIRST_SEC	  60
#define RETRY_LONGEST_SEC 3600
#define RETRY_NEVER	  INT64_MAX

struct retry {
	struct run_record record; /* texts owned */
	int64_t at_ns;		  /* real time; RETRY_NEVER while it is queued again */
	unsigned int failures;
};

struct retries {
	uint64_t seed; /* spreads the times of a fleet by up to a quarter; 0: not */
	struct retry items[RETRIES_MAX];
	size_t count;
};

void retries_release(struct retries *retries);

/* Returns when it will be tried again; 0 if there is no room or no memory to remember it. */
int64_t retries_add(
	struct retries *retries, const struct run_record *record, int64_t now_ns);

/* Nothing to be tried again of this job. */
void retries_forget(struct retries *retries, const char *job);

/* When a run of this job would be tried again if it failed now. */
int64_t retries_after(const struct retries *retries, const char *job, int64_t now_ns);

/* A copy of one whose time has come, to be queued: true, and retry_release() is the caller's. */
bool retries_take(struct retries *retries, int64_t now_ns, struct run_record *out);
void retry_release(struct run_record *record);

/* When this run, which failed, will be tried again; 0: it will not, or it is queued already. */
int64_t retries_of(const struct retries *retries, int64_t run);

/* The earliest time; RETRY_NEVER if there is none. */
int64_t retries_next_ns(const struct retries *retries);
