/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Going through all objects: counting them, verifying them, listing them. Takes time with their
 * number; landing goes on meanwhile, and the count is exact all the same. *stop (never NULL) ends
 * each of them early. One thread at a time may scan or verify; any may list.
 */
#pragma once

#include "cache/objects/object_store.h"

#include <stdatomic.h>

struct object_info {
	struct digest digest;
	uint64_t size;
	uint64_t disk_bytes;
	int64_t landed_ns;   /* its modification time */
	int64_t last_use_ns; /* to an hour; landing is one */
};

/* Called for each object, no lock held; it may be removed there. A return other than 0 ends the
 * walk. */
typedef int (*object_callback)(void *arg, const struct object_info *object);

/* Lists every object and counts afresh what they take. Returns what the last call did, or
 * -ECANCELED, or -errno. */
int object_store_list(struct object_store *store, const _Atomic bool *stop,
	object_callback each, void *arg) WARN_UNUSED;

/* Counts what is here, removes what an interrupted landing left, then verifies what is in doubt;
 * settles the checkpoint when it got through all of it. */
void object_store_scan(struct object_store *store, const _Atomic bool *stop);

/* Looks at an object as whoever opens it does, and notes no use. Returns 0 if it is sound as far as
 * its size tells (or, after a crash, its digest), -EBADMSG if it was not (then it is removed),
 * -ENOENT, -ECANCELED or -errno. */
int object_store_check(struct object_store *store, const struct digest *digest,
	uint64_t size, const _Atomic bool *stop) WARN_UNUSED;

/* Compares an object with its digest, as if it were in doubt. Returns 0 if it is sound,
 * -EBADMSG if it was not (then it is removed), -ENOENT, -ECANCELED or -errno. */
int object_store_verify(struct object_store *store, const struct digest *digest,
	const _Atomic bool *stop) WARN_UNUSED;
