/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The one check that lets a catalog's readers index without looking: every offset, count,
 * range, name and type of a catalog's bytes, once, when it is opened.
 */
#pragma once

#include "cache/catalog/catalog.h"

#define CATALOG_XATTR_HEAD 6 /* bytes before an attribute's name: two lengths */

/* Points `c` at the sections of these bytes and proves them sound. Returns 0, or -EBADMSG
 * with a static text in *out_reason; reads nothing outside `len`. */
int catalog_check(struct catalog *c, const void *data, size_t len,
	const char **out_reason) WARN_UNUSED;

/* Does the first step only: the header and the sections' own bounds. What lies in the sections
 * may be anything. */
int catalog_point(struct catalog *c, const void *data, size_t len,
	const char **out_reason) WARN_UNUSED;

/* Bytes of an item of a section; 1 for byte sections. */
size_t catalog_item_size(enum catalog_section s);
