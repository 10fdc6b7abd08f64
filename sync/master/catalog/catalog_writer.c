/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Three steps: number the entries breadth first; collect the distinct contents, chunks, frames
 * and packs they use, sort and number them; lay out the sections and write each item once.
 */
#include "sync/master/catalog/catalog_writer.h"

#include "cache/base/data/buffer.h"
#include "cache/base/data/number_table.h"
#include "cache/base/memory.h"
#include "cache/catalog/compose/catalog_layout.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

struct writer {
	struct package *package;
	struct catalog_entry *entries;
	const struct tree_entry **sources; /* by entry index */
	uint32_t entry_count;

	const struct content **contents; /* distinct, in order of first use */
	uint32_t content_count;
	uint64_t piece_count;
	const struct chunk_ref **chunks; /* distinct places, by pack, frame and offset */
	uint32_t chunk_count;
	struct catalog_frame *frames;
	uint32_t frame_count;
	const struct pack_ref **packs; /* distinct, in order of first use */
	uint32_t pack_count;
	const struct blob **xattr_sets;
	uint32_t xattr_count;

	struct number_table content_table;
	struct number_table xattr_table;
	struct number_table link_table;
	struct number_table pack_table;

	struct buffer names;
	struct buffer targets;
	struct buffer xattr_data;
	struct catalog_nested *nested;
	uint32_t nested_count;
	uint64_t tree_entries;
	uint64_t tree_bytes;
};

static void writer_release(struct writer *w)
{
	free(w->entries);
	free(w->sources);
	free(w->contents);
	free(w->chunks);
	free(w->frames);
	free(w->packs);
	free(w->xattr_sets);
	number_table_release(&w->content_table);
	number_table_release(&w->xattr_table);
	number_table_release(&w->pack_table);
	number_table_release(&w->link_table);
	buffer_release(&w->names);
	buffer_release(&w->targets);
	buffer_release(&w->xattr_data);
	free(w->nested);
}

static int writer_init(struct writer *w)
{
	size_t n = w->package->entry_count;

	w->entries = mem_calloc(n, sizeof(*w->entries));
	w->sources = mem_calloc(n, sizeof(struct tree_entry *));
	w->contents = mem_alloc(n * sizeof(struct content *));
	w->xattr_sets = mem_alloc(n * sizeof(struct blob *));
	w->nested = mem_calloc(w->package->nested_count, sizeof(*w->nested));
	if (!w->entries || !w->sources || !w->contents || !w->xattr_sets || !w->nested)
		return -ENOMEM;
	if (number_table_init(&w->content_table, n) < 0 ||
		number_table_init(&w->xattr_table, n) < 0 ||
		number_table_init(&w->link_table, n) < 0)
		return -ENOMEM;
	return 0;
}

static bool contents_alike(const struct content *a, const struct content *b)
{
	if (a == b)
		return true;
	if (!digest_equal(&a->digest, &b->digest) || a->size != b->size ||
		a->data_bytes != b->data_bytes || a->piece_count != b->piece_count)
		return false;
	for (uint32_t i = 0; i < a->piece_count; i++) {
		if (a->pieces[i].position != b->pieces[i].position ||
			!digest_equal(
				&a->pieces[i].chunk->digest, &b->pieces[i].chunk->digest))
			return false;
	}
	return true;
}

static bool is_content(uint32_t number, const void *key, const void *writer)
{
	return contents_alike(((const struct writer *)writer)->contents[number], key);
}

static uint32_t number_content(struct writer *w, const struct content *c)
{
	uint32_t *slot = number_table_find(
		&w->content_table, digest_key(&c->digest), is_content, c, w);

	if (!*slot) {
		w->contents[w->content_count] = c;
		w->piece_count += c->piece_count;
		*slot = ++w->content_count;
	}
	return *slot - 1;
}

static bool is_xattr_set(uint32_t number, const void *key, const void *writer)
{
	const struct blob *a = ((const struct writer *)writer)->xattr_sets[number];
	const struct blob *b = key;

	return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

static uint32_t number_xattrs(struct writer *w, const struct blob *set)
{
	uint32_t *slot = number_table_find(&w->xattr_table,
		hash64(set->bytes, set->length, 0), is_xattr_set, set, w);

	if (!*slot) {
		w->xattr_sets[w->xattr_count] = set;
		*slot = ++w->xattr_count;
	}
	return *slot;
}

static bool has_ino(uint32_t index, const void *key, const void *writer)
{
	return ((const struct writer *)writer)->entries[index].ino ==
	       *(const uint64_t *)key;
}

/* The lowest index with this inode number among linked files; `index` if it is the first. */
static uint32_t first_of_links(struct writer *w, uint64_t ino, uint32_t index)
{
	uint32_t *slot = number_table_find(&w->link_table, ino, has_ino, &ino, w);

	if (!*slot)
		*slot = index + 1;
	return *slot - 1;
}

static int set_ino(struct writer *w, struct catalog_entry *c, const struct tree_dir *dir,
	const struct tree_entry *e, struct buffer *path)
{
	(void)w;
	c->ino = e->ino;
	if (c->ino)
		return 0;
	path->len = 0;
	int r = tree_path(dir, e, path);

	if (r < 0)
		return r;
	c->ino = hash64(path->data, path->len, 0);
	if (!c->ino)
		c->ino = 1;
	return 0;
}

static void add_nested(struct writer *w, uint32_t index, const struct package *p)
{
	w->nested[w->nested_count] = (struct catalog_nested){.digest = p->ref.digest,
		.stored_bytes = p->ref.stored_bytes,
		.raw_bytes = p->ref.raw_bytes,
		.tree_entries = p->tree_entries,
		.tree_bytes = p->tree_bytes,
		.entry = index};
	/* the directory itself is counted here already */
	w->tree_entries += p->tree_entries - 1;
	w->tree_bytes += p->tree_bytes;
	w->entries[index].flags |= CATALOG_ENTRY_NESTED;
	w->entries[index].first = w->nested_count++;
}

static int set_by_type(struct writer *w, uint32_t index, const struct tree_entry *e)
{
	struct catalog_entry *c = &w->entries[index];

	switch (e->mode & S_IFMT) {
	case S_IFREG:
		w->tree_bytes += e->size;
		if (e->size)
			c->first = number_content(w, e->content);
		return 0;
	case S_IFLNK:
		c->first = (uint32_t)w->targets.len;
		c->count = e->target->length;
		c->size = e->target->length;
		return buffer_add(&w->targets, e->target->bytes, e->target->length);
	case S_IFCHR:
	case S_IFBLK:
		c->first = major(e->rdev);
		c->count = minor(e->rdev);
		return 0;
	case S_IFDIR:
		if (index != CATALOG_ROOT && e->dir->package != w->package)
			add_nested(w, index, e->dir->package);
		return 0;
	default:
		return 0;
	}
}

static int add_entry(struct writer *w, const struct tree_dir *dir,
	const struct tree_entry *e, uint32_t parent, struct buffer *path)
{
	uint32_t index = w->entry_count++;
	struct catalog_entry *c = &w->entries[index];

	w->sources[index] = e;
	c->name = (uint32_t)w->names.len;
	c->name_length = index == CATALOG_ROOT ? 0 : e->name_length;
	c->mode = e->mode;
	c->uid = e->uid;
	c->gid = e->gid;
	c->nlink = e->nlink;
	c->size = e->size;
	c->mtime_sec = e->mtime_sec;
	c->mtime_nsec = e->mtime_nsec;
	c->parent = parent;
	c->link = index;
	if (e->xattrs)
		c->xattrs = number_xattrs(w, e->xattrs);
	int r = buffer_add(&w->names, e->name, c->name_length);

	if (r == 0)
		r = set_ino(w, c, dir, e, path);
	if (r == 0 && (e->flags & TREE_ENTRY_LINKED))
		c->link = first_of_links(w, c->ino, index);
	if (r == 0)
		r = set_by_type(w, index, e);
	return r;
}

static int number_entries(struct writer *w)
{
	struct buffer path AUTO_BUFFER = BUFFER_INIT(CATALOG_SECTION_MAX);
	struct tree_dir *top = w->package->top;
	int r = add_entry(w, top, top->self, 0, &path);

	/* the entries written so far are the queue of the breadth-first walk */
	for (uint32_t i = 0; r == 0 && i < w->entry_count; i++) {
		const struct tree_entry *e = w->sources[i];

		if (!S_ISDIR(e->mode) || (w->entries[i].flags & CATALOG_ENTRY_NESTED))
			continue;
		if (e->dir->count)
			w->entries[i].first = w->entry_count;
		w->entries[i].count = e->dir->count;
		for (uint32_t k = 0; r == 0 && k < e->dir->count; k++)
			r = add_entry(w, e->dir, &e->dir->entries[k], i, &path);
	}
	w->tree_entries += w->entry_count;
	return r;
}

static bool is_pack(uint32_t number, const void *key, const void *writer)
{
	return digest_equal(&((const struct writer *)writer)->packs[number]->digest, key);
}

/* A pack's number: in the order in which a reader of the contents comes to them, so that who goes
 * on behind the end of one finds the next frame behind it. */
static uint32_t number_pack(struct writer *w, const struct pack_ref *pack)
{
	uint32_t *slot = number_table_find(
		&w->pack_table, digest_key(&pack->digest), is_pack, &pack->digest, w);

	if (!*slot) {
		w->packs[w->pack_count] = pack;
		*slot = ++w->pack_count;
	}
	return *slot - 1;
}

static int compare_places(const void *a, const void *b, void *writer)
{
	const struct chunk_ref *x = *(const struct chunk_ref *const *)a;
	const struct chunk_ref *y = *(const struct chunk_ref *const *)b;

	if (x->frame != y->frame) {
		if (x->frame->pack != y->frame->pack) {
			uint32_t p = number_pack(writer, x->frame->pack);
			uint32_t q = number_pack(writer, y->frame->pack);

			if (p != q)
				return p < q ? -1 : 1;
		}
		if (x->frame->offset != y->frame->offset)
			return x->frame->offset < y->frame->offset ? -1 : 1;
	}
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->length > y->length) - (x->length < y->length);
}

static int number_chunks(struct writer *w)
{
	uint64_t n = 0;

	if (w->piece_count > UINT32_MAX - 2)
		return -E2BIG;
	w->chunks = mem_alloc(w->piece_count * sizeof(struct chunk_ref *));
	w->frames = mem_alloc(w->piece_count * sizeof(*w->frames));
	w->packs = mem_alloc(w->piece_count * sizeof(struct pack_ref *));
	if (!w->chunks || !w->frames || !w->packs ||
		number_table_init(&w->pack_table, w->piece_count) < 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->content_count; i++) {
		for (uint32_t k = 0; k < w->contents[i]->piece_count; k++) {
			w->chunks[n++] = w->contents[i]->pieces[k].chunk;
			(void)number_pack(w, w->chunks[n - 1]->frame->pack);
		}
	}
	struct catalog_frame *frames = w->frames;
	struct catalog_frame *last = NULL;

	if (n)
		qsort_r(w->chunks, n, sizeof(struct chunk_ref *), compare_places, w);
	for (uint64_t i = 0; i < n; i++) {
		const struct chunk_ref *c = w->chunks[i];
		const struct chunk_ref *before =
			w->chunk_count ? w->chunks[w->chunk_count - 1] : NULL;

		if (before && compare_places(&before, &c, w) == 0)
			continue;
		uint32_t pack = number_pack(w, c->frame->pack);

		if (!last || last->pack != pack || last->offset != c->frame->offset) {
			last = &frames[w->frame_count++];
			*last = (struct catalog_frame){.offset = c->frame->offset,
				.stored_bytes = c->frame->stored_bytes,
				.raw_bytes = c->frame->raw_bytes,
				.pack = pack,
				.flags = c->frame->flags,
				.first_chunk = w->chunk_count};
		}
		last->chunk_count++;
		w->chunks[w->chunk_count++] = c;
	}
	return 0;
}

static uint32_t chunk_number(struct writer *w, const struct chunk_ref *chunk)
{
	uint32_t low = 0;
	uint32_t high = w->chunk_count;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (compare_places(&w->chunks[mid], &chunk, w) <= 0)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static int collect_xattrs(struct writer *w, struct buffer *sets)
{
	for (uint32_t i = 0; i < w->xattr_count; i++) {
		const struct blob *b = w->xattr_sets[i];
		struct catalog_xattr_set set = {
			.offset = (uint32_t)w->xattr_data.len, .length = b->length};
		int r = buffer_add(sets, &set, sizeof(set));

		if (r == 0)
			r = buffer_add(&w->xattr_data, b->bytes, b->length);
		if (r < 0)
			return r;
	}
	return 0;
}

static void write_chunks(struct writer *w, struct catalog_content *contents,
	struct catalog_piece *pieces, struct catalog_chunk *chunks)
{
	uint32_t n = 0;
	uint32_t frame = 0;

	for (uint32_t i = 0; i < w->chunk_count; i++) {
		if (i >= w->frames[frame].first_chunk + w->frames[frame].chunk_count)
			frame++;
		chunks[i] = (struct catalog_chunk){.digest = w->chunks[i]->digest,
			.frame = frame,
			.offset = w->chunks[i]->offset,
			.length = w->chunks[i]->length,
			.content = UINT32_MAX};
	}
	for (uint32_t i = 0; i < w->content_count; i++) {
		const struct content *c = w->contents[i];

		contents[i] = (struct catalog_content){.digest = c->digest,
			.size = c->size,
			.data_bytes = c->data_bytes,
			.first_piece = n,
			.piece_count = c->piece_count};
		for (uint32_t k = 0; k < c->piece_count; k++, n++) {
			uint32_t chunk = chunk_number(w, c->pieces[k].chunk);

			pieces[n] = (struct catalog_piece){
				.position = c->pieces[k].position, .chunk = chunk};
			if (chunks[chunk].content == UINT32_MAX) {
				chunks[chunk].content = i;
				chunks[chunk].piece = n;
			}
		}
	}
}

static void lay_out(const struct writer *w, struct catalog_layout *l)
{
	catalog_layout_init(l, CATALOG_PUBLISHED_SECTIONS);
	catalog_layout_place(l, CATALOG_ENTRIES, w->entry_count);
	catalog_layout_place(l, CATALOG_NAMES, w->names.len);
	catalog_layout_place(l, CATALOG_FOLDED, w->entry_count);
	catalog_layout_place(l, CATALOG_TARGETS, w->targets.len);
	catalog_layout_place(l, CATALOG_XATTRS, w->xattr_count);
	catalog_layout_place(l, CATALOG_XATTR_DATA, w->xattr_data.len);
	catalog_layout_place(l, CATALOG_CONTENTS, w->content_count);
	catalog_layout_place(l, CATALOG_PIECES, w->piece_count);
	catalog_layout_place(l, CATALOG_CHUNKS, w->chunk_count);
	catalog_layout_place(l, CATALOG_FRAMES, w->frame_count);
	catalog_layout_place(l, CATALOG_PACKS, w->pack_count);
	catalog_layout_place(l, CATALOG_NESTED, w->nested_count);
	catalog_layout_place(l, CATALOG_PATH, w->package->path_length);
	l->header.tree_entries = w->tree_entries;
	l->header.tree_bytes = w->tree_bytes;
}

static int write_sections(struct writer *w, const struct buffer *xattr_sets,
	void **out_data, size_t *out_len)
{
	struct catalog_layout l;
	AUTO_FREE uint8_t *base = NULL;

	lay_out(w, &l);
	int r = catalog_layout_make(&l, &base);

	if (r < 0)
		return r;
	catalog_layout_put(&l, base, CATALOG_ENTRIES, w->entries);
	catalog_layout_put(&l, base, CATALOG_NAMES, w->names.data);
	catalog_layout_put(&l, base, CATALOG_TARGETS, w->targets.data);
	catalog_layout_put(&l, base, CATALOG_XATTRS, xattr_sets->data);
	catalog_layout_put(&l, base, CATALOG_XATTR_DATA, w->xattr_data.data);
	catalog_layout_put(&l, base, CATALOG_FRAMES, w->frames);
	catalog_layout_put(&l, base, CATALOG_NESTED, w->nested);
	catalog_layout_put(&l, base, CATALOG_PATH, w->package->path);
	write_chunks(w, catalog_layout_section(&l, base, CATALOG_CONTENTS),
		catalog_layout_section(&l, base, CATALOG_PIECES),
		catalog_layout_section(&l, base, CATALOG_CHUNKS));
	struct catalog_pack *packs = catalog_layout_section(&l, base, CATALOG_PACKS);

	for (uint32_t i = 0; i < w->pack_count; i++)
		packs[i] = (struct catalog_pack){
			.digest = w->packs[i]->digest, .bytes = w->packs[i]->bytes};
	r = catalog_layout_fold(&l, base);
	if (r < 0)
		return r;
	*out_data = TAKE_PTR(base);
	*out_len = l.header.total_bytes;
	return 0;
}

int catalog_write(struct package *package, void **out_data, size_t *out_len)
{
	struct writer w CLEANUP(writer_release) = {.package = package,
		.names = BUFFER_INIT(CATALOG_SECTION_MAX),
		.targets = BUFFER_INIT(CATALOG_SECTION_MAX),
		.xattr_data = BUFFER_INIT(CATALOG_SECTION_MAX)};
	struct buffer xattr_sets AUTO_BUFFER = BUFFER_INIT(CATALOG_SECTION_MAX);
	int r = writer_init(&w);

	if (r == 0)
		r = number_entries(&w);
	if (r == 0)
		r = number_chunks(&w);
	if (r == 0)
		r = collect_xattrs(&w, &xattr_sets);
	if (r < 0)
		return r == -EFBIG ? -E2BIG : r;
	AUTO_FREE uint64_t *prints = mem_alloc(w.entry_count * sizeof(*prints));

	if (!prints)
		return -ENOMEM;
	for (uint32_t i = 0; i < w.entry_count; i++)
		prints[i] = w.sources[i]->fingerprint;
	r = write_sections(&w, &xattr_sets, out_data, out_len);
	if (r < 0)
		return r == -EFBIG ? -E2BIG : r;
	free(package->fingerprints);
	package->fingerprints = TAKE_PTR(prints);
	package->tree_entries = w.tree_entries;
	package->tree_bytes = w.tree_bytes;
	return 0;
}
