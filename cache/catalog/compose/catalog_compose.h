/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A catalog put together from entries of other catalogs (docs/formats/catalog.md, "Composed
 * catalogs"). The same entries give the same bytes.
 *
 *	r = compose_new("npm/left-pad", 12, &compose);
 *	r = compose_add(compose, 0, catalog, index, 0, &top);	(the top directory first)
 *	r = compose_add(compose, top, old, i, COMPOSE_STALE, &handle);
 *	r = compose_add(compose, top, new, k, 0, &handle);
 *	r = compose_nest(compose, handle, &nested, revision);
 *	r = compose_finish(compose, &composed);
 *	compose_free(compose);
 *	... composed_release(&composed);
 *
 * The catalogs are borrowed until compose_free(). One thread.
 */
#pragma once

#include "cache/catalog/catalog.h"

struct compose;

enum compose_flags {
	COMPOSE_STALE = 1 << 0,
};

/* A finished catalog's bytes and what the one above says of it (all but `entry`). */
struct composed {
	uint8_t *data; /* nested.raw_bytes, aligned */
	struct catalog_nested nested;
};

/* `path`: of the package, without a slash at its ends. Returns 0 or -ENOMEM. */
int compose_new(const char *path, size_t len, struct compose **out) WARN_UNUSED;
void compose_free(struct compose *c);

/* Adds entry `index` of `from` to directory `parent`, after all whose names are smaller; what hangs
 * on it is not added. The first one is the top: its name does not count. Returns 0, -E2BIG or
 * -ENOMEM. */
int compose_add(struct compose *c, uint32_t parent, const struct catalog *from,
	uint32_t index, unsigned int flags, uint32_t *out_handle) WARN_UNUSED;

/* Hangs a catalog on a directory without children here; `nested->entry` does not count.
 * `revision`: that it came from, 0: as the place of this catalog. Returns 0 or -ENOMEM. */
int compose_nest(struct compose *c, uint32_t handle, const struct catalog_nested *nested,
	uint64_t revision) WARN_UNUSED;

/* A directory has so many subdirectories more than where it was taken from: corrects its nlink,
 * if that counts them. */
void compose_adjust_nlink(struct compose *c, uint32_t handle, int64_t more);

/* An entry that was added as a stale one is none. */
void compose_revive(struct compose *c, uint32_t handle);

/* The handle that was given last. */
uint32_t compose_last(const struct compose *c);

/* Takes back `handle` and all that was added after it. */
void compose_drop(struct compose *c, uint32_t handle);

/* The bytes, checked as any reader does. Returns 0, -E2BIG, -ENOMEM, or -EBADMSG, logged: a
 * fault of this program or two catalogs that cannot stand together. */
int compose_finish(struct compose *c, struct composed *out) WARN_UNUSED;
void composed_release(struct composed *composed);
