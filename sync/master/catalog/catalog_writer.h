/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Builds a package's catalog (cache/catalog/catalog_format.h) from the tree in memory, whose entries
 * have their contents, targets and attributes by now and whose nested packages have their
 * catalogs. The same tree gives the same bytes. Any thread; one package at a time each.
 *
 *	r = catalog_write(package, &data, &len);
 *	... publish them ...
 *	free(data);
 */
#pragma once

#include "sync/master/catalog/packages.h"

/* Sets the package's tree_entries, tree_bytes and fingerprints, too. `*out_data` comes from
 * mem_alloc(). Returns 0, -ENOMEM, or -E2BIG when the package exceeds the format's bounds. */
int catalog_write(struct package *package, void **out_data, size_t *out_len) WARN_UNUSED;
