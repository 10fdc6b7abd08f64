/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * All catalogs below a root, each once however many revisions share it.
 *
 *	r = catalog_graph_new(depot, &g);
 *	r = catalog_graph_visit(g, &revision.root, visit, context);	for every root
 */
#pragma once

#include "sync/master/depot/depot.h"

struct catalog_graph;

/* Looks at one catalog; a negative result ends the walk. */
typedef int (*catalog_visit)(void *context, const struct catalog *catalog);

int catalog_graph_new(const struct depot *depot, struct catalog_graph **out) WARN_UNUSED;
void catalog_graph_free(struct catalog_graph *g);

/* True the first time it is asked about a digest. -ENOMEM, 0 or 1. */
int catalog_graph_is_new(
	struct catalog_graph *g, const struct digest *digest) WARN_UNUSED;

/* Visits the catalogs at and below `root` that were not visited before; one that cannot be
 * read is logged and passed over. Returns 0, -ENOMEM, or what `visit` returned. */
int catalog_graph_visit(struct catalog_graph *g, const struct catalog_ref *root,
	catalog_visit visit, void *context) WARN_UNUSED;
