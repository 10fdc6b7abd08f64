/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Runs that wait, and the one that runs. One at a time, in the order in which they were asked for,
 * so that no package is ever worked on twice at once. The queue stands in the state database:
 * what a kill interrupted waits again after the next start.
 *
 *	r = run_queue_new(db, &queue);
 *	r = run_queue_add(queue, &run, &id);		(any thread)
 *	while (run_queue_take(queue, &run) == 0) {	(the runner's thread, waits)
 *		... run_queue_is_cancelled(queue) ...
 *		run_queue_finish(queue, run);
 *	}
 *	run_queue_stop(queue);
 *	run_queue_free(queue);
 */
#pragma once

#include "cache/state/run_records.h"
#include "cache/state/state_db.h"

#include <stdatomic.h>
#include <stdbool.h>

struct run_queue;

/* Takes up what is unfinished in `db`, which is borrowed; dry runs end there, as nobody waits for
 * them any more. 0 or -errno. */
int run_queue_new(struct state_db *db, struct run_queue **out) WARN_UNUSED;
void run_queue_free(struct run_queue *queue);

/* Queues a copy of `run` (id, state and times are the queue's). If one that asks for the same
 * waits already, that one's id is given and nothing is queued. 0 or -errno. */
int run_queue_add(struct run_queue *queue, const struct run_record *run,
	int64_t *out_id) WARN_UNUSED;

/* Waits for the next run, which is then RUN_RUNNING and the caller's until it is finished;
 * -ECANCELED after run_queue_stop(). One thread. */
int run_queue_take(struct run_queue *queue, struct run_record **out) WARN_UNUSED;

/* Writes how it ended: its state is over, or RUN_QUEUED to leave it to the next start. */
void run_queue_finish(struct run_queue *queue, struct run_record *run);

/* Sets in `record`, read from the database, how its run ended if the database (a full disk) did not
 * take it: it would seem to run for ever. Its message is then kept in `message`. Any thread. */
bool run_queue_correct(struct run_queue *queue, struct run_record *record, char *message,
	size_t message_size);

/* Whether the running one is to end. Borrowed as long as the queue; any thread. */
const atomic_bool *run_queue_cancelled(const struct run_queue *queue);

/* One that waits is over at once, the running one soon; one that waits and owes post_sync is taken
 * cancelled, for that alone. -ENOENT for others. Any thread. */
int run_queue_cancel(struct run_queue *queue, int64_t id) WARN_UNUSED;

/* The running one's id, or 0; how many wait. Any thread. */
int64_t run_queue_running(struct run_queue *queue);
size_t run_queue_waiting(struct run_queue *queue);

/* Ends run_queue_take(), and cancels the running one. Any thread. */
void run_queue_stop(struct run_queue *queue);
