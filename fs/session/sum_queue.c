/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/sum_queue.h"

#include "cache/base/threads/thread.h"
#include "fs/session/session_state.h"

#include <errno.h>
#include <stdio.h>

static bool take_first(struct sum_queue *q, struct sum_request *out) REQUIRES(q->lock)
{
	if (q->count == 0)
		return false;
	*out = q->items[q->first];
	q->first = (q->first + 1) % SUM_QUEUE_MAX;
	q->count--;
	return true;
}

static void *answer_sums(void *arg)
{
	struct sum_queue *q = arg;
	struct sum_request next;

	mutex_lock(&q->lock);
	while (!q->is_ending) {
		if (!take_first(q, &next)) {
			condition_wait(&q->changed, &q->lock);
			continue;
		}
		mutex_unlock(&q->lock);
		xattr_answer_virtual(next.req, next.node, next.name, next.size);
		mutex_lock(&q->lock);
	}
	while (take_first(q, &next)) {
		mutex_unlock(&q->lock);
		fuse_reply_err(next.req, ENOTCONN);
		mutex_lock(&q->lock);
	}
	mutex_unlock(&q->lock);
	return NULL;
}

int sum_queue_init(struct sum_queue *q)
{
	*q = (struct sum_queue){0};
	mutex_init(&q->lock);
	condition_init(&q->changed);
	int r = thread_start(&q->thread, "sums", answer_sums, q);

	q->has_thread = r == 0;
	return r;
}

int sum_queue_push(struct sum_queue *q, struct fuse_req *req, uint64_t node,
	const char *name, size_t size)
{
	int r = -EBUSY;

	mutex_lock(&q->lock);
	if (!q->is_ending && q->count < SUM_QUEUE_MAX) {
		struct sum_request *item =
			&q->items[(q->first + q->count) % SUM_QUEUE_MAX];

		*item = (struct sum_request){.req = req, .node = node, .size = size};
		(void)snprintf(item->name, sizeof(item->name), "%s", name);
		q->count++;
		condition_signal(&q->changed);
		r = 0;
	}
	mutex_unlock(&q->lock);
	return r;
}

void sum_queue_end(struct sum_queue *q)
{
	mutex_lock(&q->lock);
	q->is_ending = true;
	condition_signal(&q->changed);
	mutex_unlock(&q->lock);
	if (q->has_thread)
		pthread_join(q->thread, NULL);
	q->has_thread = false;
}

void sum_queue_release(struct sum_queue *q)
{
	condition_release(&q->changed);
	mutex_release(&q->lock);
}
