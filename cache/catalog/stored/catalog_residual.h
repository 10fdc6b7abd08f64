/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What of a catalog does not follow from the rest of it. Most fields do: names lie one behind the
 * other, a directory's children come where its sister's end, a file's inode number is a hash of its
 * path. Each such field is replaced by its difference from what was expected, nearly always 0.
 *
 * Both work in place, on bytes whose sections catalog_point() found and which do not overlap. They
 * take time and memory in proportion to the catalog, whatever is in it. Return 0 or -ENOMEM. Any
 * thread.
 */
#pragma once

#include "cache/catalog/catalog.h"

/* `data` is a copy of the bytes that `c` points at. */
int residual_take(const struct catalog *c, uint8_t *data) WARN_UNUSED;

/* `c` points at `data`: what residual_take() made. */
int residual_restore(const struct catalog *c, uint8_t *data) WARN_UNUSED;
