/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/catalog_builder.h"

#include "cache/base/memory.h"
#include "cache/catalog/casefold.h"

#include <string.h>
#include <sys/stat.h>

struct node {
	uint32_t parent; /* handle */
	char name[CATALOG_NAME_MAX + 1];
	size_t name_length;
	struct catalog_entry
		entry;	  /* all but name, parent, first/count of directories, link */
	uint32_t linked;  /* handle of the file's first name; itself if no link */
	uint32_t content; /* of regular files with bytes */
	uint8_t *xattrs;
	size_t xattr_bytes;
	uint32_t index; /* in the catalog */
};

struct catalog_builder {
	char *path;
	struct node *nodes;
	uint32_t node_count;
	struct catalog_content *contents;
	uint32_t content_count;
	struct catalog_piece *pieces;
	uint32_t piece_count;
	struct catalog_chunk *chunks;
	uint32_t chunk_count;
	struct catalog_frame *frames;
	struct built_frame *raw_frames;
	uint32_t frame_count;
	uint32_t frame_bytes;
	bool shares_chunks;
	uint64_t pack_bytes;
	uint8_t *targets;
	size_t target_bytes;
	struct catalog_nested *nested;
	uint64_t *revisions; /* of the nested ones */
	uint32_t nested_count;
	bool is_composed;
};

static void *grow(void *p, size_t bytes)
{
	void *grown = realloc(p, bytes ? bytes : 1);

	if (!grown)
		abort();
	return grown;
}

#define PUSH(array, count)                                                               \
	((array) = grow((array), ((count) + 1) * sizeof(*(array))), &(array)[(count)++])

static void must(int r)
{
	if (r < 0)
		abort();
}

struct catalog_builder *builder_new(const char *path)
{
	struct catalog_builder *b = grow(NULL, sizeof(*b));

	*b = (struct catalog_builder){.frame_bytes = FRAME_MAX_BYTES};
	b->path = grow(NULL, strlen(path) + 1);
	memcpy(b->path, path, strlen(path) + 1);
	struct node *top = PUSH(b->nodes, b->node_count);

	*top = (struct node){.entry = {.mode = S_IFDIR | 0755,
				     .nlink = 2,
				     .size = 4096,
				     .mtime_sec = BUILDER_MTIME_SEC,
				     .ino = 1}};
	return b;
}

void builder_frame_bytes(struct catalog_builder *b, uint32_t bytes)
{
	b->frame_bytes = bytes;
}

void builder_share_chunks(struct catalog_builder *b)
{
	b->shares_chunks = true;
}

static uint32_t add_node(
	struct catalog_builder *b, uint32_t parent, const char *name, uint32_t mode)
{
	uint32_t handle = b->node_count;
	struct node *n = PUSH(b->nodes, b->node_count);

	*n = (struct node){.parent = parent,
		.linked = handle,
		.entry = {.mode = mode,
			.uid = 1000,
			.gid = 100,
			.nlink = 1,
			.mtime_sec = BUILDER_MTIME_SEC + handle,
			.mtime_nsec = handle}};
	builder_rename(b, handle, name, strlen(name));
	return handle;
}

void builder_rename(
	struct catalog_builder *b, uint32_t entry, const void *name, size_t len)
{
	struct node *n = &b->nodes[entry];

	if (len > CATALOG_NAME_MAX)
		abort();
	memcpy(n->name, name, len);
	n->name_length = len;
	/* unique within a test's tree, and the same when the name is: what the format asks */
	n->entry.ino = hash64(name, len, n->parent + 1) | 1;
}

uint32_t builder_dir(struct catalog_builder *b, uint32_t parent, const char *name)
{
	uint32_t handle = add_node(b, parent, name, S_IFDIR | 0755);

	b->nodes[handle].entry.nlink = 2;
	b->nodes[handle].entry.size = 4096;
	return handle;
}

static uint32_t add_chunk(struct catalog_builder *b, const uint8_t *data, uint32_t len)
{
	struct built_frame *raw =
		b->frame_count ? &b->raw_frames[b->frame_count - 1] : NULL;
	struct digest digest;

	must(digest_of(data, len, &digest));
	for (uint32_t i = 0; b->shares_chunks && i < b->chunk_count; i++)
		if (digest_equal(&b->chunks[i].digest, &digest))
			return i;
	if (!raw || raw->length + len > b->frame_bytes) {
		uint32_t i = b->frame_count++;

		b->raw_frames =
			grow(b->raw_frames, b->frame_count * sizeof(*b->raw_frames));
		b->frames = grow(b->frames, b->frame_count * sizeof(*b->frames));
		raw = &b->raw_frames[i];
		*raw = (struct built_frame){.offset = b->pack_bytes};
		b->frames[i] = (struct catalog_frame){.offset = b->pack_bytes,
			.flags = CATALOG_FRAME_RAW,
			.first_chunk = b->chunk_count};
	}
	struct catalog_frame *frame = &b->frames[b->frame_count - 1];
	uint32_t number = b->chunk_count;
	struct catalog_chunk *chunk = PUSH(b->chunks, b->chunk_count);

	*chunk = (struct catalog_chunk){.frame = b->frame_count - 1,
		.offset = raw->length,
		.length = len,
		.content = b->content_count - 1,
		.piece = b->piece_count};
	chunk->digest = digest;
	raw->data = grow(raw->data, raw->length + len);
	memcpy(raw->data + raw->length, data, len);
	raw->length += len;
	frame->raw_bytes = raw->length;
	frame->stored_bytes = raw->length;
	frame->chunk_count++;
	b->pack_bytes += len;
	return number;
}

/* The digest of the content: its holes read as zeros. */
static void digest_sparse(uint64_t size, uint64_t position, const void *data, size_t len,
	struct digest *out)
{
	static const uint8_t zeros[4096];
	struct digest_stream *s;

	must(digest_stream_new(&s));
	for (uint64_t at = 0; at < size;) {
		uint64_t end = at < position ? position : size;
		uint64_t n = end - at < sizeof(zeros) ? end - at : sizeof(zeros);

		if (at == position && len) {
			must(digest_stream_add(s, data, len));
			at += len;
			continue;
		}
		must(digest_stream_add(s, zeros, (size_t)n));
		at += n;
	}
	must(digest_stream_finish(s, out));
	digest_stream_free(s);
}

uint32_t builder_sparse(struct catalog_builder *b, uint32_t parent, const char *name,
	uint64_t size, uint64_t position, const void *data, size_t len,
	uint32_t chunk_bytes)
{
	uint32_t handle = add_node(b, parent, name, S_IFREG | 0644);
	struct digest digest;

	b->nodes[handle].entry.size = size;
	if (size == 0)
		return handle;
	digest_sparse(size, position, data, len, &digest);
	for (uint32_t i = 0; i < b->content_count; i++) {
		if (digest_equal(&b->contents[i].digest, &digest)) {
			b->nodes[handle].content = i;
			return handle;
		}
	}
	struct catalog_content *content = PUSH(b->contents, b->content_count);

	*content = (struct catalog_content){.digest = digest,
		.size = size,
		.data_bytes = len,
		.first_piece = b->piece_count};
	b->nodes[handle].content = b->content_count - 1;
	for (size_t at = 0; at < len;) {
		uint32_t n = len - at < chunk_bytes ? (uint32_t)(len - at) : chunk_bytes;
		uint32_t chunk = add_chunk(b, (const uint8_t *)data + at, n);
		struct catalog_piece *piece = PUSH(b->pieces, b->piece_count);

		*piece =
			(struct catalog_piece){.position = position + at, .chunk = chunk};
		at += n;
	}
	content->piece_count = b->piece_count - content->first_piece;
	return handle;
}

uint32_t builder_file(struct catalog_builder *b, uint32_t parent, const char *name,
	const void *data, size_t len, uint32_t chunk_bytes)
{
	return builder_sparse(b, parent, name, len, 0, data, len, chunk_bytes);
}

uint32_t builder_symlink(
	struct catalog_builder *b, uint32_t parent, const char *name, const char *target)
{
	uint32_t handle = add_node(b, parent, name, S_IFLNK | 0777);
	struct catalog_entry *e = &b->nodes[handle].entry;

	e->first = (uint32_t)b->target_bytes;
	e->count = (uint32_t)strlen(target);
	e->size = e->count;
	b->targets = grow(b->targets, b->target_bytes + e->count);
	memcpy(b->targets + b->target_bytes, target, e->count);
	b->target_bytes += e->count;
	return handle;
}

uint32_t builder_special(struct catalog_builder *b, uint32_t parent, const char *name,
	uint32_t mode, uint32_t major, uint32_t minor)
{
	uint32_t handle = add_node(b, parent, name, mode);

	b->nodes[handle].entry.first = major;
	b->nodes[handle].entry.count = minor;
	return handle;
}

uint32_t builder_link(
	struct catalog_builder *b, uint32_t parent, const char *name, uint32_t of)
{
	uint32_t handle = add_node(b, parent, name, 0);
	uint32_t names = ++b->nodes[of].entry.nlink;

	b->nodes[handle].linked = of;
	b->nodes[handle].content = b->nodes[of].content;
	for (uint32_t i = of; i < b->node_count; i++) {
		if (b->nodes[i].linked != of)
			continue;
		b->nodes[i].entry = b->nodes[of].entry;
		b->nodes[i].entry.nlink = names;
	}
	return handle;
}

uint32_t builder_nested(struct catalog_builder *b, uint32_t parent, const char *name,
	const struct built_catalog *child)
{
	uint32_t handle = builder_dir(b, parent, name);
	const struct catalog_header *h = (const void *)child->data;

	const struct catalog_entry *top =
		(const void *)(child->data + h->sections[CATALOG_ENTRIES].offset);

	b->nodes[handle].entry.nlink = top->nlink;
	b->nodes[handle].entry.flags = CATALOG_ENTRY_NESTED;
	b->nodes[handle].entry.first = b->nested_count;
	struct catalog_nested *nested = PUSH(b->nested, b->nested_count);

	b->revisions = grow(b->revisions, b->nested_count * sizeof(*b->revisions));
	b->revisions[b->nested_count - 1] = 0;

	*nested = (struct catalog_nested){.digest = child->ref.digest,
		.stored_bytes = child->ref.stored_bytes,
		.raw_bytes = child->ref.raw_bytes,
		.tree_entries = h->tree_entries,
		.tree_bytes = h->tree_bytes,
		.entry = handle};
	return handle;
}

void builder_subdirectories(struct catalog_builder *b, uint32_t dir, uint32_t count)
{
	b->nodes[dir].entry.nlink = 2 + count;
}

void builder_stale(struct catalog_builder *b, uint32_t entry)
{
	b->nodes[entry].entry.flags |= CATALOG_ENTRY_STALE;
	b->is_composed = true;
}

void builder_revision(struct catalog_builder *b, uint32_t entry, uint64_t revision)
{
	b->revisions[b->nodes[entry].entry.first] = revision;
	b->is_composed = true;
}

void builder_mtime(struct catalog_builder *b, uint32_t entry, int64_t mtime_sec)
{
	b->nodes[entry].entry.mtime_sec = mtime_sec;
	b->nodes[entry].entry.mtime_nsec = 0;
}

void builder_xattr(struct catalog_builder *b, uint32_t entry, const char *name,
	const void *value, size_t len)
{
	struct node *n = &b->nodes[entry];
	uint16_t name_len = (uint16_t)strlen(name);
	uint32_t value_len = (uint32_t)len;

	n->xattrs = grow(n->xattrs, n->xattr_bytes + 6 + name_len + len);
	uint8_t *p = n->xattrs + n->xattr_bytes;

	memcpy(p, &name_len, 2);
	memcpy(p + 2, &value_len, 4);
	for (size_t i = 0; i < name_len; i++)
		p[6 + i] = (uint8_t)name[i];
	if (len)
		memcpy(p + 6 + name_len, value, len);
	n->xattr_bytes += 6 + name_len + len;
}

static struct catalog_builder *sorting;

static int compare_nodes(const void *a, const void *b)
{
	const struct node *x = &sorting->nodes[*(const uint32_t *)a];
	const struct node *y = &sorting->nodes[*(const uint32_t *)b];
	size_t least = x->name_length < y->name_length ? x->name_length : y->name_length;
	int order = memcmp(x->name, y->name, least);

	if (order)
		return order;
	return (x->name_length > y->name_length) - (x->name_length < y->name_length);
}

static int compare_folded(const void *a, const void *b)
{
	const struct node *x = &sorting->nodes[*(const uint32_t *)a];
	const struct node *y = &sorting->nodes[*(const uint32_t *)b];
	int order = casefold_compare(x->name, x->name_length, y->name, y->name_length);

	return order ? order : (x->index > y->index) - (x->index < y->index);
}

/* The handles in the catalog's order, breadth first; fills directories' ranges and indexes. */
static uint32_t *number_nodes(struct catalog_builder *b)
{
	uint32_t *order = grow(NULL, b->node_count * sizeof(*order));
	uint32_t count = 1;

	order[0] = BUILDER_TOP;
	sorting = b;
	for (uint32_t i = 0; i < count; i++) {
		struct node *dir = &b->nodes[order[i]];
		uint32_t first = count;

		if (!S_ISDIR(dir->entry.mode) ||
			(dir->entry.flags & CATALOG_ENTRY_NESTED))
			continue;
		for (uint32_t k = 1; k < b->node_count; k++)
			if (b->nodes[k].parent == order[i])
				order[count++] = k;
		qsort(order + first, count - first, sizeof(*order), compare_nodes);
		for (uint32_t k = first; k < count; k++) {
			b->nodes[order[k]].index = k;
			b->nodes[order[k]].entry.parent = i;
		}
		dir->entry.first = count > first ? first : 0;
		dir->entry.count = count - first;
	}
	if (count != b->node_count)
		abort();
	return order;
}

static void set_links(struct catalog_builder *b)
{
	for (uint32_t i = 0; i < b->node_count; i++) {
		uint32_t lowest = b->nodes[i].index;

		for (uint32_t k = 0; k < b->node_count; k++)
			if (b->nodes[k].linked == b->nodes[i].linked &&
				b->nodes[k].index < lowest)
				lowest = b->nodes[k].index;
		b->nodes[i].entry.link = lowest;
	}
}

struct section {
	uint8_t *data;
	uint64_t bytes;
	uint64_t count;
};

static void append(struct section *s, const void *data, size_t bytes, uint64_t items)
{
	s->data = grow(s->data, s->bytes + bytes);
	if (bytes)
		memcpy(s->data + s->bytes, data, bytes);
	s->bytes += bytes;
	s->count += items;
}

static void write_xattrs(struct node *n, struct section *s)
{
	struct catalog_xattr_set set = {.offset = (uint32_t)s[CATALOG_XATTR_DATA].bytes,
		.length = (uint32_t)n->xattr_bytes};

	if (!n->xattr_bytes)
		return;
	append(&s[CATALOG_XATTRS], &set, sizeof(set), 1);
	append(&s[CATALOG_XATTR_DATA], n->xattrs, n->xattr_bytes, n->xattr_bytes);
	n->entry.xattrs = (uint32_t)s[CATALOG_XATTRS].count;
}

static void write_entries(
	struct catalog_builder *b, const uint32_t *order, struct section *s)
{
	for (uint32_t i = 0; i < b->node_count; i++) {
		struct node *n = &b->nodes[order[i]];

		n->entry.name = (uint32_t)s[CATALOG_NAMES].bytes;
		n->entry.name_length = (uint16_t)n->name_length;
		if (S_ISREG(n->entry.mode) && n->entry.size)
			n->entry.first = n->content;
		append(&s[CATALOG_NAMES], n->name, n->name_length, n->name_length);
		write_xattrs(n, s);
		append(&s[CATALOG_ENTRIES], &n->entry, sizeof(n->entry), 1);
	}
}

static void write_folded(
	const struct catalog_builder *b, const uint32_t *order, struct section *s)
{
	uint32_t *folded = grow(NULL, b->node_count * sizeof(*folded));

	memcpy(folded, order, b->node_count * sizeof(*folded));
	for (uint32_t i = 0; i < b->node_count; i++) {
		const struct node *dir = &b->nodes[order[i]];

		if (S_ISDIR(dir->entry.mode) &&
			!(dir->entry.flags & CATALOG_ENTRY_NESTED))
			qsort(folded + dir->entry.first, dir->entry.count,
				sizeof(*folded), compare_folded);
	}
	for (uint32_t i = 0; i < b->node_count; i++)
		folded[i] = b->nodes[folded[i]].index;
	append(s, folded, b->node_count * sizeof(*folded), b->node_count);
	free(folded);
}

static void write_header(const struct catalog_builder *b, struct catalog_header *h)
{
	memcpy(h->magic, CATALOG_MAGIC, sizeof(h->magic));
	h->version = CATALOG_VERSION;
	h->section_count = b->is_composed ? CATALOG_SECTIONS : CATALOG_PUBLISHED_SECTIONS;
	h->flags = b->is_composed ? CATALOG_COMPOSED : 0;
	h->tree_entries = b->node_count;
	for (uint32_t i = 0; i < b->node_count; i++)
		if (S_ISREG(b->nodes[i].entry.mode))
			h->tree_bytes += b->nodes[i].entry.size;
	for (uint32_t i = 0; i < b->nested_count; i++) {
		h->tree_entries += b->nested[i].tree_entries - 1;
		h->tree_bytes += b->nested[i].tree_bytes;
	}
}

static void join_sections(
	struct catalog_header *h, const struct section *s, struct built_catalog *out)
{
	uint64_t total = sizeof(*h);

	for (size_t i = 0; i < h->section_count; i++) {
		h->sections[i] = (struct catalog_section_ref){
			.offset = total, .count = s[i].count};
		total = (total + s[i].bytes + 7) / 8 * 8;
	}
	h->total_bytes = total;
	out->len = (size_t)total;
	out->data = grow(NULL, out->len);
	memset(out->data, 0, out->len);
	memcpy(out->data, h, sizeof(*h));
	for (size_t i = 0; i < CATALOG_SECTIONS; i++)
		if (s[i].bytes)
			memcpy(out->data + h->sections[i].offset, s[i].data, s[i].bytes);
	out->ref = (struct catalog_ref){.stored_bytes = total, .raw_bytes = total};
	must(digest_of(out->data, out->len, &out->ref.digest));
}

static void digest_pack(const struct catalog_builder *b, struct digest *out)
{
	struct digest_stream *s;

	must(digest_stream_new(&s));
	for (uint32_t i = 0; i < b->frame_count; i++)
		must(digest_stream_add(
			s, b->raw_frames[i].data, b->raw_frames[i].length));
	must(digest_stream_finish(s, out));
	digest_stream_free(s);
}

static void builder_free(struct catalog_builder *b)
{
	for (uint32_t i = 0; i < b->node_count; i++)
		free(b->nodes[i].xattrs);
	free(b->path);
	free(b->nodes);
	free(b->contents);
	free(b->pieces);
	free(b->chunks);
	free(b->frames);
	free(b->targets);
	free(b->nested);
	free(b->revisions);
	free(b);
}

struct built_catalog *builder_finish(struct catalog_builder *b)
{
	struct built_catalog *built = grow(NULL, sizeof(*built));
	struct section s[CATALOG_SECTIONS] = {0};
	struct catalog_header header = {0};
	uint32_t *order = number_nodes(b);

	*built = (struct built_catalog){0};
	set_links(b);
	for (uint32_t i = 0; i < b->nested_count; i++)
		b->nested[i].entry = b->nodes[b->nested[i].entry].index;
	write_entries(b, order, s);
	write_folded(b, order, &s[CATALOG_FOLDED]);
	append(&s[CATALOG_TARGETS], b->targets, b->target_bytes, b->target_bytes);
	append(&s[CATALOG_CONTENTS], b->contents, b->content_count * sizeof(*b->contents),
		b->content_count);
	append(&s[CATALOG_PIECES], b->pieces, b->piece_count * sizeof(*b->pieces),
		b->piece_count);
	append(&s[CATALOG_CHUNKS], b->chunks, b->chunk_count * sizeof(*b->chunks),
		b->chunk_count);
	append(&s[CATALOG_FRAMES], b->frames, b->frame_count * sizeof(*b->frames),
		b->frame_count);
	struct catalog_pack pack = {.bytes = b->pack_bytes};

	digest_pack(b, &pack.digest);
	append(&s[CATALOG_PACKS], &pack, b->frame_count ? sizeof(pack) : 0,
		b->frame_count != 0);
	append(&s[CATALOG_NESTED], b->nested, b->nested_count * sizeof(*b->nested),
		b->nested_count);
	append(&s[CATALOG_PATH], b->path, strlen(b->path), strlen(b->path));
	for (uint32_t i = 0; b->is_composed && i < b->nested_count; i++)
		append(&s[CATALOG_LOCAL], &(struct catalog_local){b->revisions[i]},
			sizeof(struct catalog_local), 1);
	write_header(b, &header);
	join_sections(&header, s, built);
	for (size_t i = 0; i < CATALOG_SECTIONS; i++)
		free(s[i].data);
	free(order);
	built->pack = pack.digest;
	built->frames = b->raw_frames;
	built->frame_count = b->frame_count;
	builder_free(b);
	return built;
}

void built_free(struct built_catalog *built)
{
	if (!built)
		return;
	for (size_t i = 0; i < built->frame_count; i++)
		free(built->frames[i].data);
	free(built->frames);
	free(built->data);
	free(built);
}

struct catalog *built_open(const struct built_catalog *built)
{
	void *copy = grow(NULL, built->len);
	struct catalog *c;

	memcpy(copy, built->data, built->len);
	must(catalog_open_memory(copy, built->len, &c, NULL));
	return c;
}

void built_fill(void *data, size_t len, unsigned int seed)
{
	uint8_t *p = data;
	uint64_t x = UINT64_C(0x9e3779b97f4a7c15) * (seed + 1);

	for (size_t i = 0; i < len; i++) {
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		p[i] = (uint8_t)(x >> 56);
	}
}
