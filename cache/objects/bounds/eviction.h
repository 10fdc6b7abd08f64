/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What to let go when the cache is too large or the disk too full: arithmetic and an order,
 * touching nothing. Who does it is cache/objects/bounds/evictor.h.
 *
 *	wanted = eviction_wanted(&bounds, used, &room);
 *	n = eviction_plan(items, count, wanted, &bytes);	(items[0 .. n) go)
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/data/hash.h"
#include "cache/objects/bounds/usage.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order in which they go. */
enum eviction_class {
	EVICTION_UNREFERENCED, /* the view does not name it */
	EVICTION_STALE,	       /* only names that the master has dropped */
	EVICTION_LIVE,
};

struct eviction_item {
	struct digest digest;
	uint64_t disk_bytes;
	int64_t landed_ns;
	int64_t last_use_ns;
	enum usage_kind kind;
	enum eviction_class class;
	bool is_kept; /* pinned, or must be here: never goes */
};

/* Reorders the items: first those that may go, by class, the least lately used first. Returns how
 * many of the first have to go so that `wanted` bytes come free; all that may, if that does not
 * suffice. *out_bytes: what these take. */
size_t eviction_plan(
	struct eviction_item *items, size_t count, uint64_t wanted, uint64_t *out_bytes);

/* The room that must stay free on the disk: bytes, or a share of the disk. */
struct eviction_floor {
	enum {
		EVICTION_FLOOR_DEFAULT, /* 5 % of the disk, 1 GiB at most */
		EVICTION_FLOOR_BYTES,
		EVICTION_FLOOR_PERCENT,
	} unit;
	uint64_t amount;
};

/* Reads "10G" (or K, M, T; of 1024) or "5%" (0 to 99). 0 or -EINVAL. */
int eviction_parse_floor(const char *text, struct eviction_floor *out) WARN_UNUSED;

/* Reads a size: digits and K, M, G or T, of 1024. 0, -EINVAL or -ERANGE. */
int eviction_parse_size(const char *text, uint64_t *out_bytes) WARN_UNUSED;

/* The floor in bytes on a disk of this size. */
uint64_t eviction_floor_bytes(const struct eviction_floor *floor, uint64_t disk_bytes);

struct eviction_bounds {
	uint64_t limit_bytes; /* 0: none */
	uint64_t floor_bytes; /* 0: none */
};

/* How many bytes have to go: 0 while the cache is below its high water and the disk above its
 * floor, else down to the low water and a quarter more than the floor. */
uint64_t eviction_wanted(
	const struct eviction_bounds *bounds, uint64_t used_bytes, uint64_t free_bytes);
