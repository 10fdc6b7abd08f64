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
#include "cache/catalog/catalog.h"
#include "cache/view/view.h"

#include <stdatomic.h>
#include <stdbool.h>

#define ONWARD_WALKS	4
#define ONWARD_PACKAGES 16
#define ONWARD_QUEUED	8

struct content_store;

/* A package that was asked for before anybody came to it. */
struct onward_asked {
	struct digest digest; /* of its catalog */
	uint64_t bytes;
	bool is_whole; /* all of it is asked for, or here */
};

struct onward_walk {
	struct digest last;  /* the package it came through */
	struct digest next;  /* that it will come to */
	uint64_t bytes;	     /* of those it came through */
	uint64_t last_bytes; /* of the last of them */
	int64_t came_ns;     /* when it came through that one */
	uint64_t last_use;
	size_t asked_count;
	struct onward_asked asked[ONWARD_PACKAGES]; /* from `next` on */
};

struct onward {
	struct view *view;
	struct content_store *contents;
	struct mutex lock;
	struct condition changed;
	char *paths[ONWARD_QUEUED]; /* lock, all below; of packages, the oldest first */
	size_t count;
	bool is_ending;
	bool has_thread;
	pthread_t thread;
	uint64_t uses; /* the thread's, both */
	struct onward_walk walks[ONWARD_WALKS];
};

/* Borrows both. 0 or -errno. */
int onward_init(
	struct onward *o, struct view *view, struct content_store *contents) WARN_UNUSED;

/* Nothing more is asked for when this returns. */
void onward_stop(struct onward *o);
void onward_release(struct onward *o);
