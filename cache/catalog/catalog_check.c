/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/catalog/catalog_check.h"

#include <errno.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>

static const size_t item_sizes[CATALOG_SECTIONS] = {
	[CATALOG_ENTRIES] = sizeof(struct catalog_entry),
	[CATALOG_NAMES] = 1,
	[CATALOG_FOLDED] = sizeof(uint32_t),
	[CATALOG_TARGETS] = 1,
	[CATALOG_XATTRS] = sizeof(struct catalog_xattr_set),
	[CATALOG_XATTR_DATA] = 1,
	[CATALOG_CONTENTS] = sizeof(struct catalog_content),
	[CATALOG_PIECES] = sizeof(struct catalog_piece),
	[CATALOG_CHUNKS] = sizeof(struct catalog_chunk),
	[CATALOG_FRAMES] = sizeof(struct catalog_frame),
	[CATALOG_PACKS] = sizeof(struct catalog_pack),
	[CATALOG_NESTED] = sizeof(struct catalog_nested),
	[CATALOG_PATH] = 1,
	[CATALOG_LOCAL] = sizeof(struct catalog_local),
};

#define SYMLINK_MAX_BYTES 4095 /* PATH_MAX less its NUL: what the kernel can follow */
#define PATH_MAX_BYTES	  (1024 * 1024)

static bool in_range(uint64_t first, uint64_t count, uint64_t total)
{
	return first <= total && count <= total - first;
}

/* Everything behind the sections' own bounds is checked against these counts. */
struct counts {
	uint64_t n[CATALOG_SECTIONS];
};

size_t catalog_item_size(enum catalog_section s)
{
	return item_sizes[s];
}

static const char *check_header(
	const struct catalog_header *h, size_t len, struct counts *counts)
{
	if (len < sizeof(*h) || memcmp(h->magic, CATALOG_MAGIC, sizeof(h->magic)) != 0)
		return "it is not a catalog";
	if (h->version != CATALOG_VERSION)
		return "it is of a version that this program does not know";
	if (h->total_bytes != len)
		return "it is cut short or has bytes to spare";
	if (h->section_count < CATALOG_PUBLISHED_SECTIONS ||
		h->section_count > CATALOG_HEADER_SECTIONS)
		return "it has a wrong number of sections";
	for (size_t i = 0; i < CATALOG_SECTIONS && i < h->section_count; i++) {
		const struct catalog_section_ref *s = &h->sections[i];

		if (s->offset % 8 || s->count > UINT32_MAX - 1 || s->offset > len ||
			s->count > (len - s->offset) / item_sizes[i])
			return "a section lies outside of it";
		counts->n[i] = s->count;
	}
	if (counts->n[CATALOG_ENTRIES] == 0)
		return "it has no entry";
	if (counts->n[CATALOG_FOLDED] != counts->n[CATALOG_ENTRIES])
		return "its second order does not cover its entries";
	if (counts->n[CATALOG_LOCAL] !=
		(h->flags & CATALOG_COMPOSED ? counts->n[CATALOG_NESTED] : 0))
		return "its local part does not cover its nested catalogs";
	return NULL;
}

static void point_at_sections(
	struct catalog *c, const uint8_t *base, const struct counts *k)
{
	const struct catalog_section_ref *s = c->header->sections;

	c->entries = (const void *)(base + s[CATALOG_ENTRIES].offset);
	c->names = (const void *)(base + s[CATALOG_NAMES].offset);
	c->folded = (const void *)(base + s[CATALOG_FOLDED].offset);
	c->targets = (const void *)(base + s[CATALOG_TARGETS].offset);
	c->xattrs = (const void *)(base + s[CATALOG_XATTRS].offset);
	c->xattr_data = base + s[CATALOG_XATTR_DATA].offset;
	c->contents = (const void *)(base + s[CATALOG_CONTENTS].offset);
	c->pieces = (const void *)(base + s[CATALOG_PIECES].offset);
	c->chunks = (const void *)(base + s[CATALOG_CHUNKS].offset);
	c->frames = (const void *)(base + s[CATALOG_FRAMES].offset);
	c->packs = (const void *)(base + s[CATALOG_PACKS].offset);
	c->nested = (const void *)(base + s[CATALOG_NESTED].offset);
	c->path = (const void *)(base + s[CATALOG_PATH].offset);
	if (c->header->flags & CATALOG_COMPOSED)
		c->local = (const void *)(base + s[CATALOG_LOCAL].offset);
	c->entry_count = (uint32_t)k->n[CATALOG_ENTRIES];
	c->content_count = (uint32_t)k->n[CATALOG_CONTENTS];
	c->piece_count = (uint32_t)k->n[CATALOG_PIECES];
	c->chunk_count = (uint32_t)k->n[CATALOG_CHUNKS];
	c->frame_count = (uint32_t)k->n[CATALOG_FRAMES];
	c->pack_count = (uint32_t)k->n[CATALOG_PACKS];
	c->nested_count = (uint32_t)k->n[CATALOG_NESTED];
	c->xattr_count = (uint32_t)k->n[CATALOG_XATTRS];
	c->path_length = (uint32_t)k->n[CATALOG_PATH];
}

static bool name_is_sound(const char *name, size_t len)
{
	if (len == 0 || len > CATALOG_NAME_MAX)
		return false;
	if (memchr(name, '/', len) || memchr(name, '\0', len))
		return false;
	return !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

/* A path is "" or sound names with single slashes between them. */
static const char *check_path(const struct catalog *c)
{
	const char *p = c->path;
	const char *end = p + c->path_length;

	if (c->path_length > PATH_MAX_BYTES)
		return "its path is too long";
	while (p < end) {
		const char *slash = memchr(p, '/', (size_t)(end - p));
		const char *stop = slash ? slash : end;

		if (!name_is_sound(p, (size_t)(stop - p)) || stop + 1 == end)
			return "its path is not sound";
		p = stop + 1;
	}
	return NULL;
}

static const char *check_target(
	const struct catalog *c, const struct counts *k, const struct catalog_entry *e)
{
	if (e->count == 0 || e->count > SYMLINK_MAX_BYTES ||
		!in_range(e->first, e->count, k->n[CATALOG_TARGETS]) ||
		memchr(c->targets + e->first, '\0', e->count) || e->size != e->count)
		return "a symlink has no sound target";
	return NULL;
}

static const char *check_directory(const struct catalog *c, uint32_t i)
{
	const struct catalog_entry *e = &c->entries[i];

	if (catalog_entry_is_nested(e)) {
		if (i == CATALOG_ROOT || e->count || e->first >= c->nested_count ||
			c->nested[e->first].entry != i)
			return "a nested catalog does not belong to its directory";
		return NULL;
	}
	/* children behind their parent: no directory is its own ancestor */
	if (!in_range(e->first, e->count, c->entry_count) || (e->count && e->first <= i))
		return "a directory's children lie outside of it";
	const struct catalog_entry *before = NULL;

	for (uint32_t j = e->first; j < e->first + e->count; j++) {
		const struct catalog_entry *child = &c->entries[j];

		if (child->parent != i)
			return "an entry has two parents";
		if (before) {
			size_t a = before->name_length;
			size_t b = child->name_length;
			int order = memcmp(c->names + before->name,
				c->names + child->name, a < b ? a : b);

			if (order > 0 || (order == 0 && a >= b))
				return "a directory is not in order";
		}
		before = child;
		if (c->folded[j] < e->first || c->folded[j] - e->first >= e->count)
			return "its second order leaves a directory";
	}
	return NULL;
}

static const char *check_entry(
	const struct catalog *c, const struct counts *k, uint32_t i)
{
	const struct catalog_entry *e = &c->entries[i];
	const struct catalog_entry *first = &c->entries[e->link > i ? i : e->link];

	if (e->mtime_nsec >= 1000000000 || e->ino == 0 || e->size > INT64_MAX)
		return "an entry has impossible attributes";
	if (catalog_entry_is_stale(e) && !catalog_is_composed(c))
		return "an entry is stale, which only a mirror may say";
	if (e->xattrs > c->xattr_count)
		return "an entry's attributes lie outside of it";
	/* all names of a file share the node of the first, which must not be a directory's */
	if (e->link > i || first->link != e->link ||
		(e->link != i && (S_ISDIR(e->mode) || first->ino != e->ino ||
					 (first->mode ^ e->mode) & S_IFMT)))
		return "a hard link leads nowhere";
	if (catalog_entry_is_nested(e) && !S_ISDIR(e->mode))
		return "a nested catalog does not belong to its directory";
	switch (e->mode & S_IFMT) {
	case S_IFDIR:
		return check_directory(c, i);
	case S_IFLNK:
		return check_target(c, k, e);
	case S_IFREG:
		if (e->size && e->first >= c->content_count)
			return "a file's content lies outside of it";
		if (e->size && c->contents[e->first].size != e->size)
			return "a file is not as long as its content";
		return NULL;
	case S_IFBLK:
	case S_IFCHR:
	case S_IFIFO:
		return NULL;
	default:
		return "an entry is of a type that does not travel";
	}
}

/* Names first and for all: check_directory() compares the names of children that come later. */
static const char *check_names(const struct catalog *c, const struct counts *k)
{
	if (c->entries[CATALOG_ROOT].name_length != 0 ||
		!S_ISDIR(c->entries[CATALOG_ROOT].mode))
		return "its top is not a directory";
	for (uint32_t i = 1; i < c->entry_count; i++) {
		const struct catalog_entry *e = &c->entries[i];

		if (!in_range(e->name, e->name_length, k->n[CATALOG_NAMES]) ||
			!name_is_sound(c->names + e->name, e->name_length))
			return "a name is not sound";
		/* its parent's range must hold it, which check_directory() turns around */
		if (e->parent >= i || !S_ISDIR(c->entries[e->parent].mode) ||
			catalog_entry_is_nested(&c->entries[e->parent]) ||
			i < c->entries[e->parent].first ||
			i - c->entries[e->parent].first >= c->entries[e->parent].count)
			return "an entry is in no directory";
	}
	return NULL;
}

static const char *check_content(const struct catalog *c, uint32_t i)
{
	const struct catalog_content *content = &c->contents[i];
	uint64_t end = 0;
	uint64_t data = 0;

	if (!in_range(content->first_piece, content->piece_count, c->piece_count) ||
		content->size == 0 || content->size > INT64_MAX)
		return "a content's chunks lie outside of it";
	/* one after the other: shared ranges would make this check take for ever */
	if (i && (content->first_piece < content[-1].first_piece ||
			 content->first_piece - content[-1].first_piece <
				 content[-1].piece_count))
		return "two contents share their chunks' places";
	for (uint32_t j = 0; j < content->piece_count; j++) {
		const struct catalog_piece *p = &c->pieces[content->first_piece + j];

		if (p->chunk >= c->chunk_count)
			return "a chunk lies outside of it";
		uint32_t length = c->chunks[p->chunk].length;

		if (p->position < end || p->position > content->size ||
			length > content->size - p->position)
			return "a content's chunks overlap or exceed it";
		end = p->position + length;
		data += length;
	}
	if (data != content->data_bytes)
		return "a content's chunks do not add up";
	/* a file in one piece lands by its chunk's digest and is named by its own */
	if (content->piece_count == 1 && data == content->size &&
		!digest_equal(&content->digest,
			&c->chunks[c->pieces[content->first_piece].chunk].digest))
		return "a content and its only chunk differ";
	return NULL;
}

static const char *check_chunk(const struct catalog *c, uint32_t i)
{
	const struct catalog_chunk *k = &c->chunks[i];

	if (k->frame >= c->frame_count)
		return "a frame lies outside of it";
	if (k->length == 0 ||
		!in_range(k->offset, k->length, c->frames[k->frame].raw_bytes))
		return "a chunk lies outside of its frame";
	/* what is not on the list is not verified when its frame arrives */
	if (i - c->frames[k->frame].first_chunk >= c->frames[k->frame].chunk_count)
		return "a chunk is missing in its frame's list";
	if (k->content >= c->content_count)
		return "a chunk belongs to no content";
	const struct catalog_content *owner = &c->contents[k->content];

	if (k->piece < owner->first_piece ||
		k->piece - owner->first_piece >= owner->piece_count ||
		c->pieces[k->piece].chunk != i)
		return "a chunk's owner does not use it";
	return NULL;
}

static const char *check_frame(const struct catalog *c, uint32_t i)
{
	const struct catalog_frame *f = &c->frames[i];

	if (f->pack >= c->pack_count || c->packs[f->pack].bytes > PACK_MAX_BYTES ||
		f->stored_bytes == 0 ||
		!in_range(f->offset, f->stored_bytes, c->packs[f->pack].bytes))
		return "a frame lies outside of its pack";
	if (f->raw_bytes == 0 || f->raw_bytes > FRAME_MAX_BYTES ||
		f->stored_bytes > FRAME_MAX_BYTES + 1024 ||
		((f->flags & CATALOG_FRAME_RAW) && f->stored_bytes != f->raw_bytes))
		return "a frame has an impossible size";
	if (!in_range(f->first_chunk, f->chunk_count, c->chunk_count))
		return "a frame's chunks lie outside of it";
	for (uint32_t j = 0; j < f->chunk_count; j++)
		if (c->chunks[f->first_chunk + j].frame != i)
			return "a frame lists a chunk of another";
	return NULL;
}

static const char *check_nested(const struct catalog *c, uint32_t i)
{
	const struct catalog_nested *n = &c->nested[i];

	if (n->entry >= c->entry_count ||
		!catalog_entry_is_nested(&c->entries[n->entry]) ||
		!S_ISDIR(c->entries[n->entry].mode) || c->entries[n->entry].first != i)
		return "a nested catalog hangs on no directory";
	if (n->raw_bytes < sizeof(struct catalog_header) ||
		n->raw_bytes > CATALOG_MAX_BYTES || n->stored_bytes == 0 ||
		n->stored_bytes > CATALOG_MAX_BYTES || n->tree_entries == 0)
		return "a nested catalog has an impossible size";
	return NULL;
}

/* What a guard judges by, and a mount's size. */
static const char *check_totals(const struct catalog *c)
{
	uint64_t entries = c->entry_count;
	uint64_t bytes = 0;
	bool wraps = false;

	for (uint32_t i = 0; i < c->entry_count; i++)
		if (S_ISREG(c->entries[i].mode))
			wraps |=
				__builtin_add_overflow(bytes, c->entries[i].size, &bytes);
	for (uint32_t i = 0; i < c->nested_count; i++) {
		/* the directory itself is counted here already */
		wraps |= __builtin_add_overflow(
			entries, c->nested[i].tree_entries - 1, &entries);
		wraps |= __builtin_add_overflow(bytes, c->nested[i].tree_bytes, &bytes);
	}
	if (wraps || entries != c->header->tree_entries || bytes != c->header->tree_bytes)
		return "its totals are not those of its entries";
	return NULL;
}

static const char *check_xattrs(
	const struct catalog *c, const struct counts *k, uint32_t i)
{
	const struct catalog_xattr_set *set = &c->xattrs[i];
	uint64_t at = 0;

	if (!in_range(set->offset, set->length, k->n[CATALOG_XATTR_DATA]))
		return "attributes lie outside of it";
	if (i && (set->offset < set[-1].offset ||
			 set->offset - set[-1].offset < set[-1].length))
		return "attributes overlap";
	while (at < set->length) {
		uint16_t name_len;
		uint32_t value_len;

		if (set->length - at < CATALOG_XATTR_HEAD)
			return "attributes are cut short";
		memcpy(&name_len, c->xattr_data + set->offset + at, sizeof(name_len));
		memcpy(&value_len, c->xattr_data + set->offset + at + sizeof(name_len),
			sizeof(value_len));
		at += CATALOG_XATTR_HEAD;
		if (name_len == 0 || name_len > XATTR_NAME_MAX ||
			value_len > XATTR_SIZE_MAX ||
			!in_range(at, (uint64_t)name_len + value_len, set->length) ||
			memchr(c->xattr_data + set->offset + at, '\0', name_len))
			return "an attribute is not sound";
		at += (uint64_t)name_len + value_len;
	}
	return NULL;
}

static const char *check_items(const struct catalog *c, const struct counts *k)
{
	const char *reason = check_path(c);

	if (!reason)
		reason = check_names(c, k);
	for (uint32_t i = 0; !reason && i < c->content_count; i++)
		reason = check_content(c, i);
	for (uint32_t i = 0; !reason && i < c->chunk_count; i++)
		reason = check_chunk(c, i);
	for (uint32_t i = 0; !reason && i < c->frame_count; i++)
		reason = check_frame(c, i);
	for (uint32_t i = 0; !reason && i < c->nested_count; i++)
		reason = check_nested(c, i);
	for (uint32_t i = 0; !reason && i < c->xattr_count; i++)
		reason = check_xattrs(c, k, i);
	for (uint32_t i = 0; !reason && i < c->entry_count; i++)
		reason = check_entry(c, k, i);
	return reason ? reason : check_totals(c);
}

static int refuse(const char *reason, const char **out_reason)
{
	if (!reason)
		return 0;
	*out_reason = reason;
	return -EBADMSG;
}

static const char *point(
	struct catalog *c, const void *data, size_t len, struct counts *counts)
{
	c->header = data;
	c->local = NULL;
	c->map_bytes = len;
	const char *reason = check_header(data, len, counts);

	if (!reason)
		point_at_sections(c, data, counts);
	return reason;
}

int catalog_point(
	struct catalog *c, const void *data, size_t len, const char **out_reason)
{
	struct counts counts = {0};

	return refuse(point(c, data, len, &counts), out_reason);
}

int catalog_check(
	struct catalog *c, const void *data, size_t len, const char **out_reason)
{
	struct counts counts = {0};
	const char *reason = point(c, data, len, &counts);

	return refuse(reason ? reason : check_items(c, &counts), out_reason);
}
