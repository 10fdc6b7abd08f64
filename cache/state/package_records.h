/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is known of single paths: packages that lag behind (`packages` of state.db) and what the admin
 * pinned (`pins`).
 *
 *	r = state_db_packages_put(db, records, count);
 *	r = state_db_packages_list(db, &list);
 *	package_list_release(&list);
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/state/state_texts.h"

#include <stddef.h>
#include <stdint.h>

struct state_db;

/* A package that is out of date, or whose update failed. Times are real; 0: none. */
struct package_record {
	const char *path;
	const char *last_error; /* NULL is as "" */
	int64_t since_ns;	/* when it became out of date */
	int64_t last_error_ns;
	int64_t next_attempt_ns;
};

struct package_list {
	struct package_record *items; /* by path */
	size_t count;
	struct state_texts texts;
};

/* Writes each in place of what was known of that path, all or none. */
int state_db_packages_put(struct state_db *db, const struct package_record *packages,
	size_t count) WARN_UNUSED;

/* Forgets one that is current again, or gone; one that is not known is fine. */
int state_db_package_remove(struct state_db *db, const char *path) WARN_UNUSED;
int state_db_packages_list(struct state_db *db, struct package_list *out) WARN_UNUSED;
void package_list_release(struct package_list *list);

struct pin_list {
	struct state_texts paths; /* sorted by bytes */
};

/* One that is pinned already is fine. */
int state_db_pin_add(struct state_db *db, const char *path) WARN_UNUSED;

/* -ENOENT if it was not pinned. */
int state_db_pin_remove(struct state_db *db, const char *path) WARN_UNUSED;
int state_db_pins_list(struct state_db *db, struct pin_list *out) WARN_UNUSED;
void pin_list_release(struct pin_list *list);
