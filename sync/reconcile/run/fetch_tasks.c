/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/run/fetch_tasks.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "cache/base/threads/thread.h"

#include <errno.h>
#include <stdlib.h>

#define WORKERS	   4
#define QUEUED_MAX 32
#define TICK_NS	   (500 * NS_PER_MS)

struct fetch_tasks {
	struct fetch_tasks_config config;
	struct mutex lock;
	struct condition changed;
	struct fetch_task *first;	       /* lock */
	size_t queued;			       /* lock */
	struct fetch_task *under_way[WORKERS]; /* lock; borrowed of the threads */
	bool is_complete;		       /* lock: nothing more will come */
	int error;		  /* lock: of the first task that failed for good */
	struct mutex failed_lock; /* one on_failed() at a time */
	size_t working;		  /* lock: threads that have not come to their end */
	size_t worker_count;
	pthread_t workers[WORKERS];
};

void fetch_task_free(struct fetch_task *task)
{
	if (!task)
		return;
	for (size_t i = 0; i < task->sibling_count; i++)
		catalog_unref(task->siblings[i]);
	catalog_unref(task->catalog);
	free(task->contents);
	free(task->frames);
	free(task);
}

static int compare_keys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Without memory none: then shared frames may be fetched twice, no more. */
static void list_frames(struct fetch_task *task)
{
	const struct catalog *c = task->catalog;

	task->frames = mem_calloc((size_t)c->frame_count + 1, sizeof(*task->frames));
	if (!task->frames)
		return;
	task->frame_count = c->frame_count;
	for (uint32_t i = 0; i < c->frame_count; i++) {
		const struct catalog_frame *f = &c->frames[i];

		task->frames[i] = digest_key(&c->packs[f->pack].digest) + f->offset;
	}
	qsort(task->frames, task->frame_count, sizeof(*task->frames), compare_keys);
}

static bool do_share_frames(const struct fetch_task *a, const struct fetch_task *b)
{
	for (size_t i = 0, j = 0; i < a->frame_count && j < b->frame_count;) {
		if (a->frames[i] == b->frames[j])
			return true;
		if (a->frames[i] < b->frames[j])
			i++;
		else
			j++;
	}
	return false;
}

static bool may_start(const struct fetch_tasks *tasks, const struct fetch_task *task)
{
	for (size_t i = 0; i < WORKERS; i++)
		if (tasks->under_way[i] && do_share_frames(tasks->under_way[i], task))
			return false;
	return true;
}

struct failure_context {
	struct fetch_tasks *tasks;
	const struct fetch_task *task;
};

static void note_failed(void *arg, uint32_t content, int error)
{
	const struct failure_context *context = arg;
	const struct fetch_tasks_config *config = &context->tasks->config;

	mutex_lock(&context->tasks->failed_lock);
	config->on_failed(config->arg, context->task->catalog, content, error);
	mutex_unlock(&context->tasks->failed_lock);
}

static int run_task(struct fetch_tasks *tasks, const struct fetch_task *task)
{
	struct failure_context context = {.tasks = tasks, .task = task};
	const struct prefetch_config config = {.store = tasks->config.store,
		.catalog = task->catalog,
		.contents = task->contents,
		.count = task->count,
		.siblings = (const struct catalog *const *)task->siblings,
		.sibling_count = task->sibling_count,
		.is_cancelled = tasks->config.is_cancelled,
		.progress = tasks->config.progress,
		.on_failed = note_failed,
		.arg = &context};

	return prefetch_run(&config);
}

/* Takes the first that may start out of the queue. */
static struct fetch_task *take(struct fetch_tasks *tasks) REQUIRES(tasks->lock)
{
	for (struct fetch_task **at = &tasks->first; *at; at = &(*at)->next) {
		struct fetch_task *task = *at;

		if (!may_start(tasks, task))
			continue;
		*at = task->next;
		task->next = NULL;
		tasks->queued--;
		return task;
	}
	return NULL;
}

static void set_under_way(struct fetch_tasks *tasks, const struct fetch_task *old,
	struct fetch_task *task) REQUIRES(tasks->lock)
{
	size_t i = 0;

	while (tasks->under_way[i] != old)
		i++;
	tasks->under_way[i] = task;
	condition_broadcast(&tasks->changed);
}

/* NULL: nothing more to do. */
static struct fetch_task *wait_task(struct fetch_tasks *tasks)
{
	struct fetch_task *task = NULL;

	mutex_lock(&tasks->lock);
	while (!tasks->error && !(task = take(tasks)) &&
		!(tasks->is_complete && !tasks->first))
		condition_wait(&tasks->changed, &tasks->lock);
	if (task)
		set_under_way(tasks, NULL, task);
	mutex_unlock(&tasks->lock);
	return task;
}

static void *work(void *arg)
{
	struct fetch_tasks *tasks = arg;
	struct fetch_task *task;

	while ((task = wait_task(tasks))) {
		int error = run_task(tasks, task);

		mutex_lock(&tasks->lock);
		set_under_way(tasks, task, NULL);
		if (error < 0 && !tasks->error)
			tasks->error = error;
		mutex_unlock(&tasks->lock);
		fetch_task_free(task);
	}
	mutex_lock(&tasks->lock);
	tasks->working--;
	condition_broadcast(&tasks->changed);
	mutex_unlock(&tasks->lock);
	return NULL;
}

/* Waits for a change, and tells how far it has come meanwhile. */
static void wait_and_tell(struct fetch_tasks *tasks) REQUIRES(tasks->lock)
{
	bool is_all = tasks->is_complete;

	(void)condition_wait_until(
		&tasks->changed, &tasks->lock, clock_mono_ns() + TICK_NS);
	if (!tasks->config.on_tick)
		return;
	mutex_unlock(&tasks->lock);
	tasks->config.on_tick(tasks->config.arg, is_all);
	mutex_lock(&tasks->lock);
}

int fetch_tasks_start(const struct fetch_tasks_config *config, struct fetch_tasks **out)
{
	struct fetch_tasks *tasks = mem_calloc(1, sizeof(*tasks));
	int r = 0;

	if (!tasks)
		return -ENOMEM;
	tasks->config = *config;
	mutex_init(&tasks->lock);
	mutex_init(&tasks->failed_lock);
	condition_init(&tasks->changed);
	mutex_lock(&tasks->lock);
	while (r == 0 && tasks->worker_count < WORKERS) {
		r = thread_start(
			&tasks->workers[tasks->worker_count], "prefetch", work, tasks);
		if (r == 0)
			tasks->worker_count++;
	}
	tasks->working = tasks->worker_count;
	mutex_unlock(&tasks->lock);
	if (tasks->worker_count == 0) {
		int error = fetch_tasks_finish(tasks);

		return error < 0 ? error : r;
	}
	*out = tasks;
	return 0;
}

int fetch_tasks_add(struct fetch_tasks *tasks, struct fetch_task *task)
{
	list_frames(task);
	mutex_lock(&tasks->lock);
	while (tasks->queued >= QUEUED_MAX && !tasks->error)
		wait_and_tell(tasks);
	int error = tasks->error;

	if (!error) {
		struct fetch_task **at = &tasks->first;

		while (*at)
			at = &(*at)->next;
		*at = task;
		tasks->queued++;
		condition_broadcast(&tasks->changed);
	}
	mutex_unlock(&tasks->lock);
	if (error)
		fetch_task_free(task);
	return error;
}

int fetch_tasks_finish(struct fetch_tasks *tasks)
{
	mutex_lock(&tasks->lock);
	tasks->is_complete = true;
	condition_broadcast(&tasks->changed);
	while (tasks->working)
		wait_and_tell(tasks);
	mutex_unlock(&tasks->lock);
	for (size_t i = 0; i < tasks->worker_count; i++)
		pthread_join(tasks->workers[i], NULL);
	mutex_lock(&tasks->lock);
	while (tasks->first) {
		struct fetch_task *task = tasks->first;

		tasks->first = task->next;
		fetch_task_free(task);
	}
	int error = tasks->error;

	mutex_unlock(&tasks->lock);
	condition_release(&tasks->changed);
	mutex_release(&tasks->failed_lock);
	mutex_release(&tasks->lock);
	free(tasks);
	return error;
}
