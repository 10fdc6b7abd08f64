/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/ingest/chunks/chunk_index.h"

#include "cache/base/data/arena.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "sync/master/catalog/catalog_graph.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct chunk_list {
	struct chunk_ref **list;
	size_t count;
	size_t capacity;
};

static int collect(struct chunk_ref *chunk, void *context)
{
	struct chunk_list *l = context;

	if (!chunk->frame || chunk->frame->row)
		return 0;
	int r = mem_grow(
		(void **)&l->list, &l->capacity, l->count, sizeof(struct chunk_ref *));

	if (r == 0)
		l->list[l->count++] = chunk;
	return r;
}

/* As SQLite orders its keys: signed. In that order insertion fills page after page. */
static int compare_keys(const void *a, const void *b)
{
	int64_t x = (int64_t)digest_key(&(*(struct chunk_ref *const *)a)->digest);
	int64_t y = (int64_t)digest_key(&(*(struct chunk_ref *const *)b)->digest);

	return (x > y) - (x < y);
}

int chunk_index_add(struct scan_state *state, struct chunk_table *chunks)
{
	struct chunk_list l = {0};
	int r = chunk_table_each(chunks, collect, &l);

	if (r == 0 && l.count)
		qsort(l.list, l.count, sizeof(struct chunk_ref *), compare_keys);
	for (size_t i = 0; r == 0 && i < l.count; i++)
		r = scan_state_put_chunk(state, l.list[i]);
	free(l.list);
	return r;
}

/* Adds one catalog's chunks. */
static int add_catalog(void *context, const struct catalog *c)
{
	struct scan_state *state = context;
	struct arena arena CLEANUP(arena_release) = {0};
	struct pack_ref *packs = arena_zalloc(&arena, c->pack_count * sizeof(*packs));
	struct frame_ref *frames = arena_zalloc(&arena, c->frame_count * sizeof(*frames));
	int r = 0;

	if (!packs || !frames)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->pack_count; i++) {
		packs[i].digest = c->packs[i].digest;
		packs[i].bytes = c->packs[i].bytes;
	}
	for (uint32_t i = 0; i < c->frame_count; i++)
		frames[i] = (struct frame_ref){.pack = &packs[c->frames[i].pack],
			.offset = c->frames[i].offset,
			.stored_bytes = c->frames[i].stored_bytes,
			.raw_bytes = c->frames[i].raw_bytes,
			.flags = c->frames[i].flags};
	for (uint32_t i = 0; r == 0 && i < c->chunk_count; i++) {
		struct chunk_ref chunk = {.digest = c->chunks[i].digest,
			.offset = c->chunks[i].offset,
			.length = c->chunks[i].length,
			.frame = &frames[c->chunks[i].frame]};

		r = scan_state_put_chunk(state, &chunk);
	}
	return r;
}

static uint64_t indexed_revision(struct scan_state *state)
{
	AUTO_FREE char *text = NULL;
	unsigned long long n;

	if (scan_state_setting(state, "revision", &text) < 0 ||
		io_parse_u64(text, &n) < 0)
		return 0;
	return n;
}

int chunk_index_catch_up(const struct depot *depot, const struct trust *trust,
	struct scan_state *state, uint64_t latest)
{
	uint64_t known = indexed_revision(state);
	struct catalog_graph *graph;
	char number[32];

	if (known >= latest)
		return 0;
	int r = catalog_graph_new(depot, &graph);

	if (r < 0)
		return r;
	r = scan_state_begin(state);
	for (uint64_t n = known + 1; r == 0 && n <= latest; n++) {
		struct revision revision;
		struct digest digest;

		r = depot_revision(depot, trust, n, &revision, &digest);
		/* retention may have dropped it */
		if (r == -ENOENT)
			r = 0;
		else if (r == 0)
			r = catalog_graph_visit(
				graph, &revision.root, add_catalog, state);
	}
	catalog_graph_free(graph);
	(void)snprintf(number, sizeof(number), "%" PRIu64, latest);
	if (r == 0)
		r = scan_state_put_setting(state, "revision", number);
	return r == 0 ? scan_state_commit(state) : r;
}
