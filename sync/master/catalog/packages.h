/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which directories get a catalog of their own: those whose path matches a glob, and, where a
 * catalog would still grow too long, large directories in it. A pure function of the tree and
 * the globs, so that an unchanged part of the tree keeps its catalogs.
 *
 *	r = packages_divide(&tree, globs, glob_count, &packages);
 *	...
 *	packages_release(&packages);
 */
#pragma once

#include "sync/master/walk/tree.h"

#define CATALOG_SPLIT_ENTRIES                                                            \
	16384		       /* a cold mount fetches about this much of one catalog */
#define CATALOG_SPLIT_SHARE 64 /* a directory below 1/64 of that is not worth a catalog */

struct package {
	struct tree_dir *top;
	struct package *parent; /* whose catalog names this one; NULL for the root's */
	char *path;		/* from the tree's root, "" for the root's */
	size_t path_length;
	uint32_t entry_count; /* its own, the top included */
	uint32_t nested_count;
	uint32_t height; /* 0: nothing nested in it */
	uint64_t hash;	 /* of all its entries' names and fingerprints; 0 never matches */
	size_t item_count; /* entries to read */
	bool is_dirty;	   /* its catalog has to be written anew */

	/* its catalog: known from the state when clean, else once written */
	struct catalog_ref ref;
	uint64_t tree_entries;
	uint64_t tree_bytes;
	uint64_t *fingerprints; /* by entry index; of written ones only */
};

struct packages {
	struct package **list; /* parents before children; [0] is the root's */
	size_t count;
	struct arena arena;
};

/* Returns 0 or -ENOMEM. Sets every directory's `package` and `weight`. */
int packages_divide(struct tree *tree, char *const *globs, size_t glob_count,
	struct packages *out) WARN_UNUSED;

/* Computes every package's hash from its entries as they are now. */
void packages_hash(const struct tree *tree);

void packages_release(struct packages *p);
