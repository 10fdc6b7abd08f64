/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whose turn it is to read the next request from /dev/fuse. The kernel wakes another sleeping thread
 * for each request, so threads that all sleep there are woken in turn and pass each other by. Here one
 * reads, answers what is answered from memory, and reads again; the others sleep in a semaphore.
 * Before a request that may have to wait for a disk the turn goes to the next thread.
 *
 *	r = turns_init(&t, WAKEFUL_DEVICE, TURNS_ASLEEP);
 *	n = turns_read(&t, fd, buffer, size);	(in place of read(2), on libfuse's workers)
 *	turns_pass(&t);				(there, before what may take long)
 *	...
 *	turns_end(&t);				(the workers are gone)
 *	turns_release(&t);
 *
 * A thread of its own looks every few milliseconds, while requests come: when who has the turn does not
 * come back for it (a slow disk, after all), or requests queue up and there are processors for more than
 * one reader, there is another turn; who finds the queue empty, and another one reading, gives his up
 * again. The same thread keeps the processors awake, see wakeful.h. Where they may sleep there are as
 * many turns as threads: the one that has slept longest may be on the reader's own processor, and one
 * that is always the same stays on another.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/threads/mutex.h"
#include "fs/session/wakeful.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#define TURNS_ASLEEP 10 /* libfuse has so many threads */

struct turns {
	sem_t free;
	atomic_uint count;   /* turns there are, taken or free; never none */
	atomic_uint least;   /* so many, but for those that there is a reason for */
	unsigned int asleep; /* that, while the processors may sleep */
	unsigned int wanted; /* at most so many, while requests queue up */
	atomic_uint reading; /* threads in read(2) */
	atomic_uint_fast64_t taken; /* requests read, */
	atomic_uint_fast64_t slept; /* of these after a wait for one */
	atomic_bool is_over;
	atomic_bool is_watched;
	struct mutex lock; /* guards nothing but the sleep of who watches */
	struct condition changed;
	atomic_bool is_ending;
	bool has_thread;
	pthread_t thread;
	struct wakeful wakeful; /* that thread's */
};

/* `device`: see wakeful_init(); `asleep`: turns while the processors are not kept awake. 0 or -errno; release in both cases. */
int turns_init(struct turns *t, const char *device, unsigned int asleep) WARN_UNUSED;

/* read(2), and as there a point where a thread may be cancelled. A thread's turns are all of one
 * `t`. It must come back: the turn is still its own while it answers. */
ssize_t turns_read(struct turns *t, int fd, void *buffer, size_t size);

/* Lets another thread read while this one answers what may have to wait for a disk after all. Any
 * thread: on one that has no turn it does nothing. */
void turns_pass(struct turns *t);

/* From now on anybody reads: a turn may have gone with a thread that was cancelled. */
void turns_end(struct turns *t);

void turns_release(struct turns *t);
