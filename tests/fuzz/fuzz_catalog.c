/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * catalog_check() on any bytes; what it lets through is walked by every accessor, which index
 * without looking.
 */
#include "cache/catalog/catalog_check.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool fuzz_was_accepted;

/* Reads every byte: a sanitizer says if one is not there. */
static void touch(const void *data, size_t len)
{
	static volatile uint8_t sink;
	const uint8_t *p = data;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum ^= p[i];
	sink = sum;
	(void)sink;
}

static void walk_directory(const struct catalog *c, uint32_t dir)
{
	const struct catalog_entry *top = catalog_entry(c, dir);

	for (uint32_t i = top->first; i < top->first + top->count; i++) {
		const struct catalog_entry *e = catalog_entry(c, i);
		const char *name = catalog_name(c, e);

		MUST(e->parent == dir);
		MUST(catalog_lookup(c, dir, name, e->name_length) == i);
		MUST(catalog_lookup_folded(c, dir, name, e->name_length) == i);
		/* in another case the second order decides, which may hide a name */
		char other[CATALOG_NAME_MAX];

		for (size_t k = 0; k < e->name_length; k++)
			other[k] = (char)(name[k] >= 'a' && name[k] <= 'z' ? name[k] - 32
									   : name[k]);
		uint32_t found = catalog_lookup_folded(c, dir, other, e->name_length);

		MUST(found == CATALOG_NO_ENTRY ||
			(found >= top->first && found - top->first < top->count));
		uint32_t folded = c->folded[i];

		MUST(folded >= top->first && folded - top->first < top->count);
	}
	MUST(catalog_lookup(c, dir, "", 0) == CATALOG_NO_ENTRY);
}

static void walk_pieces(const struct catalog *c, const struct catalog_content *content,
	uint64_t offset, uint64_t len)
{
	uint32_t first;
	uint32_t end;

	catalog_pieces_in(c, content, offset, len, &first, &end);
	MUST(first <= end && first >= content->first_piece);
	MUST(end - content->first_piece <= content->piece_count);
	for (uint32_t i = first; i < end; i++) {
		const struct catalog_piece *p = &c->pieces[i];
		uint64_t stop = p->position + c->chunks[p->chunk].length;

		MUST(stop > offset && stop <= content->size);
		MUST(p->position < offset || p->position - offset < len);
	}
}

static void walk_content(const struct catalog *c, const struct catalog_content *content)
{
	MUST(content->size > 0);
	walk_pieces(c, content, 0, content->size);
	walk_pieces(c, content, content->size / 2, 1);
	walk_pieces(c, content, content->size - 1, UINT64_MAX);
	for (uint32_t i = 0; i < content->piece_count; i++) {
		const struct catalog_piece *p = &c->pieces[content->first_piece + i];
		const struct catalog_chunk *k = &c->chunks[p->chunk];
		const struct catalog_frame *f = &c->frames[k->frame];

		walk_pieces(c, content, p->position, k->length);
		MUST((uint64_t)k->offset + k->length <= f->raw_bytes);
		/* it is verified with its frame */
		MUST(p->chunk - f->first_chunk < f->chunk_count);
		touch(&c->packs[f->pack], sizeof(struct catalog_pack));
		MUST(f->offset + f->stored_bytes <= c->packs[f->pack].bytes);
	}
}

static void walk_xattrs(const struct catalog *c, const struct catalog_entry *e)
{
	size_t cursor = 0;
	const char *name;
	size_t name_len;
	const uint8_t *value;
	size_t value_len;

	while (catalog_xattr_next(c, e, &cursor, &name, &name_len, &value, &value_len)) {
		char text[256];
		const uint8_t *found;
		size_t found_len;

		touch(value, value_len);
		MUST(name_len < sizeof(text));
		memcpy(text, name, name_len);
		text[name_len] = '\0';
		MUST(catalog_xattr_get(c, e, text, &found, &found_len) == 0);
	}
}

static void walk_entry(const struct catalog *c, uint32_t i)
{
	const struct catalog_entry *e = catalog_entry(c, i);
	char path[4096];
	int len = catalog_path_of(c, i, path, sizeof(path));

	MUST(len < 0 || strnlen(path, sizeof(path)) == (size_t)len);
	walk_xattrs(c, e);
	MUST(catalog_entry(c, e->link)->ino == e->ino);
	MUST(((catalog_entry(c, e->link)->mode ^ e->mode) & S_IFMT) == 0);
	if (catalog_entry_is_nested(e)) {
		MUST(S_ISDIR(e->mode) && e->count == 0 && e->link == i);
		MUST(c->nested[e->first].entry == i);
	} else if (S_ISDIR(e->mode)) {
		walk_directory(c, i);
	} else if (S_ISLNK(e->mode)) {
		touch(c->targets + e->first, e->count);
		MUST(e->count < 4096);
	} else {
		const struct catalog_content *content = catalog_content_of(c, e);

		if (content) {
			MUST(content->size == e->size);
			walk_content(c, content);
		}
	}
}

/* Every chunk as a frame's landing uses it. */
static void walk_frames(const struct catalog *c)
{
	for (uint32_t i = 0; i < c->frame_count; i++) {
		const struct catalog_frame *f = &c->frames[i];

		for (uint32_t k = 0; k < f->chunk_count; k++) {
			const struct catalog_chunk *chunk =
				&c->chunks[f->first_chunk + k];
			const struct catalog_content *owner =
				&c->contents[chunk->content];

			MUST(chunk->frame == i);
			MUST((uint64_t)chunk->offset + chunk->length <= f->raw_bytes);
			MUST(chunk->piece - owner->first_piece < owner->piece_count);
			MUST(c->pieces[chunk->piece].chunk == f->first_chunk + k);
		}
	}
}

static bool check_and_walk(const void *data, size_t size)
{
	const char *reason = NULL;
	struct catalog c = {0};

	if (catalog_check(&c, data, size, &reason) < 0) {
		MUST(reason != NULL);
		return false;
	}
	for (uint32_t i = 0; i < c.entry_count; i++)
		walk_entry(&c, i);
	walk_frames(&c);
	touch(c.path, c.path_length);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* aligned as a map is, and no byte longer */
	uint8_t *copy = calloc(1, size ? size : 1);

	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	fuzz_was_accepted = check_and_walk(copy, size);
	if (!fuzz_was_accepted && size >= sizeof(struct catalog_header)) {
		/* a fuzzer that changes the length should not have to guess it, too */
		struct catalog_header *h = (void *)copy;

		memcpy(h->magic, CATALOG_MAGIC, sizeof(h->magic));
		h->version = CATALOG_VERSION;
		h->total_bytes = size;
		h->section_count = CATALOG_SECTIONS;
		(void)check_and_walk(copy, size);
	}
	free(copy);
	return 0;
}
