/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Catalogs for whoever may wait: from this machine, else from a source, in the background,
 * many at once, because who walks a thousand of them must not wait a thousand round trips.
 *
 *	r = catalog_loader_new(&config, &loader);
 *	r = catalog_loader_want(loader, &ref);		(soon: is fetched ahead)
 *	r = catalog_loader_get(loader, &ref, &catalog);	(now: waits)
 *	...
 *	catalog_close(catalog);
 *	catalog_loader_free(loader);
 *
 * One thread. The catalog store must outlive the source's requests, as for a view.
 */
#pragma once

#include "cache/catalog/catalog_store.h"
#include "cache/source.h"

/* Requests that a loader has under way at once. */
#define CATALOG_LOADER_WINDOW 32

struct catalog_loader;

struct catalog_loader_config {
	struct catalog_store *catalogs;
	struct source *source;		 /* NULL: offline */
	const atomic_bool *is_cancelled; /* may be NULL */
	int64_t timeout_ns; /* waiting ends when for so long no catalog has come */
};

int catalog_loader_new(const struct catalog_loader_config *config,
	struct catalog_loader **out) WARN_UNUSED;

/* What is under way lands all the same. */
void catalog_loader_free(struct catalog_loader *loader);

/* Fetches it ahead unless it is here. Returns 0 or -ENOMEM. */
int catalog_loader_want(
	struct catalog_loader *loader, const struct catalog_ref *ref) WARN_UNUSED;

/* The catalog; the caller closes it. -EHOSTUNREACH when it is not here and no source answers or
 * there is none, -ENOENT when no source has it, -ETIMEDOUT, -ECANCELED, or as the source or the
 * store says. What has failed is not tried again. */
int catalog_loader_get(struct catalog_loader *loader, const struct catalog_ref *ref,
	struct catalog **out) WARN_UNUSED;
