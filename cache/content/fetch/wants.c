/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/content/fetch/wants.h"

#include "cache/base/memory.h"
#include "cache/content/content_file.h"

#include <errno.h>

/* What is on disk of a content that is no object: its partial, NULL if there is none. */
static struct partial *probe(struct content_store *store, const struct catalog *c,
	const struct catalog_content *content)
{
	struct partial *p = NULL;

	/* a content of one chunk never has one */
	if (content_is_single(c, content) ||
		partial_open(store->partial_dirfd, store->config.checkpoint, c, content,
			PARTIAL_PROBE, &p) < 0)
		return NULL;
	return p;
}

ssize_t wants_of_content(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, uint32_t **out)
{
	AUTO_FREE uint32_t *list = NULL;
	ssize_t count = 0;

	*out = NULL;
	if (content->piece_count == 0 || object_store_has(store->config.objects,
						 &content->digest, content->size, NULL))
		return 0;
	list = mem_calloc(content->piece_count, sizeof(*list));
	if (!list)
		return -ENOMEM;
	struct partial *p = probe(store, catalog, content);

	for (uint32_t i = 0; i < content->piece_count; i++)
		if (!p || !partial_has(p, i))
			list[count++] = i;
	partial_free(p);
	if (count)
		*out = TAKE_PTR(list);
	return count;
}

static int add_missing(struct content_store *store, const struct catalog *c,
	uint32_t index, struct wants *w, size_t *capacity)
{
	AUTO_FREE uint32_t *pieces = NULL;
	ssize_t count = wants_of_content(store, c, &c->contents[index], &pieces);

	for (ssize_t i = 0; i < count; i++) {
		int r = mem_grow(
			(void **)&w->items, capacity, w->count, sizeof(*w->items));

		if (r < 0)
			return r;
		w->items[w->count++] =
			(struct want){index, c->contents[index].first_piece + pieces[i]};
	}
	return count < 0 ? (int)count : 0;
}

/* Counts the items of each frame, then puts each in its place: no comparison sort is needed. */
static int sort_by_frame(const struct catalog *c, struct wants *w)
{
	AUTO_FREE uint32_t *ends = mem_calloc((size_t)c->frame_count + 1, sizeof(*ends));
	AUTO_FREE struct want *sorted = mem_calloc((size_t)w->count + 1, sizeof(*sorted));
	uint32_t used = 0;

	if (!ends || !sorted)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->count; i++) {
		uint32_t *n = &ends[c->chunks[c->pieces[w->items[i].piece].chunk].frame];

		used += *n == 0;
		(*n)++;
	}
	w->frames = mem_calloc((size_t)used + 1, sizeof(*w->frames));
	if (!w->frames)
		return -ENOMEM;
	for (uint32_t frame = 0, at = 0; frame < c->frame_count; frame++) {
		uint32_t n = ends[frame];

		if (n)
			w->frames[w->frame_count++] = (struct wanted_frame){frame, at, n};
		ends[frame] = at;
		at += n;
	}
	for (uint32_t i = 0; i < w->count; i++) {
		const struct want *want = &w->items[i];

		sorted[ends[c->chunks[c->pieces[want->piece].chunk].frame]++] = *want;
	}
	free(w->items);
	w->items = TAKE_PTR(sorted);
	return 0;
}

int wants_collect(struct content_store *store, const struct catalog *catalog,
	const uint32_t *contents, size_t count, struct wants *out)
{
	struct wants w = {0};
	size_t capacity = 0;
	int r = 0;

	if (!contents)
		count = catalog->content_count;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_missing(store, catalog, contents ? contents[i] : (uint32_t)i, &w,
			&capacity);
	if (r == 0)
		r = sort_by_frame(catalog, &w);
	if (r < 0) {
		wants_release(&w);
		return r;
	}
	*out = w;
	return 0;
}

void wants_release(struct wants *wants)
{
	free(wants->items);
	free(wants->frames);
	*wants = (struct wants){0};
}

bool want_is_met(struct content_store *store, const struct catalog *catalog,
	const struct want *want)
{
	const struct catalog_content *content = &catalog->contents[want->content];

	if (object_store_has(
		    store->config.objects, &content->digest, content->size, NULL))
		return true;
	struct partial *p = probe(store, catalog, content);
	bool is_met = p && partial_has(p, want->piece - content->first_piece);

	partial_free(p);
	return is_met;
}
