/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Attributes that are summed over a whole tree take time with its size: one thread of their own
 * answers them, one after the other, so that asking for many of them holds up nobody else.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/threads/mutex.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUM_QUEUE_MAX 64

struct fuse_req;

struct sum_request {
	struct fuse_req *req;
	uint64_t node;
	size_t size;
	char name[32];
};

struct sum_queue {
	struct mutex lock;
	struct condition changed;
	struct sum_request items[SUM_QUEUE_MAX]; /* lock; a ring */
	size_t first;				 /* lock */
	size_t count;				 /* lock */
	bool is_ending;				 /* lock */
	bool has_thread;
	pthread_t thread;
};

int sum_queue_init(struct sum_queue *q) WARN_UNUSED;

/* Queues the question for attribute `name` (without the prefix, at most 31 bytes); it will be
 * answered. -EBUSY when the queue is full or ending: the caller answers. Any thread. */
int sum_queue_push(struct sum_queue *q, struct fuse_req *req, uint64_t node,
	const char *name, size_t size) WARN_UNUSED;

/* Refuses what is queued and waits for the one being answered. */
void sum_queue_end(struct sum_queue *q);
void sum_queue_release(struct sum_queue *q);
