/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who goes from package to package, and what is asked for ahead of them: the walks of onward.h, without
 * its thread.
 *
 *	struct onward_walks walks = {.view = view, .contents = contents, .is_ending = &flag};
 *	onward_walks_go_on(&walks, "npm/left");
 *
 * One thread at a time.
 */
#pragma once

#include "cache/catalog/catalog.h"
#include "cache/view/view.h"

#include <stdatomic.h>
#include <stdbool.h>

#define ONWARD_WALKS	4
#define ONWARD_PACKAGES 16
#define ONWARD_GONE	16

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
	bool is_last_here;   /* most of that one had not to be fetched */
	int64_t came_ns;     /* when it came through that one */
	uint64_t pace_bytes; /* the last one that was fetched: it took so long */
	uint64_t pace_ms;
	uint64_t last_use;
	size_t asked_count;
	struct onward_asked asked[ONWARD_PACKAGES]; /* from `next` on */
};

/* A package that somebody came through. */
struct onward_gone {
	struct digest digest;
	int64_t at_ns; /* 0: unused */
};

struct onward_walks {
	struct view *view;
	struct content_store *contents;
	const atomic_bool *is_ending; /* from then on nothing more is asked for */
	uint64_t uses;
	struct onward_walk walks[ONWARD_WALKS];
	struct onward_gone gone[ONWARD_GONE];
};

/* Somebody goes through the package with this path: the next ones are asked for, if it is a walk.
 * Catalogs may be read and hashed, a flip is held up by one of them at most. */
void onward_walks_go_on(struct onward_walks *walks, const char *path);
