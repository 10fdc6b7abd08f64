/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a view needs: the contents and catalogs that its entries name, told apart by whether
 * only stale entries do. Asked by what deletes (eviction, the sweep of a full sync). A million
 * contents take less than 64 MiB.
 *
 *	r = reference_set_new(&set);
 *	r = reference_set_add_view(set, catalogs, &root, NULL);	(several add up)
 *	if (reference_set_content(set, &digest) == REFERENCE_NONE) ...
 *	reference_set_free(set);
 *
 * One thread adds; once all is added any thread may ask.
 */
#pragma once

#include "cache/catalog/catalog_store.h"

#include <stdatomic.h>

enum reference {
	REFERENCE_NONE,
	REFERENCE_STALE, /* by stale entries only */
	REFERENCE_LIVE,
};

struct reference_set;

int reference_set_new(struct reference_set **out) WARN_UNUSED;
void reference_set_free(struct reference_set *set);

/* Walks every catalog below `root` that is on this machine; nothing is fetched. *is_cancelled
 * (may be NULL) ends it with -ECANCELED; else 0 or -errno. After an error the set is of no use. */
int reference_set_add_view(struct reference_set *set, struct catalog_store *catalogs,
	const struct catalog_ref *root, const atomic_bool *is_cancelled) WARN_UNUSED;

/* Adds one content. 0 or -ENOMEM. */
int reference_set_add_content(struct reference_set *set, const struct digest *digest,
	enum reference who) WARN_UNUSED;

enum reference reference_set_content(
	const struct reference_set *set, const struct digest *digest);
enum reference reference_set_catalog(
	const struct reference_set *set, const struct digest *digest);

uint64_t reference_set_content_count(const struct reference_set *set);

/* Catalogs that were named and are not here. What they would name is not in the set: it may
 * still be here when a catalog was lost, so who deletes for good must see 0. */
uint64_t reference_set_missing(const struct reference_set *set);
