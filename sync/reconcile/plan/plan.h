/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a sync would change: the difference of two trees of catalogs, the view's and the
 * channel's, and the catalogs of the view that comes of it (docs/reconciler.md, "Plan").
 * Nothing is changed until plan_commit().
 *
 *	struct plan_config config = {.catalogs = ..., .old = ..., .new = ..., .mode = PLAN_FULL};
 *	r = plan_make(&config, &plan);			(may wait for the network)
 *	... plan_totals(plan), plan_change(plan, i): judge, show, prefetch
 *	r = plan_commit(plan);
 *	... the view becomes plan_root(plan), plan_revision(plan)
 *	plan_free(plan);
 *
 * One thread makes it; then any may read it.
 */
#pragma once

#include "cache/catalog/catalog_store.h"
#include "cache/source.h"

enum plan_mode {
	PLAN_INCREMENTAL, /* what the master dropped stays, stale */
	PLAN_FULL,	  /* what the master dropped goes */
};

struct plan_side {
	struct catalog_ref root;
	uint64_t revision;
};

struct plan_config {
	struct catalog_store *catalogs;
	struct source *source;		 /* NULL: offline */
	const atomic_bool *is_cancelled; /* may be NULL */
	int64_t timeout_ns;   /* waiting ends when for so long no catalog has come */
	struct plan_side old; /* what the view shows */
	struct plan_side new; /* the channel's */
	enum plan_mode mode;
	const char *const *globs; /* over package paths; none: everything */
	size_t glob_count;
};

enum plan_what {
	PLAN_ADDED,
	PLAN_CHANGED,
	PLAN_REVIVED, /* was stale; the master has it again, and alike */
	PLAN_STALE,   /* newly: the master dropped it, it is kept */
	PLAN_REMOVED,
};

/* A path on which something changes. What is below a nested directory that is revived, or that
 * is dropped and whose catalog cannot be had, is not listed one by one. */
struct plan_change {
	enum plan_what what;
	bool is_metadata_only; /* changed: type and content stay */
	uint32_t package;      /* index: that it is in */
	uint32_t old_mode;     /* with the type; 0: was not there */
	uint32_t new_mode;     /* 0: will not be there, or only as a stale entry */
	uint64_t old_size;
	uint64_t new_size;
	const struct digest *old_digest; /* of a regular file with bytes, else NULL */
	const struct digest *new_digest;
	const char *path;
};

/* A catalog's place in which something changes. */
struct plan_package {
	const char *path;
	bool has_old;	/* what the view shows there */
	bool has_new;	/* what the channel has there: to prefetch from */
	bool has_shown; /* what will be shown; may be composed: there after plan_commit() */
	struct catalog_ref old;
	struct catalog_ref new;
	struct catalog_ref shown;
	uint64_t added;
	uint64_t changed;
	uint64_t revived;
	uint64_t stale;
	uint64_t removed;
	uint64_t bytes_new; /* of contents that come: at most so much is to be fetched */
};

/* Counts of entries, unless they say otherwise. */
struct plan_totals {
	uint64_t entries_before;
	uint64_t entries_after;
	uint64_t added;
	uint64_t changed;
	uint64_t revived;
	uint64_t stale;		     /* newly */
	uint64_t kept_stale;	     /* that were stale before, where the plan looked */
	uint64_t removed;	     /* what the guard judges by */
	uint64_t unchanged_packages; /* not opened: both sides have the same */
	uint64_t missing_packages;   /* of the old side: cannot be had any more */
	uint64_t composed_catalogs;
	uint64_t bytes_new;
};

struct plan;

/* Compares and composes, waiting for catalogs that are not here. -EINVAL for a bad glob,
 * -EHOSTUNREACH when a catalog is needed and no source answers, -ENOENT when none has it,
 * -ETIMEDOUT, -ECANCELED, -ENOMEM or as the store says; what cannot go on is logged. */
int plan_make(const struct plan_config *config, struct plan **out) WARN_UNUSED;
void plan_free(struct plan *plan);

static inline void cleanup_plan(struct plan **plan)
{
	plan_free(*plan);
}
#define AUTO_PLAN CLEANUP(cleanup_plan)

/* Writes the composed catalogs, those below first; when it returns 0 the root and all that is
 * composed below it is on disk for good. May be called again after an error. */
int plan_commit(struct plan *plan) WARN_UNUSED;

/* Nothing that is shown changes. The revision may. */
bool plan_is_empty(const struct plan *plan);

/* What the view becomes: its root and the revision of the root's place. */
struct catalog_ref plan_root(const struct plan *plan);
uint64_t plan_revision(const struct plan *plan);

const struct plan_totals *plan_totals(const struct plan *plan);

/* In the order of a walk, as long as the plan. */
size_t plan_change_count(const struct plan *plan);
const struct plan_change *plan_change(const struct plan *plan, size_t i);
size_t plan_package_count(const struct plan *plan);
const struct plan_package *plan_package(const struct plan *plan, size_t i);
