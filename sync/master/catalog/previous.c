/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/catalog/previous.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <string.h>

struct previous {
	struct catalog *catalog;
	uint64_t *fingerprints; /* by entry index; NULL: unknown */
	/* made when first asked for */
	struct pack_ref **packs;
	struct frame_ref **frames;
	struct chunk_ref **chunks;
	struct content **contents;
	struct blob **xattrs;
};

struct history {
	const struct depot *depot;
	struct scan_state *state;
	struct arena *arena;
	struct previous **list;
	size_t count;
	size_t capacity;
};

int history_new(const struct depot *depot, struct scan_state *state, struct arena *arena,
	struct history **out)
{
	struct history *h = mem_calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->depot = depot;
	h->state = state;
	h->arena = arena;
	*out = h;
	return 0;
}

static void previous_free(struct previous *p)
{
	catalog_close(p->catalog);
	free(p->fingerprints);
	free(p->packs);
	free(p->frames);
	free(p->chunks);
	free(p->contents);
	free(p->xattrs);
	free(p);
}

void history_free(struct history *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->count; i++)
		previous_free(h->list[i]);
	free(h->list);
	free(h);
}

static int allocate_tables(struct previous *p)
{
	const struct catalog *c = p->catalog;

	p->packs = mem_calloc(c->pack_count, sizeof(struct pack_ref *));
	p->frames = mem_calloc(c->frame_count, sizeof(struct frame_ref *));
	p->chunks = mem_calloc(c->chunk_count, sizeof(struct chunk_ref *));
	p->contents = mem_calloc(c->content_count, sizeof(struct content *));
	p->xattrs = mem_calloc(c->xattr_count, sizeof(struct blob *));
	return p->packs && p->frames && p->chunks && p->contents && p->xattrs ? 0
									      : -ENOMEM;
}

/* A catalog that cannot be read is as good as none: its files are read again. */
static int load(struct history *h, const struct catalog_ref *ref, struct previous **out)
{
	struct previous *p = mem_calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	int r = depot_catalog(h->depot, ref, &p->catalog);

	if (r < 0) {
		previous_free(p);
		return r == -ENOMEM ? r : -ENOENT;
	}
	r = allocate_tables(p);
	if (r == 0) {
		r = scan_state_fingerprints(h->state, p->catalog->path,
			p->catalog->path_length, &ref->digest, p->catalog->entry_count,
			&p->fingerprints);
		if (r == -ENOENT)
			r = 0;
	}
	if (r == 0)
		r = mem_grow((void **)&h->list, &h->capacity, h->count,
			sizeof(struct previous *));
	if (r < 0) {
		previous_free(p);
		return r;
	}
	h->list[h->count++] = p;
	*out = p;
	return 0;
}

int history_root(struct history *h, struct previous **out, uint32_t *out_index)
{
	struct known_package known;
	int r = scan_state_package(h->state, "", 0, &known);

	if (r == 0)
		r = load(h, &known.ref, out);
	if (r == 0)
		*out_index = CATALOG_ROOT;
	return r;
}

int history_find(const struct previous *dir, uint32_t dir_index, const char *name,
	size_t len, uint32_t *out_index)
{
	uint32_t i = catalog_lookup(dir->catalog, dir_index, name, len);

	if (i == CATALOG_NO_ENTRY)
		return -ENOENT;
	*out_index = i;
	return 0;
}

int history_enter(struct history *h, struct previous *p, uint32_t index,
	struct previous **out, uint32_t *out_index)
{
	const struct catalog_entry *e = catalog_entry(p->catalog, index);

	if (!S_ISDIR(e->mode))
		return -ENOTDIR;
	if (!catalog_entry_is_nested(e)) {
		*out = p;
		*out_index = index;
		return 0;
	}
	const struct catalog_nested *n = &p->catalog->nested[e->first];
	const struct catalog_ref ref = {.digest = n->digest,
		.stored_bytes = n->stored_bytes,
		.raw_bytes = n->raw_bytes};

	*out_index = CATALOG_ROOT;
	return load(h, &ref, out);
}

static struct chunk_ref *recall_chunk(
	struct history *h, struct previous *p, uint32_t index)
{
	const struct catalog_chunk *k = &p->catalog->chunks[index];
	const struct catalog_frame *f = &p->catalog->frames[k->frame];
	const struct catalog_pack *pk = &p->catalog->packs[f->pack];

	if (p->chunks[index])
		return p->chunks[index];
	if (!p->packs[f->pack]) {
		struct pack_ref *pack = arena_zalloc(h->arena, sizeof(*pack));

		if (!pack)
			return NULL;
		pack->digest = pk->digest;
		pack->bytes = pk->bytes;
		p->packs[f->pack] = pack;
	}
	if (!p->frames[k->frame]) {
		struct frame_ref *frame = arena_zalloc(h->arena, sizeof(*frame));

		if (!frame)
			return NULL;
		frame->pack = p->packs[f->pack];
		frame->offset = f->offset;
		frame->stored_bytes = f->stored_bytes;
		frame->raw_bytes = f->raw_bytes;
		frame->flags = f->flags;
		p->frames[k->frame] = frame;
	}
	struct chunk_ref *chunk = arena_zalloc(h->arena, sizeof(*chunk));

	if (!chunk)
		return NULL;
	chunk->digest = k->digest;
	chunk->offset = k->offset;
	chunk->length = k->length;
	chunk->frame = p->frames[k->frame];
	p->chunks[index] = chunk;
	return chunk;
}

/* Returns 0, -ENOMEM, or -ENOENT when a pack of it is gone from the depot. */
static int recall_content(
	struct history *h, struct previous *p, uint32_t index, struct content **out)
{
	const struct catalog_content *from = &p->catalog->contents[index];
	struct content *c = p->contents[index];

	if (!c) {
		c = arena_alloc(
			h->arena, sizeof(*c) + from->piece_count * sizeof(c->pieces[0]));
		if (!c)
			return -ENOMEM;
		c->digest = from->digest;
		c->size = from->size;
		c->data_bytes = from->data_bytes;
		c->piece_count = from->piece_count;
		for (uint32_t i = 0; i < from->piece_count; i++) {
			const struct catalog_piece *piece =
				&p->catalog->pieces[from->first_piece + i];

			c->pieces[i].position = piece->position;
			c->pieces[i].chunk = recall_chunk(h, p, piece->chunk);
			if (!c->pieces[i].chunk)
				return -ENOMEM;
		}
		p->contents[index] = c;
	}
	for (uint32_t i = 0; i < c->piece_count; i++) {
		struct pack_ref *pack = c->pieces[i].chunk->frame->pack;

		if (!pack->is_checked) {
			pack->is_checked = true;
			pack->is_present = depot_has_object(h->depot, "pack",
						   &pack->digest, pack->bytes) == 0;
		}
		if (!pack->is_present)
			return -ENOENT;
	}
	*out = c;
	return 0;
}

static int copy_blob(struct arena *a, const void *data, uint32_t len, struct blob **out)
{
	struct blob *b = arena_alloc(a, sizeof(*b) + len);

	if (!b)
		return -ENOMEM;
	b->length = len;
	memcpy(b->bytes, data, len);
	*out = b;
	return 0;
}

static int recall_xattrs(
	struct history *h, struct previous *p, uint32_t index, struct blob **out)
{
	const struct catalog_xattr_set *set = &p->catalog->xattrs[index];

	if (!p->xattrs[index]) {
		int r = copy_blob(h->arena, p->catalog->xattr_data + set->offset,
			set->length, &p->xattrs[index]);

		if (r < 0)
			return r;
	}
	*out = p->xattrs[index];
	return 0;
}

int history_recall(
	struct history *h, struct previous *p, uint32_t index, struct tree_entry *entry)
{
	const struct catalog_entry *e = catalog_entry(p->catalog, index);
	struct content *content = NULL;
	struct blob *target = NULL;
	struct blob *xattrs = NULL;
	int r = 0;

	if (!p->fingerprints || !entry->fingerprint ||
		p->fingerprints[index] != entry->fingerprint || e->mode != entry->mode)
		return -ENOENT;
	if (S_ISREG(e->mode) && e->size)
		r = recall_content(h, p, e->first, &content);
	else if (S_ISLNK(e->mode))
		r = copy_blob(
			h->arena, p->catalog->targets + e->first, e->count, &target);
	if (r == 0 && e->xattrs)
		r = recall_xattrs(h, p, e->xattrs - 1, &xattrs);
	if (r < 0)
		return r;
	if (content)
		entry->content = content;
	if (target)
		entry->target = target;
	entry->xattrs = xattrs;
	return 0;
}
