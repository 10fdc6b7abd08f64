/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Threads that decode, verify and deliver, so that the network thread never does. Work is
 * taken by class, then in the order it came. The queue says when it holds enough bytes; who
 * feeds it then stops until it is told that there is room.
 *
 *	r = worker_pool_new(count, on_room, arg, &pool);
 *	work->run = ...;		(embedded in the caller's structure)
 *	worker_pool_add(pool, work);
 *	worker_pool_free(pool);		(after all work has run)
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/source.h"

#include <stdbool.h>
#include <stddef.h>

struct work {
	void (*run)(struct work *work); /* may free it */
	size_t bytes;			/* what it keeps in memory while it waits */
	enum fetch_class class;
	struct work *next; /* the pool's own */
};

struct worker_pool;

/* `count` 0: one per core, at least two. `on_room` is called without a lock, on a worker,
 * when a full queue has half emptied. Returns 0, -ENOMEM or -errno. */
int worker_pool_new(unsigned int count, void (*on_room)(void *arg), void *arg,
	struct worker_pool **out) WARN_UNUSED;

/* Runs what is queued, work that work adds included, then ends the threads. */
void worker_pool_free(struct worker_pool *pool);

/* Never waits, never fails. Any thread. */
void worker_pool_add(struct worker_pool *pool, struct work *work);

/* True when the queue holds its fill of work of this class; on_room will then be called. For the
 * background that is less, so that it leaves room for what a reader waits for. */
bool worker_pool_is_full(struct worker_pool *pool, enum fetch_class class);

/* Waits until it is not. Not from a worker. */
void worker_pool_wait_room(struct worker_pool *pool, enum fetch_class class);
