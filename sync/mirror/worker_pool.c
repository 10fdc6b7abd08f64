/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/worker_pool.h"

#include "cache/base/memory.h"
#include "cache/base/threads/mutex.h"
#include "cache/base/threads/thread.h"

#include <errno.h>
#include <unistd.h>

#define WORKERS_MIN  2
#define WORKERS_MAX  16
#define QUEUE_FULL   (16 * 1024 * 1024)
#define POLITE_SHARE 2 /* of that for the background */
#define CLASSES	     (FETCH_BACKGROUND + 1)

struct work_queue {
	struct work *first;
	struct work **last;
};

/* How full the queue may get for some of those who feed it. */
struct fill {
	size_t most;
	bool is_reached; /* until half of it has run */
};

struct worker_pool {
	void (*on_room)(void *arg);
	void *arg;
	size_t thread_count;
	pthread_t threads[WORKERS_MAX];

	struct mutex lock; /* guards what follows; clang 14 cannot say so for members */
	struct condition has_work;
	struct condition has_room;
	struct work_queue queues[CLASSES];
	size_t bytes;	      /* in all queues */
	size_t busy;	      /* threads inside a work's run() */
	struct fill fills[2]; /* readers', background's */
	bool is_stopping;
};

static struct work *take_work_locked(struct worker_pool *pool) REQUIRES(pool->lock)
{
	for (size_t class = 0; class < CLASSES; class ++) {
		struct work_queue *q = &pool->queues[class];
		struct work *work = q->first;

		if (!work)
			continue;
		q->first = work->next;
		if (!q->first)
			q->last = &q->first;
		return work;
	}
	return NULL;
}

static struct work *next_work_locked(struct worker_pool *pool) REQUIRES(pool->lock)
{
	struct work *work;

	/* work that still runs may add more: nobody leaves before the last */
	while (!(work = take_work_locked(pool))) {
		if (pool->is_stopping && pool->busy == 0)
			return NULL;
		condition_wait(&pool->has_work, &pool->lock);
	}
	return work;
}

/* Somebody was told that the queue is full, and it no longer is. */
static bool has_room_again_locked(struct worker_pool *pool) REQUIRES(pool->lock)
{
	bool has_room = false;

	for (size_t i = 0; i < ARRAY_SIZE(pool->fills); i++) {
		struct fill *fill = &pool->fills[i];

		if (!fill->is_reached || pool->bytes > fill->most / 2)
			continue;
		fill->is_reached = false;
		has_room = true;
	}
	if (has_room)
		condition_broadcast(&pool->has_room);
	return has_room;
}

static void *run_worker(void *arg)
{
	struct worker_pool *pool = arg;
	struct work *work;

	mutex_lock(&pool->lock);
	while ((work = next_work_locked(pool))) {
		pool->busy++;
		pool->bytes -= work->bytes;
		bool tell_room = has_room_again_locked(pool);

		mutex_unlock(&pool->lock);
		if (tell_room)
			pool->on_room(pool->arg);
		work->run(work);
		mutex_lock(&pool->lock);
		pool->busy--;
		if (pool->is_stopping && pool->busy == 0)
			condition_broadcast(&pool->has_work);
	}
	mutex_unlock(&pool->lock);
	return NULL;
}

static size_t default_count(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores > WORKERS_MIN ? (size_t)cores : WORKERS_MIN;
}

int worker_pool_new(unsigned int count, void (*on_room)(void *arg), void *arg,
	struct worker_pool **out)
{
	size_t wanted = count ? count : default_count();
	struct worker_pool *pool = mem_calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pool->on_room = on_room;
	pool->arg = arg;
	mutex_init(&pool->lock);
	condition_init(&pool->has_work);
	condition_init(&pool->has_room);
	for (size_t class = 0; class < CLASSES; class ++)
		pool->queues[class].last = &pool->queues[class].first;
	pool->fills[0].most = QUEUE_FULL;
	pool->fills[1].most = QUEUE_FULL / POLITE_SHARE;
	if (wanted > WORKERS_MAX)
		wanted = WORKERS_MAX;
	while (pool->thread_count < wanted) {
		int r = thread_start(&pool->threads[pool->thread_count], "fetch-worker",
			run_worker, pool);

		if (r < 0) {
			worker_pool_free(pool);
			return r;
		}
		pool->thread_count++;
	}
	*out = pool;
	return 0;
}

void worker_pool_free(struct worker_pool *pool)
{
	if (!pool)
		return;
	mutex_lock(&pool->lock);
	pool->is_stopping = true;
	condition_broadcast(&pool->has_work);
	mutex_unlock(&pool->lock);
	for (size_t i = 0; i < pool->thread_count; i++)
		(void)pthread_join(pool->threads[i], NULL);
	condition_release(&pool->has_work);
	condition_release(&pool->has_room);
	mutex_release(&pool->lock);
	free(pool);
}

void worker_pool_add(struct worker_pool *pool, struct work *work)
{
	work->next = NULL;
	mutex_lock(&pool->lock);
	struct work_queue *q = &pool->queues[work->class];

	*q->last = work;
	q->last = &work->next;
	pool->bytes += work->bytes;
	condition_signal(&pool->has_work);
	mutex_unlock(&pool->lock);
}

static bool is_full_locked(struct worker_pool *pool, enum fetch_class class)
	REQUIRES(pool->lock)
{
	struct fill *fill = &pool->fills[class == FETCH_BACKGROUND];

	if (pool->bytes >= fill->most)
		fill->is_reached = true;
	return fill->is_reached;
}

bool worker_pool_is_full(struct worker_pool *pool, enum fetch_class class)
{
	mutex_lock(&pool->lock);
	bool is_full = is_full_locked(pool, class);

	mutex_unlock(&pool->lock);
	return is_full;
}

void worker_pool_wait_room(struct worker_pool *pool, enum fetch_class class)
{
	mutex_lock(&pool->lock);
	while (is_full_locked(pool, class))
		condition_wait(&pool->has_room, &pool->lock);
	mutex_unlock(&pool->lock);
}
