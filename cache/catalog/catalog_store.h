/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Catalogs on this machine: catalog/<aa>/<sha256>, decoded and ready to be mapped. A catalog's
 * digest is checked each time it is opened, so that nothing a disk did to it goes unseen.
 */
#pragma once

#include "cache/catalog/catalog.h"

#include <stdbool.h>

struct catalog_store;

int catalog_store_open(int cache_dirfd, struct catalog_store **out) WARN_UNUSED;
void catalog_store_free(struct catalog_store *store);

/* Maps the catalog. -ENOENT if it is not here or was damaged (then it is removed). Any thread. */
int catalog_store_get(struct catalog_store *store, const struct catalog_ref *ref,
	struct catalog **out) WARN_UNUSED;

/* Keeps the decoded bytes that came from a source, whose digest was checked, and maps them;
 * on a disk that takes nothing they stay in memory. -EUCLEAN (logged with the reason) if they
 * are no sound catalog or a composed one, else 0 or -errno. Any thread. */
int catalog_store_put(struct catalog_store *store, const struct catalog_ref *ref,
	const uint8_t *data, struct catalog **out) WARN_UNUSED;

/* Keeps a catalog that this mirror has composed and that nobody else has: when this returns 0 it
 * is on disk, over a power failure. -EUCLEAN if it is not sound or not composed, else -errno.
 * Any thread. */
int catalog_store_put_composed(struct catalog_store *store, const struct catalog_ref *ref,
	const uint8_t *data) WARN_UNUSED;

/* Whether the catalog's file is here, sound or not. Any thread. */
bool catalog_store_has(struct catalog_store *store, const struct digest *digest);
