/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Read-ahead from package to package. Who copies, scans or backs up a part of the tree goes through
 * one package after the other. A stream (cache/content/fetch/ahead.h) ends with its package, and while small files
 * are read the line has nothing to do: the next packages come meanwhile. Only once two that follow each
 * other were gone through, for no more than four times the bytes that the walk has come through, and for
 * what it comes through in some seconds: who takes one package, or one file of each, is no walk
 * (docs/decisions/0018).
 *
 *	r = onward_init(&o, view, contents);
 *	onward_stop(&o);		(before the source ends)
 *	onward_release(&o);
 *
 * On a thread of its own, since catalogs are read and hashed.
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "fs/session/onward_walks.h"

#include <stdatomic.h>
#include <stdbool.h>

#define ONWARD_QUEUED 8

struct onward {
	struct content_store *contents;
	struct mutex lock;
	struct condition changed;
	char *paths[ONWARD_QUEUED]; /* lock, all below; of packages, the oldest first */
	size_t count;
	bool has_thread;
	pthread_t thread;
	atomic_bool is_ending;	   /* set under the lock */
	struct onward_walks walks; /* the thread's */
};

/* Borrows both. 0 or -errno. */
int onward_init(
	struct onward *o, struct view *view, struct content_store *contents) WARN_UNUSED;

/* Nothing more is asked for when this returns. */
void onward_stop(struct onward *o);
void onward_release(struct onward *o);
