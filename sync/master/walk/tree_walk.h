/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reads a whole directory tree's names and attributes, in parallel, into a struct tree.
 *
 *	struct tree tree = {.fd = -1};
 *	r = tree_walk(path, &depot_stat, threads, &tree);
 *	...
 *	tree_release(&tree);
 */
#pragma once

#include "sync/master/walk/tree.h"

/* Other mounts below `path` are crossed like any directory. `forbidden` (may be NULL) is a
 * directory that must not be in the tree: the depot itself. Sockets are left out with a
 * warning; entries that vanish meanwhile are left out silently.
 * Returns 0, -EDEADLK when `forbidden` is in the tree, or -errno; errors are logged. */
int tree_walk(const char *path, const struct stat *forbidden, unsigned int threads,
	struct tree *out) WARN_UNUSED;
