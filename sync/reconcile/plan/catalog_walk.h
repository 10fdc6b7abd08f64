/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every catalog of a tree, those above before those below. On a stack of its own: how deep packages
 * are nested in each other is for whoever made the tree to say, a thread's stack is not.
 *
 *	const struct catalog_walk walk = {.loader = loader, .visit = visit, .arg = arg};
 *	r = catalog_walk(&walk, &root);
 */
#pragma once

#include "sync/reconcile/plan/catalog_loader.h"
#include "sync/reconcile/plan/selection.h"

/* A catalog, and where it hangs. Borrowed for the call. */
struct catalog_place {
	struct catalog *catalog;
	const struct catalog *parent; /* NULL: it is the root */
	uint32_t nth;		      /* of the parent's nested ones */
	bool is_selected;	      /* by its path, or by one above */
};

struct catalog_walk {
	struct catalog_loader *loader;
	const struct selection *selection; /* NULL: everything */
	bool is_current_only; /* leaves out what hangs on stale directories */
	/* leaves out what neither this machine nor a source has, and what does not fit its place */
	bool is_lenient;
	bool is_offline;		 /* there is no source */
	const atomic_bool *is_cancelled; /* may be NULL */
	/* Is called for what is selected, and for what lies on the way to it. A return other than
	 * 0 ends the walk. */
	int (*visit)(void *arg, const struct catalog_place *place);
	void *arg;
};

/* Waits for catalogs that are not here. Returns 0, what the last visit did, what
 * catalog_loader_get() says, -EUCLEAN for a catalog that does not belong where it hangs, -ECANCELED, or
 * -ENOMEM. */
int catalog_walk(
	const struct catalog_walk *walk, const struct catalog_ref *root) WARN_UNUSED;
