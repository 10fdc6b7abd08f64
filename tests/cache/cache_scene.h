/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The cache of a mirror, for tests of what stands on all its parts: a new one for each test.
 *
 *	cache_make(fake_source_of(fake));
 *	... contents, catalogs ...
 *	cache_drop();
 */
#pragma once

#include "tests/cache/support.h"

#include "cache/content/content.h"
#include "cache/objects/checkpoint.h"

extern struct scratch scratch; /* the cache directory */
extern struct checkpoint *checkpoint;
extern struct object_store *objects;
extern struct catalog_store *catalogs;
extern struct content_store *contents;

/* `source`: of the contents; NULL: nothing can be fetched. */
void cache_make(struct source *source);

/* Nothing may be on its way. */
void cache_drop(void);
