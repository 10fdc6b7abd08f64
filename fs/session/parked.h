/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Requests that wait for the network without holding a thread. A request is parked with what
 * is needed to run it again; when its content or catalog has come it runs on the thread that
 * brought it. Whoever takes it off the list (its arrival, its deadline, an interrupt, the end
 * of the session) answers it; the memory belongs to the waiter and goes when that is woken.
 *
 *	static const struct parked_op read_op = {read_run, read_wait};
 *	...
 *	parked_start(session, req, &read_op, &args);
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/waiter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fuse_req;
struct parked;
struct session;

struct parked_args {
	uint64_t ino;
	uint64_t handle; /* of the open file */
	size_t size;
	off_t offset;
	const char *name;    /* copied when the request is parked */
	int64_t timeout_ns;  /* from the first parking on */
	int64_t deadline_ns; /* 0 until then */
};

struct parked_op {
	/* Answers the request, or returns -EAGAIN if it must wait, -ERESTART to be run again at
	 * once. Never touches it else. In an epoch. */
	int (*run)(struct session *session, struct fuse_req *req,
		const struct parked_args *args);
	/* Queues `w` for what the request needs: -EINPROGRESS, or 0 when it may run now, or
	 * -errno. In an epoch. */
	int (*wait)(struct session *session, const struct parked_args *args,
		struct waiter *w);
};

/* What a READ did not get in time. The kernel asks again for each page that its read-ahead was
 * refused, and so do all who wait for the same page, one after the other: they have waited
 * already. */
struct parked_late {
	uint64_t ino;
	size_t size;
	off_t offset;
	int64_t until_ns;
};

#define PARKED_LATE_MAX 64

struct parked_list {
	struct mutex lock;
	struct condition changed;
	struct parked *first; /* lock; in order of parking */
	struct parked *last;  /* lock */
	uint64_t next_id;     /* lock */
	bool is_ending;	      /* lock */
	size_t answering;     /* lock; by threads that brought what was waited for */
	struct parked_late late[PARKED_LATE_MAX]; /* lock; a ring */
	size_t next_late;			  /* lock */
	bool has_thread;
	pthread_t thread; /* fails what has waited too long */
};

int parked_list_init(struct parked_list *list) __attribute__((warn_unused_result));

/* Fails everything that is parked, now and from now on, and ends the thread. */
void parked_list_end(struct parked_list *list);

/* When it returns, nobody answers a request that was parked any more. After parked_list_end(). */
void parked_list_wait_answered(struct parked_list *list);
void parked_list_release(struct parked_list *list);

/* Runs a request, parking it as often as it must wait; answers it in the end. */
void parked_start(struct session *session, struct fuse_req *req,
	const struct parked_op *op, struct parked_args *args);
