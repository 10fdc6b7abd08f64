/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The stored form of a catalog, as it lies in a depot (docs/formats/depot.md has the bytes).
 *
 *	struct buffer stored = BUFFER_INIT(CATALOG_STORED_MAX);
 *	r = catalog_encode(raw, raw_bytes, level, &stored);
 *	...
 *	r = catalog_decode(stored.data, stored.len, raw, raw_bytes);
 *	(compare the digest of raw)
 *
 * Any thread.
 */
#pragma once

#include "cache/base/data/buffer.h"
#include "cache/catalog/catalog_format.h"

/* The last byte is the version. */
#define CATALOG_STORED_MAGIC	   "depotfZ1"
#define CATALOG_STORED_MAGIC_BYTES 8

/* No more room than this is needed to make the stored form of any catalog. */
#define CATALOG_STORED_MAX (CATALOG_MAX_BYTES + CATALOG_MAX_BYTES / 64)

/* Appends the stored form of a catalog of `len` bytes, aligned to 8, to `out`. Level as zstd's.
 * -EINVAL for bytes in which no sections can be found, or that overlap; -ENOMEM, -EFBIG or -EIO. */
int catalog_encode(
	const void *raw, size_t len, int level, struct buffer *out) WARN_UNUSED;

/* Restores exactly `raw_bytes` bytes at `out_raw`, aligned to 8. The stored form may be anything:
 * the result is -EBADMSG, or bytes that are no catalog or another one, which their digest shows.
 * Takes time and memory in proportion to raw_bytes. -EBADMSG or -ENOMEM. */
int catalog_decode(
	const void *stored, size_t len, void *out_raw, size_t raw_bytes) WARN_UNUSED;
