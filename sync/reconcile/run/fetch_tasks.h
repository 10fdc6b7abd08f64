/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A few threads that make contents complete, one package each at a time. The one who fills the
 * queue waits while it is full, so that a million packages are not held at once. Packages that
 * lie in the same frames (versions of one) are not fetched at the same time: the second finds
 * what the first brought.
 *
 *	r = fetch_tasks_start(&config, &tasks);
 *	r = fetch_tasks_add(tasks, task);	(takes it over; waits for room)
 *	r = fetch_tasks_finish(tasks);		(waits for all; frees)
 */
#pragma once

#include "cache/content/fetch/prefetch.h"

#include <stdatomic.h>

#define FETCH_SIBLINGS_MAX 8

struct fetch_task {
	struct fetch_task *next;
	struct catalog *catalog; /* a reference, as all here */
	uint32_t *contents;	 /* NULL: all of it */
	size_t count;
	struct catalog *siblings[FETCH_SIBLINGS_MAX];
	size_t sibling_count;
	uint64_t *frames; /* fetch_tasks_add()'s own: what names each frame, ascending */
	size_t frame_count;
};

void fetch_task_free(struct fetch_task *task);

struct fetch_tasks_config {
	struct content_store *store;
	const atomic_bool *is_cancelled;
	struct prefetch_progress *progress;
	/* A content that could not be had: any of the threads, one at a time. */
	void (*on_failed)(
		void *arg, const struct catalog *catalog, uint32_t content, int error);
	/* Now and then while the caller waits in one of the functions below, to tell how far it has come;
	 * `is_all`: nothing more is added. May be NULL. */
	void (*on_tick)(void *arg, bool is_all);
	void *arg;
};

struct fetch_tasks;

int fetch_tasks_start(
	const struct fetch_tasks_config *config, struct fetch_tasks **out) WARN_UNUSED;

/* 0, or, with the task freed, why one before it failed for good (-ENOSPC, -EHOSTUNREACH,
 * -ECANCELED): no more are taken then. */
int fetch_tasks_add(struct fetch_tasks *tasks, struct fetch_task *task) WARN_UNUSED;

/* Ends the threads when the queue is empty. 0 or as above. */
int fetch_tasks_finish(struct fetch_tasks *tasks) WARN_UNUSED;
