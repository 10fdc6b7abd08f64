/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The end of a full sync: nothing stays on the disk that the view does not name. Not for want of
 * room (that is cache/objects/bounds/evictor.h): all of it goes, at once.
 *
 *	struct sweep_config config = {.references = references, ...};
 *	r = sweep_run(&config, &counts);
 */
#pragma once

#include "cache/catalog/catalog_store.h"
#include "cache/objects/object_store.h"
#include "cache/reference_set.h"

#include <stdatomic.h>

struct content_store;

struct sweep_counts {
	uint64_t objects;
	uint64_t partials;
	uint64_t catalogs;
	uint64_t bytes; /* on disk */
};

struct sweep_config {
	int cache_dirfd;
	struct content_store *contents; /* what is open stays partial */
	struct object_store *objects;
	struct catalog_store *catalogs;
	/* What every view names that is shown or about to be; complete. */
	const struct reference_set *references;
	const atomic_bool *is_cancelled;
	/* Once for each that is gone; may be NULL. */
	void (*on_removed)(void *arg, enum usage_kind kind, const struct digest *digest,
		uint64_t disk_bytes);
	void *arg;
};

/* Removes what is not named; who has it open reads on, and goes on filling a partial, which the next
 * sweep removes. *out counts also when it fails half-way.
 * Returns 0, -ENODATA (and nothing is removed) if the set is not complete
 * (reference_set_missing()), -ECANCELED, or -errno. For a job's thread. */
int sweep_run(const struct sweep_config *config, struct sweep_counts *out) WARN_UNUSED;
