/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The contents that a catalog under composition takes from other catalogs, with their pieces,
 * chunks, frames and packs: each once, in the orders that the format asks for.
 *
 *	r = content_pool_init(&pool, at_most);
 *	r = content_pool_add(&pool, catalog, content, is_stale, &number);
 *	r = content_pool_settle(&pool);		(the counts and frames are final)
 *	content_pool_write(&pool, contents, pieces, chunks);
 *	content_pool_release(&pool);
 *
 * The catalogs are borrowed until it is released. One thread.
 */
#pragma once

#include "cache/base/data/number_table.h"
#include "cache/catalog/catalog.h"

struct pooled_content;
struct chunk_place;

struct content_pool {
	struct pooled_content *contents; /* in order of first use */
	uint32_t content_count;
	uint64_t piece_count;
	struct chunk_place *places; /* of every piece, sorted */
	struct catalog_frame *frames;
	struct catalog_pack *packs;
	uint32_t chunk_count;
	uint32_t frame_count;
	uint32_t pack_count;
	struct number_table content_table;
	struct number_table pack_table;
};

/* Room for `at_most` contents. Returns 0 or -ENOMEM. */
int content_pool_init(struct content_pool *pool, size_t at_most) WARN_UNUSED;
void content_pool_release(struct content_pool *pool);

/* The number of a content of `from`. Where one like it is known, the places of one that is
 * not stale are kept: the depot has those. */
uint32_t content_pool_add(struct content_pool *pool, const struct catalog *from,
	const struct catalog_content *content, bool is_stale);

/* Sorts and numbers chunks, frames and packs. Returns 0, -E2BIG or -ENOMEM. */
int content_pool_settle(struct content_pool *pool) WARN_UNUSED;

/* Fills these arrays, which are as long as the counts say. */
void content_pool_write(const struct content_pool *pool, struct catalog_content *contents,
	struct catalog_piece *pieces, struct catalog_chunk *chunks);
