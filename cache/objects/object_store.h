/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Complete content on disk: objects/<aa>/<sha256>, plain and immutable, one file per distinct
 * content. The path says it all: no index. Content is verified before it is put here.
 *
 *	r = object_store_open(cache_dirfd, checkpoint, &store);
 *	fd = object_store_get(store, &digest, size);
 *	r = object_store_put(store, &digest, data, len);
 */
#pragma once

#include "cache/base/hash.h"
#include "cache/objects/checkpoint.h"

#include <stdbool.h>
#include <stdint.h>

struct object_store;

/* Makes the directories where they are missing. Borrows both arguments. */
int object_store_open(int cache_dirfd, struct checkpoint *checkpoint,
	struct object_store **out) WARN_UNUSED;
void object_store_free(struct object_store *store);

/* All below: any thread. */

/* Opens a content for reading. -ENOENT if it is not here, or was not whole: a wrong size, or
 * in doubt after a crash and not of this digest, removes it. The caller closes it. */
int object_store_get(struct object_store *store, const struct digest *digest,
	uint64_t size) WARN_UNUSED;

/* Whether it is here with this size; *out_landed_ns (may be NULL) says since when. */
bool object_store_has(struct object_store *store, const struct digest *digest,
	uint64_t size, int64_t *out_landed_ns);

/* Stores verified content; one that is here already is fine. 0 or -errno (ENOSPC). */
int object_store_put(struct object_store *store, const struct digest *digest,
	const void *data, size_t len) WARN_UNUSED;

/* Moves the complete file from_dirfd/from_name in. 0 or -errno. */
int object_store_adopt(struct object_store *store, const struct digest *digest,
	uint64_t size, int from_dirfd, const char *from_name) WARN_UNUSED;

/* Bytes of all objects; complete once object_store_scan() is through. */
uint64_t object_store_used(struct object_store *store);

/* Counts what is here, removes what an interrupted landing left, and verifies what is in
 * doubt; settles the checkpoint when it got through all of it. Stops early when *stop becomes true. */
void object_store_scan(struct object_store *store, const _Atomic bool *stop);
