/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What stands below a path of a tree of catalogs, catalog by catalog: for what an admin asks of a
 * directory (verify, evict, prefetch), and for what is pinned. Looks at catalogs, not at a view:
 * a flip meanwhile changes nothing.
 *
 *	struct below below = {.root = root, .get = get, .visit = visit, .arg = arg};
 *	r = below_walk(&below, "npm/typescript");
 */
#pragma once

#include "cache/catalog/catalog_store.h"

#include <stdatomic.h>

struct below {
	struct catalog_ref root;
	/* Opens a catalog; it is closed again after the visit. -ENOENT: it cannot be had, and is
	 * counted in `missing`. Another error ends the walk. */
	int (*get)(void *arg, const struct catalog_ref *ref, struct catalog **out);
	/* Contents of one catalog's files below the path: their indexes, ascending, each once. A
	 * return other than 0 ends the walk. */
	int (*visit)(void *arg, struct catalog *catalog, const uint32_t *contents,
		size_t count);
	/* Nested catalogs that will be asked for soon; may be NULL. */
	void (*soon)(void *arg, const struct catalog_ref *ref);
	const atomic_bool *is_cancelled; /* may be NULL */
	void *arg;
	uint64_t missing; /* catalogs; set by the walk */
};

/* Visits the contents of the file, or of everything below the directory, at `path` ("": all). Returns
 * what the last call did, -ENOENT if there is no such path, -ENOTDIR, -EAGAIN if a catalog on the
 * way to it cannot be had, -ECANCELED or -ENOMEM. Any thread. */
int below_walk(struct below *below, const char *path) WARN_UNUSED;

/* Whether a path is one as these functions want it: relative, no empty, "." or ".." components; ""
 * is the top. */
bool below_is_path(const char *path);
