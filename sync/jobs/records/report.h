/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How each package of a mirror stands against the newest head that the mirror knows of: current, out
 * of date, missing or stale, and how much of its content is here. Walks the catalogs of both sides that
 * are on this machine and fetches nothing.
 *
 *	r = report_make(&config, &sides, &report);
 *	for (i = 0; i < report->count; i++) ... report->packages[i]
 *	report_free(report);
 */
#pragma once

#include "cache/catalog/catalog_store.h"
#include "cache/content/content.h"
#include "cache/state/state_db.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is compared. */
struct report_sides {
	struct catalog_ref view;
	struct catalog_ref head;
	uint64_t view_revision;
	uint64_t head_revision;
	int64_t published_ns; /* of the head */
};

/* All borrowed. */
struct report_config {
	int cache_dirfd;
	struct catalog_store *catalogs;
	struct content_store *contents;
	struct state_db *state;

	/* What the mirror shows and what it knows of, as of now. */
	void (*sides)(void *arg, struct report_sides *out);

	/* Whether the prefetch policy promises this file; NULL: it promises none. */
	bool (*is_promised)(void *arg, const char *path);
	void *arg;
};

/* In the order of how much they say: the first that is true. */
enum report_state {
	REPORT_MISSING, /* the head has it, the mount does not show it */
	REPORT_OUT_OF_DATE, /* the head has other entries, or has dropped it or some of them */
	REPORT_STALE, /* as the head says, but for what the master dropped and is kept here */
	REPORT_CURRENT,
};

enum report_content {
	REPORT_REMOTE, /* nothing of it is here */
	REPORT_PARTLY,
	REPORT_CACHED, /* all of it, or there is none */
};

/* A directory with a catalog of its own, without what is in the packages below. */
struct report_package {
	char *path; /* "" for the root */
	enum report_state state;
	enum report_content content;
	bool is_entered; /* false: its catalog is not here; the numbers are for all below, too */
	uint64_t
		files; /* regular ones that the mount shows; for a missing one, will show */
	uint64_t bytes;		 /* of them */
	uint64_t files_cached;	 /* wholly */
	uint64_t bytes_to_fetch; /* of the head's version, plain: what is not here */
	uint64_t stale_entries;
	uint64_t promised_files; /* that are pinned or promised, and not wholly here */
	int64_t since_ns;	 /* out of date or missing since; 0 otherwise */
	int64_t last_error_ns;	 /* 0: none */
	int64_t next_attempt_ns; /* 0: none planned */
	char *last_error;	 /* NULL: none */
};

struct report {
	struct report_sides sides;
	struct report_package *packages; /* by path */
	size_t count;
	size_t capacity;
	uint64_t states[REPORT_CURRENT + 1]; /* packages by state */
	uint64_t bytes_to_fetch;
	uint64_t promised_files;
	uint64_t unknown_catalogs; /* of the head, that differ and are not here */
};

/* Takes about a second for a million files. 0 or -errno. Any thread. */
int report_make(const struct report_config *config, struct report **out) WARN_UNUSED;
void report_free(struct report *report);

/* Whether something is missing, out of date or stale, or pinned or promised and not here. */
bool report_falls_short(const struct report *report);

/* "missing", "out of date", "stale", "current"; "remote", "partly", "cached". */
const char *report_state_text(enum report_state state);
const char *report_content_text(enum report_content content);
