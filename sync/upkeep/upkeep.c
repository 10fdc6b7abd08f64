/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/upkeep/upkeep.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/thread.h"
#include "cache/below.h"
#include "sync/upkeep/upkeep_task.h"

#include <errno.h>
#include <string.h>

#define TASKS_WAITING_MAX 64

/* How many that are over can still be asked for. */
#define TASKS_KEPT 32

struct upkeep {
	struct upkeep_config config;
	pthread_t thread;
	struct mutex lock;
	struct condition changed;
	struct upkeep_task *tasks; /* lock; oldest first */
	uint64_t last_id;	   /* lock */
	bool is_ending;		   /* lock */
};

static bool is_over(const struct upkeep_task *task)
{
	return atomic_load(&task->state) > UPKEEP_RUNNING;
}

static struct upkeep_task *next_task(const struct upkeep *u) REQUIRES(u->lock)
{
	struct upkeep_task *task = u->tasks;

	while (task && atomic_load(&task->state) != UPKEEP_QUEUED)
		task = task->next;
	return task;
}

/* Forgets the oldest of those that are over. */
static void trim(struct upkeep *u) REQUIRES(u->lock)
{
	size_t over = 0;

	for (const struct upkeep_task *t = u->tasks; t; t = t->next)
		over += is_over(t);
	for (struct upkeep_task **at = &u->tasks; *at && over > TASKS_KEPT;) {
		struct upkeep_task *task = *at;

		if (!is_over(task)) {
			at = &task->next;
			continue;
		}
		*at = task->next;
		upkeep_task_free(task);
		over--;
	}
}

static void *run_tasks(void *arg)
{
	struct upkeep *u = arg;

	mutex_lock(&u->lock);
	while (!u->is_ending) {
		struct upkeep_task *task = next_task(u);

		if (!task) {
			condition_wait(&u->changed, &u->lock);
			continue;
		}
		mutex_unlock(&u->lock);
		/* only this thread frees tasks while it runs */
		upkeep_task_run(task, &u->config);
		mutex_lock(&u->lock);
		trim(u);
	}
	mutex_unlock(&u->lock);
	return NULL;
}

int upkeep_start(const struct upkeep_config *config, struct upkeep **out)
{
	struct upkeep *u = mem_calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	u->config = *config;
	mutex_init(&u->lock);
	condition_init(&u->changed);
	int r = thread_start(&u->thread, "upkeep", run_tasks, u);

	if (r < 0) {
		condition_release(&u->changed);
		mutex_release(&u->lock);
		free(u);
		return r;
	}
	*out = u;
	return 0;
}

void upkeep_stop(struct upkeep *u)
{
	if (!u)
		return;
	mutex_lock(&u->lock);
	u->is_ending = true;
	for (struct upkeep_task *t = u->tasks; t; t = t->next)
		atomic_store(&t->is_cancelled, true);
	condition_signal(&u->changed);
	mutex_unlock(&u->lock);
	pthread_join(u->thread, NULL);
	for (struct upkeep_task *t = u->tasks, *next; t; t = next) {
		next = t->next;
		upkeep_task_free(t);
	}
	condition_release(&u->changed);
	mutex_release(&u->lock);
	free(u);
}

/* The request's paths, copied and checked. */
static int take_paths(
	const cJSON *request, cJSON *answer, char ***out_paths, size_t *out_count)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(request, "paths");
	size_t wanted = (size_t)cJSON_GetArraySize(list);
	size_t count = 0;
	const cJSON *item;

	if (wanted == 0)
		return control_refuse(answer, -EINVAL, "no path was given");
	char **paths = mem_calloc(wanted, sizeof(*paths));

	if (!paths)
		return -ENOMEM;
	cJSON_ArrayForEach(item, list)
	{
		if (!cJSON_IsString(item) || !below_is_path(item->valuestring)) {
			pins_free_copy(paths, count);
			return control_refuse(answer, -EINVAL,
				"paths begin at the mount's top and hold no . or ..");
		}
		paths[count] = mem_strdup(item->valuestring);
		if (!paths[count]) {
			pins_free_copy(paths, count);
			return -ENOMEM;
		}
		count++;
	}
	*out_paths = paths;
	*out_count = count;
	return 0;
}

static int queue(struct upkeep *u, struct upkeep_task *task, uint64_t *out_id)
{
	struct upkeep_task **at = &u->tasks;
	size_t waiting = 0;
	int r = -EBUSY;

	mutex_lock(&u->lock);
	for (; *at; at = &(*at)->next)
		waiting += !is_over(*at);
	if (waiting < TASKS_WAITING_MAX && !u->is_ending) {
		task->id = ++u->last_id;
		*out_id = task->id;
		*at = task;
		condition_signal(&u->changed);
		r = 0;
	}
	mutex_unlock(&u->lock);
	return r;
}

static int start(
	struct upkeep *u, enum upkeep_kind kind, const cJSON *request, cJSON *answer)
{
	struct upkeep_task *task = mem_calloc(1, sizeof(*task));
	uint64_t id = 0;

	if (!task)
		return -ENOMEM;
	mutex_init(&task->lock);
	task->kind = kind;
	task->is_deep = control_is_true(request, "deep");
	task->is_forced = control_is_true(request, "force");
	int r = take_paths(request, answer, &task->paths, &task->path_count);

	if (r == 0)
		r = queue(u, task, &id);
	if (r < 0) {
		upkeep_task_free(task);
		return r == -EBUSY ? control_refuse(answer, r,
					     "too many such requests wait already")
				   : r;
	}
	cJSON_AddNumberToObject(answer, "task", (double)id);
	return 0;
}

static int answer_pin(void *arg, const cJSON *request, cJSON *answer)
{
	return start(arg, UPKEEP_PIN, request, answer);
}

static int answer_prefetch(void *arg, const cJSON *request, cJSON *answer)
{
	return start(arg, UPKEEP_PREFETCH, request, answer);
}

static int answer_evict(void *arg, const cJSON *request, cJSON *answer)
{
	return start(arg, UPKEEP_EVICT, request, answer);
}

static int answer_verify(void *arg, const cJSON *request, cJSON *answer)
{
	return start(arg, UPKEEP_VERIFY, request, answer);
}

static int answer_unpin(void *arg, const cJSON *request, cJSON *answer)
{
	const struct upkeep *u = arg;
	char **paths = NULL;
	size_t count = 0;
	int r = take_paths(request, answer, &paths, &count);

	for (size_t i = 0; i < count && r == 0; i++) {
		r = pins_remove(u->config.pins, paths[i]);
		if (r == -ENOENT)
			r = control_refuse(answer, r,
				"'%s' is not pinned itself ('depotfs pin --list' tells "
				"what is)",
				paths[i]);
	}
	if (r == 0)
		cJSON_AddNumberToObject(answer, "unpinned", (double)count);
	pins_free_copy(paths, count);
	return r;
}

static int answer_pins(void *arg, const cJSON *request, cJSON *answer)
{
	const struct upkeep *u = arg;
	char **paths;
	size_t count;
	int r = pins_copy(u->config.pins, &paths, &count);

	(void)request;
	if (r < 0)
		return r;
	cJSON *list = cJSON_AddArrayToObject(answer, "pins");

	for (size_t i = 0; i < count; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(paths[i]));
	pins_free_copy(paths, count);
	return 0;
}

static const char *const kinds[] = {"pin", "prefetch", "evict", "verify"};

/* What is being done while a task waits for its turn. */
static void tell_behind(const struct upkeep *u, const struct upkeep_task *task,
	cJSON *answer) REQUIRES(u->lock)
{
	const struct upkeep_task *before = u->tasks;

	while (before && atomic_load(&before->state) != UPKEEP_RUNNING)
		before = before->next;
	if (before && atomic_load(&task->state) == UPKEEP_QUEUED)
		cJSON_AddStringToObject(answer, "behind", kinds[before->kind]);
}

static void tell(struct upkeep_task *task, cJSON *answer)
{
	static const char *const states[] = {
		"queued", "running", "done", "failed", "cancelled"};
	const struct {
		const char *name;
		unsigned long long value;
	} numbers[] = {
		{"bytes_fetched", atomic_load(&task->progress.bytes_fetched)},
		{"bytes_reused", atomic_load(&task->progress.bytes_reused)},
		{"bytes_total", atomic_load(&task->bytes_total)},
		{"contents", atomic_load(&task->looked_at)},
		{"contents_done", atomic_load(&task->progress.contents_done)},
		{"contents_failed", atomic_load(&task->progress.contents_failed)},
		{"removed", atomic_load(&task->removed)},
		{"removed_bytes", atomic_load(&task->removed_bytes)},
		{"kept", atomic_load(&task->kept)},
		{"damaged", atomic_load(&task->damaged)},
		{"missing_catalogs", atomic_load(&task->missing_catalogs)},
	};

	cJSON_AddNumberToObject(answer, "task", (double)task->id);
	cJSON_AddStringToObject(answer, "verb", kinds[task->kind]);
	cJSON_AddStringToObject(answer, "state", states[atomic_load(&task->state)]);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		cJSON_AddNumberToObject(
			answer, numbers[i].name, (double)numbers[i].value);
	mutex_lock(&task->lock);
	cJSON_AddStringToObject(answer, "message", task->message);
	cJSON *list = cJSON_AddArrayToObject(answer, "paths");

	for (size_t i = 0; i < task->named_count; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(task->named[i]));
	mutex_unlock(&task->lock);
}

static int with_task(
	struct upkeep *u, const cJSON *request, cJSON *answer, bool is_cancel)
{
	double id = control_number(request, "task", 0);
	int r = 0;

	mutex_lock(&u->lock);
	struct upkeep_task *task = u->tasks;

	while (task && (double)task->id != id)
		task = task->next;
	if (!task)
		r = control_refuse(
			answer, -ENOENT, "there is no task %.0f (any more)", id);
	if (task && is_cancel)
		atomic_store(&task->is_cancelled, true);
	if (task) {
		tell(task, answer);
		tell_behind(u, task, answer);
	}
	mutex_unlock(&u->lock);
	return r;
}

static int answer_task(void *arg, const cJSON *request, cJSON *answer)
{
	return with_task(arg, request, answer, false);
}

static int answer_cancel(void *arg, const cJSON *request, cJSON *answer)
{
	return with_task(arg, request, answer, true);
}

struct control_verbs upkeep_verbs(struct upkeep *upkeep)
{
	static const struct control_verb verbs[] = {
		{"pin", answer_pin},
		{"unpin", answer_unpin},
		{"pins", answer_pins},
		{"prefetch", answer_prefetch},
		{"evict", answer_evict},
		{"verify", answer_verify},
		{"task", answer_task},
		{"task-cancel", answer_cancel},
	};

	return (struct control_verbs){
		.verbs = verbs, .count = ARRAY_SIZE(verbs), .arg = upkeep};
}
