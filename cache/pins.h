/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the admin pinned: paths, each with all below it, that are never evicted. They are paths and
 * follow the view: whatever stands there is pinned. Kept in state.db, and in memory for those
 * who ask while a reader waits.
 *
 *	r = pins_open(db, &pins);
 *	r = pins_add(pins, "npm/typescript");
 *	if (pins_cover(pins, "npm/typescript/5.4.2/lib/tsc.js")) ...
 *	pins_close(pins);
 *
 * Any thread.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct pins;
struct state_db;

/* Borrows `db`. 0 or -errno. */
int pins_open(struct state_db *db, struct pins **out) WARN_UNUSED;
void pins_close(struct pins *pins);

/* One that is pinned already is fine. May wait for the disk. 0 or -errno. */
int pins_add(struct pins *pins, const char *path) WARN_UNUSED;

/* -ENOENT if it is not pinned itself (what lies above it may be). May wait for the disk. */
int pins_remove(struct pins *pins, const char *path) WARN_UNUSED;

/* Whether a path, or one above it, is pinned. */
bool pins_cover(struct pins *pins, const char *path);

bool pins_are_none(struct pins *pins);

/* Copies of all paths, sorted; the caller frees each and the array. 0 or -ENOMEM. */
int pins_copy(struct pins *pins, char ***out_paths, size_t *out_count) WARN_UNUSED;
void pins_free_copy(char **paths, size_t count);
