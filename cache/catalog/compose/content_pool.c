/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two catalogs may tell different things of one place of a pack: only one can be right, which
 * shows when it is fetched. Here they stay apart, so that all that was sound stays sound.
 */
#include "cache/catalog/compose/content_pool.h"

#include "cache/base/memory.h"

#include <errno.h>

struct pooled_content {
	const struct catalog *from;
	const struct catalog_content *content;
	bool is_stale;
};

struct chunk_place {
	const struct catalog *from;
	const struct catalog_chunk *chunk;
	uint32_t pack;	  /* in the pool */
	uint32_t content; /* the piece's: of the pool */
	uint32_t piece;
	uint32_t number; /* of the chunk, in the pool */
};

int content_pool_init(struct content_pool *pool, size_t at_most)
{
	*pool = (struct content_pool){0};
	pool->contents = mem_alloc(at_most * sizeof(*pool->contents));
	return pool->contents ? number_table_init(&pool->content_table, at_most)
			      : -ENOMEM;
}

void content_pool_release(struct content_pool *pool)
{
	free(pool->contents);
	free(pool->places);
	free(pool->frames);
	free(pool->packs);
	number_table_release(&pool->content_table);
	number_table_release(&pool->pack_table);
}

static const struct catalog_chunk *chunk_of(const struct pooled_content *c, uint32_t i)
{
	return &c->from->chunks[c->from->pieces[c->content->first_piece + i].chunk];
}

/* Alike in bytes, and cut alike: then one's places serve for the other. */
static bool is_alike(uint32_t number, const void *key, const void *context)
{
	const struct content_pool *pool = context;
	const struct pooled_content *a = &pool->contents[number];
	const struct pooled_content *b = key;

	if (a->from == b->from && a->content == b->content)
		return true;
	if (!digest_equal(&a->content->digest, &b->content->digest) ||
		a->content->size != b->content->size ||
		a->content->data_bytes != b->content->data_bytes ||
		a->content->piece_count != b->content->piece_count)
		return false;
	for (uint32_t i = 0; i < a->content->piece_count; i++) {
		const struct catalog_piece *p =
			&a->from->pieces[a->content->first_piece + i];
		const struct catalog_piece *q =
			&b->from->pieces[b->content->first_piece + i];

		if (p->position != q->position ||
			chunk_of(a, i)->length != chunk_of(b, i)->length ||
			!digest_equal(&chunk_of(a, i)->digest, &chunk_of(b, i)->digest))
			return false;
	}
	return true;
}

uint32_t content_pool_add(struct content_pool *pool, const struct catalog *from,
	const struct catalog_content *content, bool is_stale)
{
	struct pooled_content key = {from, content, is_stale};
	uint32_t *slot = number_table_find(
		&pool->content_table, digest_key(&content->digest), is_alike, &key, pool);

	if (!*slot) {
		pool->contents[pool->content_count] = key;
		pool->piece_count += content->piece_count;
		*slot = ++pool->content_count;
	} else if (pool->contents[*slot - 1].is_stale && !is_stale) {
		pool->contents[*slot - 1] = key;
	}
	return *slot - 1;
}

static bool is_pack(uint32_t number, const void *key, const void *context)
{
	const struct catalog_pack *a =
		&((const struct content_pool *)context)->packs[number];
	const struct catalog_pack *b = key;

	return digest_equal(&a->digest, &b->digest) && a->bytes == b->bytes;
}

static uint32_t number_pack(struct content_pool *pool, const struct catalog_pack *pack)
{
	uint32_t *slot = number_table_find(
		&pool->pack_table, digest_key(&pack->digest), is_pack, pack, pool);

	if (!*slot) {
		pool->packs[pool->pack_count] = *pack;
		*slot = ++pool->pack_count;
	}
	return *slot - 1;
}

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static const struct catalog_frame *frame_of(const struct chunk_place *p)
{
	return &p->from->frames[p->chunk->frame];
}

static int compare_frames(const struct chunk_place *x, const struct chunk_place *y)
{
	const struct catalog_frame *f = frame_of(x);
	const struct catalog_frame *g = frame_of(y);
	int r = compare(x->pack, y->pack);

	if (!r)
		r = compare(f->offset, g->offset);
	if (!r)
		r = compare(f->stored_bytes, g->stored_bytes);
	if (!r)
		r = compare(f->raw_bytes, g->raw_bytes);
	return r ? r : compare(f->flags, g->flags);
}

static int compare_chunks(const struct chunk_place *x, const struct chunk_place *y)
{
	int r = compare_frames(x, y);

	if (!r)
		r = compare(x->chunk->offset, y->chunk->offset);
	if (!r)
		r = compare(x->chunk->length, y->chunk->length);
	return r ? r
		 : memcmp(x->chunk->digest.bytes, y->chunk->digest.bytes, DIGEST_SIZE);
}

/* The first user of a chunk comes first among its places. */
static int compare_places(const void *a, const void *b)
{
	const struct chunk_place *x = a;
	const struct chunk_place *y = b;
	int r = compare_chunks(x, y);

	return r ? r : compare(x->piece, y->piece);
}

static void collect_places(struct content_pool *pool)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < pool->content_count; i++) {
		const struct pooled_content *c = &pool->contents[i];

		for (uint32_t k = 0; k < c->content->piece_count; k++, n++) {
			struct chunk_place *p = &pool->places[n];

			*p = (struct chunk_place){.from = c->from,
				.chunk = chunk_of(c, k),
				.content = i,
				.piece = n};
			p->pack = number_pack(pool, &c->from->packs[frame_of(p)->pack]);
		}
	}
}

static void number_places(struct content_pool *pool)
{
	const struct chunk_place *last = NULL;

	for (uint64_t i = 0; i < pool->piece_count; i++) {
		struct chunk_place *p = &pool->places[i];

		if (!last || compare_frames(last, p) != 0) {
			struct catalog_frame *frame = &pool->frames[pool->frame_count++];

			*frame = *frame_of(p);
			frame->pack = p->pack;
			frame->first_chunk = pool->chunk_count;
			frame->chunk_count = 0;
		}
		if (!last || compare_chunks(last, p) != 0) {
			pool->frames[pool->frame_count - 1].chunk_count++;
			pool->chunk_count++;
		}
		p->number = pool->chunk_count - 1;
		last = p;
	}
}

int content_pool_settle(struct content_pool *pool)
{
	size_t n = (size_t)pool->piece_count;

	if (pool->piece_count > UINT32_MAX - 2)
		return -E2BIG;
	pool->places = mem_alloc(n * sizeof(*pool->places));
	pool->frames = mem_alloc(n * sizeof(*pool->frames));
	pool->packs = mem_alloc(n * sizeof(*pool->packs));
	if (!pool->places || !pool->frames || !pool->packs ||
		number_table_init(&pool->pack_table, n) < 0)
		return -ENOMEM;
	collect_places(pool);
	if (n)
		qsort(pool->places, n, sizeof(*pool->places), compare_places);
	number_places(pool);
	return 0;
}

void content_pool_write(const struct content_pool *pool, struct catalog_content *contents,
	struct catalog_piece *pieces, struct catalog_chunk *chunks)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < pool->content_count; i++) {
		const struct pooled_content *c = &pool->contents[i];

		contents[i] = *c->content;
		contents[i].first_piece = n;
		for (uint32_t k = 0; k < c->content->piece_count; k++)
			pieces[n++].position =
				c->from->pieces[c->content->first_piece + k].position;
	}
	uint32_t frame = 0;

	for (uint64_t i = 0; i < pool->piece_count; i++) {
		const struct chunk_place *p = &pool->places[i];
		struct catalog_chunk *chunk = &chunks[p->number];

		pieces[p->piece].chunk = p->number;
		if (i && p[-1].number == p->number)
			continue;
		if (p->number - pool->frames[frame].first_chunk >=
			pool->frames[frame].chunk_count)
			frame++;
		*chunk = *p->chunk;
		chunk->frame = frame;
		chunk->content = p->content;
		chunk->piece = p->piece;
	}
}
