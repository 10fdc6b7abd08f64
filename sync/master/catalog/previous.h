/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The previous revision, opened as far as it is needed: what an unchanged file's content,
 * target and attributes were. Catalogs are loaded once and kept until the end.
 *
 *	r = history_new(depot, state, &arena, &h);
 *	r = history_root(h, &previous, &index);
 *	r = history_find(previous, dir_index, name, len, &index);
 *	r = history_enter(h, previous, index, &previous, &dir_index);	crosses catalogs
 *	r = history_recall(h, previous, index, entry);		-ENOENT: it changed
 *
 * One thread.
 */
#pragma once

#include "sync/master/depot/depot.h"
#include "sync/master/walk/scan_state.h"
#include "sync/master/walk/tree.h"

struct history;

int history_new(const struct depot *depot, struct scan_state *state, struct arena *arena,
	struct history **out) WARN_UNUSED;
void history_free(struct history *h);

/* The top directory of what was published last. -ENOENT when nothing is known. */
int history_root(
	struct history *h, struct previous **out, uint32_t *out_index) WARN_UNUSED;

/* The entry of this name in a directory. -ENOENT when there was none. */
int history_find(const struct previous *dir, uint32_t dir_index, const char *name,
	size_t len, uint32_t *out_index) WARN_UNUSED;

/* Where a directory's children are: the entry itself, or the top of the catalog that it has
 * to itself. -ENOTDIR for what was no directory, -ENOENT if that catalog is gone. */
int history_enter(struct history *h, struct previous *p, uint32_t index,
	struct previous **out, uint32_t *out_index) WARN_UNUSED;

/* Fills in `entry`'s content, target and attributes if it is what it was then.
 * Returns 0, -ENOENT if not, or -errno. */
int history_recall(struct history *h, struct previous *p, uint32_t index,
	struct tree_entry *entry) WARN_UNUSED;
