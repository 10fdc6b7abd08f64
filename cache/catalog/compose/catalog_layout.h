/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The low part of writing a catalog, common to the publisher's writer and to the mirror's
 * composing: where the sections lie, the header, the second order of names.
 *
 *	struct catalog_layout l;
 *	catalog_layout_init(&l, CATALOG_PUBLISHED_SECTIONS);
 *	catalog_layout_place(&l, CATALOG_ENTRIES, n);	(every section, in the file's order)
 *	r = catalog_layout_make(&l, &base);		(l.header has been completed)
 *	catalog_layout_put(&l, base, CATALOG_ENTRIES, entries);
 *	r = catalog_layout_fold(&l, base);		(entries and names are in place)
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/catalog/catalog_format.h"

#include <stddef.h>
#include <stdint.h>

/* No section is longer, so that an offset in it fits 32 bits. */
#define CATALOG_SECTION_MAX (UINT64_C(2) << 30)

struct catalog_layout {
	struct catalog_header header; /* the caller sets flags and tree_... */
};

void catalog_layout_init(struct catalog_layout *l, uint32_t section_count);

/* The next section has `count` items. */
void catalog_layout_place(
	struct catalog_layout *l, enum catalog_section s, uint64_t count);

/* Zeroed memory for all of it, l->header.total_bytes long, with the header: the caller's to
 * free(). Returns 0, -E2BIG or -ENOMEM. */
int catalog_layout_make(const struct catalog_layout *l, uint8_t **out_base) WARN_UNUSED;

void *catalog_layout_section(
	const struct catalog_layout *l, uint8_t *base, enum catalog_section s);

/* Copies a section's items to their place. */
void catalog_layout_put(const struct catalog_layout *l, uint8_t *base,
	enum catalog_section s, const void *items);

/* Writes FOLDED from ENTRIES and NAMES. Returns 0 or -ENOMEM. */
int catalog_layout_fold(const struct catalog_layout *l, uint8_t *base) WARN_UNUSED;
