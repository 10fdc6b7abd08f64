/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/run/run_queue.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct queued {
	struct run_record run; /* first; texts owned */
	bool is_cancelled;     /* it waits for its post_sync alone */
	struct queued *next;
};

struct run_queue {
	struct state_db *db;
	struct mutex lock;
	struct condition changed;
	struct queued *first;	  /* lock */
	struct queued *taken;	  /* lock; the runner's own but for its id */
	struct queued *unwritten; /* lock; ended, and the database would not take it */
	bool is_stopping;	  /* lock */
	atomic_bool is_cancelled; /* the taken one */
};

static void queued_free(struct queued *q)
{
	if (!q)
		return;
	free((char *)(uintptr_t)q->run.job);
	free((char *)(uintptr_t)q->run.selection);
	free((char *)(uintptr_t)q->run.prefetch);
	free((char *)(uintptr_t)q->run.message);
	free(q);
}

static void free_all(struct queued **first)
{
	while (*first) {
		struct queued *q = *first;

		*first = q->next;
		queued_free(q);
	}
}

static const char *text(const char *s)
{
	return s ? s : "";
}

static struct queued *queued_new(const struct run_record *run)
{
	struct queued *q = mem_calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->run = *run;
	q->run.job = mem_strdup(text(run->job));
	q->run.selection = mem_strdup(text(run->selection));
	q->run.prefetch = mem_strdup(text(run->prefetch));
	q->run.message = mem_strdup("");
	if (!q->run.job || !q->run.selection || !q->run.prefetch || !q->run.message) {
		queued_free(q);
		return NULL;
	}
	return q;
}

static void append(struct run_queue *queue, struct queued *q) REQUIRES(queue->lock)
{
	struct queued **at = &queue->first;

	while (*at)
		at = &(*at)->next;
	*at = q;
}

/* What the last daemon did not bring to an end. */
static int take_up(struct run_queue *queue)
{
	struct run_list list;
	int r = state_db_runs_unfinished(queue->db, &list);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < list.count; i++) {
		struct run_record *run = &list.items[i];

		if (run->is_dry) {
			run->state = RUN_CANCELLED;
			run->end_ns = clock_real_ns();
			r = state_db_run_update(queue->db, run);
			continue;
		}
		if (run->state == RUN_RUNNING)
			run->trigger = RUN_BY_RESUME;
		run->state = RUN_QUEUED;
		run->counts = (struct run_counts){0};
		r = state_db_run_update(queue->db, run);
		struct queued *q = r == 0 ? queued_new(run) : NULL;

		if (r == 0 && !q)
			r = -ENOMEM;
		if (q) {
			mutex_lock(&queue->lock);
			append(queue, q);
			mutex_unlock(&queue->lock);
		}
	}
	run_list_release(&list);
	return r;
}

int run_queue_new(struct state_db *db, struct run_queue **out)
{
	struct run_queue *queue = mem_calloc(1, sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	queue->db = db;
	mutex_init(&queue->lock);
	condition_init(&queue->changed);
	int r = take_up(queue);

	if (r < 0) {
		run_queue_free(queue);
		return r;
	}
	*out = queue;
	return 0;
}

/* What the database would not take before: a full disk may have room again. */
static void write_late(struct run_queue *queue)
{
	mutex_lock(&queue->lock);
	while (queue->unwritten) {
		struct queued *q = queue->unwritten;
		int r = state_db_run_update(queue->db, &q->run);

		if (r < 0 && r != -ENOENT)
			break;
		queue->unwritten = q->next;
		queued_free(q);
	}
	mutex_unlock(&queue->lock);
}

void run_queue_free(struct run_queue *queue)
{
	if (!queue)
		return;
	write_late(queue);
	mutex_lock(&queue->lock);
	free_all(&queue->first);
	free_all(&queue->unwritten);
	mutex_unlock(&queue->lock);
	condition_release(&queue->changed);
	mutex_release(&queue->lock);
	free(queue);
}

static bool is_alike(const struct run_record *a, const struct run_record *b)
{
	return a->is_full == b->is_full && a->is_dry == b->is_dry &&
	       a->is_deep == b->is_deep && a->is_delete_allowed == b->is_delete_allowed &&
	       strcmp(text(a->job), text(b->job)) == 0 &&
	       strcmp(text(a->selection), text(b->selection)) == 0 &&
	       strcmp(text(a->prefetch), text(b->prefetch)) == 0;
}

static int64_t find_alike(struct run_queue *queue, const struct run_record *run)
	REQUIRES(queue->lock)
{
	for (const struct queued *q = queue->first; q; q = q->next)
		if (!q->is_cancelled && is_alike(&q->run, run))
			return q->run.id;
	return 0;
}

int run_queue_add(struct run_queue *queue, const struct run_record *run, int64_t *out_id)
{
	struct queued *q = queued_new(run);

	if (!q)
		return -ENOMEM;
	q->run.state = RUN_QUEUED;
	q->run.queued_ns = clock_real_ns();
	mutex_lock(&queue->lock);
	int64_t id = find_alike(queue, run);

	mutex_unlock(&queue->lock);
	if (id) {
		queued_free(q);
		*out_id = id;
		return 0;
	}
	int r = state_db_run_add(queue->db, &q->run, &q->run.id);

	if (r < 0) {
		queued_free(q);
		return r;
	}
	*out_id = q->run.id;
	mutex_lock(&queue->lock);
	append(queue, q);
	condition_broadcast(&queue->changed);
	mutex_unlock(&queue->lock);
	return 0;
}

int run_queue_take(struct run_queue *queue, struct run_record **out)
{
	mutex_lock(&queue->lock);
	while (!queue->first && !queue->is_stopping)
		condition_wait(&queue->changed, &queue->lock);
	struct queued *q = queue->is_stopping ? NULL : queue->first;

	if (q) {
		queue->first = q->next;
		q->next = NULL;
		queue->taken = q;
		atomic_store(&queue->is_cancelled, q->is_cancelled);
	}
	mutex_unlock(&queue->lock);
	if (!q)
		return -ECANCELED;
	q->run.state = RUN_RUNNING;
	q->run.start_ns = clock_real_ns();
	if (state_db_run_update(queue->db, &q->run) < 0)
		log_warn("run %lld is not in the history: a kill would lose it",
			(long long)q->run.id);
	*out = &q->run;
	return 0;
}

void run_queue_finish(struct run_queue *queue, struct run_record *run)
{
	struct queued *q = (struct queued *)run;

	if (run_state_is_over(run->state))
		run->end_ns = clock_real_ns();
	write_late(queue);
	int r = state_db_run_update(queue->db, run);

	if (r < 0)
		log_warn("the end of run %lld is not in the history", (long long)run->id);
	mutex_lock(&queue->lock);
	queue->taken = NULL;
	if (r < 0) {
		q->next = queue->unwritten;
		queue->unwritten = q;
	}
	mutex_unlock(&queue->lock);
	if (r == 0)
		queued_free(q);
}

bool run_queue_correct(struct run_queue *queue, struct run_record *record, char *message,
	size_t message_size)
{
	bool is_found = false;

	mutex_lock(&queue->lock);
	for (const struct queued *q = queue->unwritten; q && !is_found; q = q->next) {
		is_found = q->run.id == record->id;
		if (!is_found)
			continue;
		(void)snprintf(message, message_size, "%s", text(q->run.message));
		record->message = message;
		record->state = q->run.state;
		record->end_ns = q->run.end_ns;
		record->revision_before = q->run.revision_before;
		record->revision_after = q->run.revision_after;
		record->counts = q->run.counts;
	}
	mutex_unlock(&queue->lock);
	return is_found;
}

const atomic_bool *run_queue_cancelled(const struct run_queue *queue)
{
	return &queue->is_cancelled;
}

int run_queue_cancel(struct run_queue *queue, int64_t id)
{
	struct queued *found = NULL;
	int r = -ENOENT;

	mutex_lock(&queue->lock);
	if (queue->taken && queue->taken->run.id == id) {
		atomic_store(&queue->is_cancelled, true);
		r = 0;
	}
	for (struct queued **at = &queue->first; *at; at = &(*at)->next) {
		if ((*at)->run.id != id)
			continue;
		if ((*at)->run.is_post_owed) {
			(*at)->is_cancelled = true;
			r = 0;
			break;
		}
		found = *at;
		*at = found->next;
		break;
	}
	mutex_unlock(&queue->lock);
	if (found) {
		found->run.state = RUN_CANCELLED;
		found->run.end_ns = clock_real_ns();
		r = state_db_run_update(queue->db, &found->run);
		queued_free(found);
	}
	return r;
}

int64_t run_queue_running(struct run_queue *queue)
{
	mutex_lock(&queue->lock);
	int64_t id = queue->taken ? queue->taken->run.id : 0;

	mutex_unlock(&queue->lock);
	return id;
}

size_t run_queue_waiting(struct run_queue *queue)
{
	size_t n = 0;

	mutex_lock(&queue->lock);
	for (const struct queued *q = queue->first; q; q = q->next)
		n++;
	mutex_unlock(&queue->lock);
	return n;
}

void run_queue_stop(struct run_queue *queue)
{
	mutex_lock(&queue->lock);
	queue->is_stopping = true;
	atomic_store(&queue->is_cancelled, true);
	condition_broadcast(&queue->changed);
	mutex_unlock(&queue->lock);
}
