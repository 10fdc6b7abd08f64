/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Complete content on disk: objects/<aa>/<sha256>, plain and immutable, one file per distinct
 * content. The path says it all: no index. Content is verified before it is put here. A file's
 * modification time is when it landed, its access time when it was last used.
 *
 *	r = object_store_open(cache_dirfd, checkpoint, &store);
 *	fd = object_store_get(store, &digest, size);
 *	r = object_store_put(store, &digest, data, len);
 *
 * Going through all of it: cache/objects/object_scan.h.
 */
#pragma once

#include "cache/base/data/hash.h"
#include "cache/objects/bounds/usage.h"
#include "cache/objects/checkpoint.h"

#include <stdbool.h>
#include <stdint.h>

struct object_store;

/* Makes the directories where they are missing. Borrows both arguments. */
int object_store_open(int cache_dirfd, struct checkpoint *checkpoint,
	struct object_store **out) WARN_UNUSED;
void object_store_free(struct object_store *store);

/* All below: any thread. */

/* Opens a content for reading, and notes the use. -ENOENT if it is not here, or was not whole: a
 * wrong size, or in doubt after a crash and not of this digest, removes it. The caller closes it.
 * It stays readable when the object is removed. */
int object_store_get(struct object_store *store, const struct digest *digest,
	uint64_t size) WARN_UNUSED;

struct object_times {
	int64_t landed_ns;   /* when it was made */
	int64_t accessed_ns; /* when it was last used, to an hour */
};

/* Whether it is here with this size; `out_times` may be NULL. */
bool object_store_has(struct object_store *store, const struct digest *digest,
	uint64_t size, struct object_times *out_times);

/* Stores verified content; one that is here already is fine. 0 or -errno (ENOSPC: the disk is
 * full, or the cache as full as it may get). */
int object_store_put(struct object_store *store, const struct digest *digest,
	const void *data, size_t len) WARN_UNUSED;

/* Moves the complete file from_dirfd/from_name in; where the object is here already, that file
 * is only removed. 0 or -errno. */
int object_store_adopt(struct object_store *store, const struct digest *digest,
	int from_dirfd, const char *from_name) WARN_UNUSED;

/* Removes an object; *out_bytes (may be NULL) says how many it took on disk. Who has it open reads
 * on. 0, -ENOENT or -errno. */
int object_store_remove(struct object_store *store, const struct digest *digest,
	uint64_t *out_bytes) WARN_UNUSED;

/* Writes the noted uses into the files' access times: may wait for the disk. */
void object_store_write_accesses(struct object_store *store);

/* What the cache takes of the disk; everything that lands is counted there. Borrowed. */
struct usage *object_store_usage(struct object_store *store);
