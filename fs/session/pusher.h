/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Puts small files into the kernel's page cache before they are asked for. Who goes through many small
 * files waits for three requests a file, one after the other; what has been fetched ahead of him is in
 * memory, verified, and his next files are known: those behind the last one in its directory. A page
 * that is there when he reads it costs no READ.
 *
 *	r = pusher_init(&p, view, contents);
 *	pusher_attach(&p, fuse);		(a session that can be written to)
 *	pusher_listed(&p, dir_node);		(READDIRPLUS has been answered)
 *	pusher_opened(&p, &node, content);	(before OPEN is answered)
 *	pusher_stop(&p);
 *	while (!pusher_is_over(&p))
 *		... answer requests ...
 *	pusher_release(&p);
 *
 * The kernel locks a page while it is stored, and while a READ of it is under way: who stores it then
 * waits for that READ, in a way that not even a SIGKILL ends, and an unanswered READ would keep the
 * dead daemon's mount. So only files are pushed that nobody has opened since their node came to be
 * (view_note_open()), and the OPEN of one that is being pushed is answered when that is done.
 * Where the kernel opens without asking (open=none), nothing is pushed.
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/content/content.h"
#include "cache/view/view.h"

#include <stdatomic.h>
#include <stdbool.h>

#define PUSH_DIRS     64
#define PUSH_PACKAGES 8

struct fuse_session;

struct push_dir {
	uint64_t node; /* 0: unused */
	uint64_t last_use;
	uint32_t at;	      /* the child that was opened last */
	unsigned int unknown; /* so often the kernel knew none of what was next */
	bool is_due; /* something was opened, listed or fetched since it was looked through */
};

struct push_package {
	uint32_t slot;
	unsigned int opens; /* in the time of which something was in memory */
	uint64_t last_use;
};

struct pusher {
	struct view *view;
	struct content_store *contents;
	struct mutex lock;
	struct condition changed;   /* for the thread */
	struct condition is_stored; /* for who opens what is being stored */
	struct fuse_session *fuse;  /* lock, all below; NULL: nobody to push to */
	struct push_dir dirs[PUSH_DIRS];
	struct push_package packages[PUSH_PACKAGES];
	uint64_t uses;
	bool is_idle;
	bool has_thread;
	pthread_t thread;
	uint8_t *buffer;       /* the thread's: what is stored */
	atomic_bool is_active; /* there is somebody to push to */
	atomic_bool is_ending;
	atomic_bool is_over;
	atomic_uint_fast64_t storing; /* the node that is, else 0 */
	atomic_uint_fast64_t pushed;  /* for the status */
};

/* Borrows both. 0 or -errno. */
int pusher_init(
	struct pusher *p, struct view *view, struct content_store *contents) WARN_UNUSED;
void pusher_attach(struct pusher *p, struct fuse_session *fuse);

/* The kernel has been given the nodes of some of a directory's children. Any thread. */
void pusher_listed(struct pusher *p, uint64_t dir);

/* A file in cached mode is about to be open. In the epoch in which the node was found; may wait while a
 * few pages are copied. Any thread. */
void pusher_opened(struct pusher *p, const struct view_node *node,
	const struct catalog_content *content);

/* Nothing further is pushed. */
void pusher_stop(struct pusher *p);
bool pusher_is_over(struct pusher *p);

/* Joins the thread. */
void pusher_release(struct pusher *p);
