/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Tells the kernel what a flip made wrong in its memory, on a thread of its own: while the kernel
 * forgets a name it holds the directory's lock, for which it waits until every lookup in that
 * directory is answered; so who answers lookups must not send these. The same thread
 * lets go what the kernel has forgotten in turn, and what memory kept for it.
 *
 *	r = notify_init(&n, view, contents);
 *	notify_attach(&n, fuse);		(a session that can be written to)
 *	r = notify_send(&n, changes);		(returns when the kernel has forgotten)
 *	notify_reap(&n);			(some time later; from FORGET)
 *	notify_stop(&n);
 *	while (!notify_is_over(&n))
 *		... answer requests, for one of which it may be waiting ...
 *	notify_release(&n);
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/view/view.h"

#include <stdatomic.h>
#include <stdbool.h>

struct content_store;
struct fuse_session;
struct notify_job;

struct notify {
	struct view *view;
	struct content_store *contents;
	struct mutex lock;
	struct condition changed;
	struct fuse_session *fuse; /* lock, all below; NULL: nobody to tell */
	struct notify_job *first;
	struct notify_job *last;
	int64_t reap_ns;   /* when to let go; 0: nothing to */
	int64_t linger_ns; /* when to look once more for what lingered; likewise */
	bool has_thread;
	pthread_t thread;
	atomic_bool is_ending;
	atomic_bool is_over;
	atomic_uint_fast64_t sent; /* for the status */
};

/* Borrows both; without contents (NULL) only the view lets go. 0 or -errno. */
int notify_init(
	struct notify *n, struct view *view, struct content_store *contents) WARN_UNUSED;
void notify_attach(struct notify *n, struct fuse_session *fuse);

/* Has the kernel forget all that is in `changes` (borrowed for the call). 0, or -ECANCELED when
 * the session ends first. Not on a thread that answers requests. */
int notify_send(struct notify *n, const struct view_changes *changes) WARN_UNUSED;

/* Something superseded is remembered no more. Any thread. */
void notify_reap(struct notify *n);

/* No further notification is begun. */
void notify_stop(struct notify *n);
bool notify_is_over(struct notify *n);

/* Joins the thread. */
void notify_release(struct notify *n);
