/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Keeps the cache in its bounds, on a thread of its own: when the cache grows over its limit, the
 * disk falls below its floor or refuses something, it counts what is here and removes what
 * eviction.h picks. Also writes down, every half minute, which objects were used.
 *
 *	r = evictor_start(&config, &evictor);
 *	...
 *	evictor_stop(evictor);
 *
 * What is removed while somebody has it open stays readable to them, and its room comes free when
 * they close it. docs/cache-limits.md has the rules.
 */
#pragma once

#include "cache/catalog/catalog_store.h"
#include "cache/objects/bounds/eviction.h"
#include "cache/objects/object_store.h"

/* Says what the view thinks of what is in the cache. Called on the evictor's thread, no lock
 * held; begin() and end() enclose each round of questions. */
struct eviction_judge {
	void *arg;
	/* 0, or -errno: then nothing is removed this time. */
	int (*begin)(void *arg);
	/* Sets the item's class and whether it is kept; they are EVICTION_LIVE and, for a catalog,
	 * true before. */
	void (*judge)(void *arg, struct eviction_item *item);
	void (*end)(void *arg);
};

struct evictor_config {
	int cache_dirfd;
	struct object_store *objects;
	struct catalog_store *catalogs;
	uint64_t limit_bytes; /* of all the cache; 0: none */
	struct eviction_floor floor;
	struct eviction_judge judge; /* zeroed: everything is live */
};

struct evictor;

/* Borrows what `config` names until evictor_stop(). 0 or -errno. */
int evictor_start(const struct evictor_config *config, struct evictor **out) WARN_UNUSED;

/* Ends the thread after what it is removing. Nothing may land any more. Takes NULL. */
void evictor_stop(struct evictor *e);
