/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Catalogs on this machine: catalog/<aa>/<sha256>, decoded and ready to be mapped. A catalog's
 * digest is checked each time it is opened, so that nothing a disk did to it goes unseen.
 */
#pragma once

#include "cache/base/disk/digest_files.h"
#include "cache/catalog/catalog.h"
#include "cache/objects/bounds/usage.h"

#include <stdbool.h>

struct catalog_store;

/* Starts the thread of catalog_trim.h. */
int catalog_store_open(int cache_dirfd, struct catalog_store **out) WARN_UNUSED;

/* Catalogs may outlive it, but none may be opened or closed meanwhile. */
void catalog_store_free(struct catalog_store *store);

/* From now on counts there what lands and goes (USAGE_CATALOGS). Before threads start. */
void catalog_store_count_in(struct catalog_store *store, struct usage *usage);

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

/* The catalogs here, sound or not. Returns what the last call did, or -errno. Any thread. */
int catalog_store_list(
	struct catalog_store *store, digest_file_callback each, void *arg) WARN_UNUSED;

/* Removes a catalog's file; who has it mapped keeps it. *out_bytes (may be NULL) says what it
 * took on disk. 0, -ENOENT or -errno. Any thread. */
int catalog_store_remove(struct catalog_store *store, const struct digest *digest,
	uint64_t *out_bytes) WARN_UNUSED;
