/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two steps make a catalog easy to compress: what follows from the rest becomes 0
 * (catalog_residual.h), and tables become columns of bytes, so that like stands by like. Neither
 * changes a size or a section's place, so the decoder needs to be told nothing.
 */
#include "cache/catalog/stored/catalog_codec.h"

#include "cache/base/data/compress.h"
#include "cache/base/memory.h"
#include "cache/catalog/catalog_check.h"
#include "cache/catalog/stored/catalog_residual.h"

#include <errno.h>

/* Turned together: few enough that all their lines stay in the first-level cache. */
#define BLOCK_ROWS 64

/* One table's place in both forms. */
struct table {
	size_t rows;
	size_t row_bytes;
	size_t digest_bytes; /* in front of a row; noise, which stays in one piece */
	size_t at;	     /* from the catalog's start */
};

/* Points at the sections, which must stand one behind the other: who writes one of them reads
 * others. */
static int point(struct catalog *c, const void *data, size_t len)
{
	const char *reason;
	uint64_t end = sizeof(struct catalog_header);
	int r = catalog_point(c, data, len, &reason);

	for (int s = 0; r == 0 && s < CATALOG_PUBLISHED_SECTIONS; s++) {
		const struct catalog_section_ref *ref = &c->header->sections[s];

		if (ref->count == 0)
			continue;
		if (ref->offset < end)
			r = -EBADMSG;
		end = ref->offset +
		      ref->count * catalog_item_size((enum catalog_section)s);
	}
	return r;
}

/* False for a section of bytes, which is the same in both forms. */
static bool get_table(const struct catalog *c, enum catalog_section s, struct table *out)
{
	*out = (struct table){.rows = c->header->sections[s].count,
		.row_bytes = catalog_item_size(s),
		.at = c->header->sections[s].offset};
	if (s == CATALOG_CONTENTS || s == CATALOG_CHUNKS || s == CATALOG_PACKS ||
		s == CATALOG_NESTED)
		out->digest_bytes = DIGEST_SIZE;
	return out->row_bytes > 1;
}

static void to_columns(const struct table *t, const uint8_t *rows, uint8_t *columns)
{
	for (size_t i = 0; i < t->rows; i++)
		memcpy(columns + i * t->digest_bytes, rows + i * t->row_bytes,
			t->digest_bytes);
	for (size_t first = 0; first < t->rows; first += BLOCK_ROWS) {
		size_t end = first + BLOCK_ROWS < t->rows ? first + BLOCK_ROWS : t->rows;

		for (size_t b = t->digest_bytes; b < t->row_bytes; b++)
			for (size_t i = first; i < end; i++)
				columns[b * t->rows + i] = rows[i * t->row_bytes + b];
	}
}

static void to_rows(const struct table *t, const uint8_t *columns, uint8_t *rows)
{
	for (size_t i = 0; i < t->rows; i++)
		memcpy(rows + i * t->row_bytes, columns + i * t->digest_bytes,
			t->digest_bytes);
	for (size_t first = 0; first < t->rows; first += BLOCK_ROWS) {
		size_t end = first + BLOCK_ROWS < t->rows ? first + BLOCK_ROWS : t->rows;

		for (size_t b = t->digest_bytes; b < t->row_bytes; b++)
			for (size_t i = first; i < end; i++)
				rows[i * t->row_bytes + b] = columns[b * t->rows + i];
	}
}

/* Appends the header and the frame. */
static int add_compressed(
	struct buffer *out, const uint8_t *turned, size_t len, int level)
{
	size_t before = out->len;
	size_t room = compress_bound(len);
	size_t stored = 0;
	int r = buffer_add(out, CATALOG_STORED_MAGIC, CATALOG_STORED_MAGIC_BYTES);

	if (r == 0)
		r = buffer_reserve(out, room);
	if (r == 0)
		r = compress_encode(
			turned, len, level, out->data + out->len, room, &stored);
	out->len = r == 0 ? out->len + stored : before;
	return r;
}

int catalog_encode(const void *raw, size_t len, int level, struct buffer *out)
{
	struct catalog c = {0};
	struct table t;

	if (point(&c, raw, len) < 0)
		return -EINVAL;
	AUTO_FREE uint8_t *residuals = mem_dup(raw, len);
	AUTO_FREE uint8_t *turned = mem_dup(raw, len);

	if (!residuals || !turned)
		return -ENOMEM;
	int r = residual_take(&c, residuals);

	if (r < 0)
		return r;
	for (int s = 0; s < CATALOG_PUBLISHED_SECTIONS; s++)
		if (get_table(&c, (enum catalog_section)s, &t))
			to_columns(&t, residuals + t.at, turned + t.at);
	return add_compressed(out, turned, len, level);
}

int catalog_decode(const void *stored, size_t len, void *out_raw, size_t raw_bytes)
{
	struct catalog c = {0};
	struct table t;

	if (len < CATALOG_STORED_MAGIC_BYTES ||
		memcmp(stored, CATALOG_STORED_MAGIC, CATALOG_STORED_MAGIC_BYTES) != 0)
		return -EBADMSG;
	AUTO_FREE uint8_t *turned = mem_alloc(raw_bytes);

	if (!turned)
		return -ENOMEM;
	int r = compress_decode((const uint8_t *)stored + CATALOG_STORED_MAGIC_BYTES,
		len - CATALOG_STORED_MAGIC_BYTES, turned, raw_bytes);

	if (r < 0)
		return r;
	memcpy(out_raw, turned, raw_bytes);
	r = point(&c, out_raw, raw_bytes);
	if (r < 0)
		return r;
	for (int s = 0; s < CATALOG_PUBLISHED_SECTIONS; s++)
		if (get_table(&c, (enum catalog_section)s, &t))
			to_rows(&t, turned + t.at, (uint8_t *)out_raw + t.at);
	return residual_restore(&c, out_raw);
}
