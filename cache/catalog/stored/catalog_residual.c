/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Both directions are the same walk over the catalog. For each field it makes a prediction from
 * what it has passed; one direction replaces the value by its difference from the prediction, the
 * other adds the prediction again. A wrong prediction costs bytes, never truth.
 *
 * What is restored has not been checked by anybody: every index is compared with its section's
 * count before it is used, and what a loop over a section looks for in another one it finds by
 * going on from where it was. Only paths are gone through again and again; they are bounded.
 */
#include "cache/catalog/stored/catalog_residual.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Deeper or longer paths get no prediction, so that nobody can make the walk up to the top long. */
#define DEPTH_MAX 128
#define PATH_ROOM 4096
#define PATH_NONE SIZE_MAX

/* The first piece that uses a chunk. */
struct user {
	uint32_t content;
	uint32_t piece;
	bool is_known;
};

struct walk {
	const struct catalog *c; /* true values; restoring, of what was passed */
	uint8_t *data;
	bool is_restoring;
	uint64_t *sizes;    /* by content, as its first file has it */
	struct user *users; /* by chunk */
	/* the path of directory `path_of` and a slash, which end at PATH_ROOM; then a name */
	char path[PATH_ROOM + CATALOG_NAME_MAX];
	uint32_t path_of;
	size_t path_start; /* PATH_NONE: it is too long */
};

static void *section(const struct walk *k, enum catalog_section s)
{
	return k->data + k->c->header->sections[s].offset;
}

/* Returns the true value. */
static uint32_t code32(const struct walk *k, uint32_t *at, uint32_t predicted)
{
	uint32_t before = *at;

	*at = k->is_restoring ? before + predicted : before - predicted;
	return k->is_restoring ? *at : before;
}

static uint64_t code64(const struct walk *k, uint64_t *at, uint64_t predicted)
{
	uint64_t before = *at;

	*at = k->is_restoring ? before + predicted : before - predicted;
	return k->is_restoring ? *at : before;
}

/* Puts the path of `dir` and a slash before k->path[PATH_ROOM]. */
static void set_path(struct walk *k, uint32_t dir)
{
	const struct catalog *c = k->c;
	uint64_t names = c->header->sections[CATALOG_NAMES].count;
	size_t start = PATH_ROOM;
	uint32_t at = dir;

	k->path_of = dir;
	k->path_start = PATH_NONE;
	for (unsigned int depth = 0; at != CATALOG_ROOT; depth++) {
		const struct catalog_entry *e = &c->entries[at];

		if (depth == DEPTH_MAX || e->name_length >= start || e->name > names ||
			e->name_length > names - e->name || e->parent >= at)
			return;
		k->path[--start] = '/';
		start -= e->name_length;
		memcpy(k->path + start, c->names + e->name, e->name_length);
		at = e->parent;
	}
	if (c->path_length >= start)
		return;
	if (c->path_length) {
		k->path[--start] = '/';
		start -= c->path_length;
		memcpy(k->path + start, c->path, c->path_length);
	}
	k->path_start = start;
}

/* As the writer makes it: a hash of the path from the tree's root. */
static uint64_t predict_ino(struct walk *k, uint32_t i)
{
	const struct catalog *c = k->c;
	const struct catalog_entry *e = &c->entries[i];
	uint64_t names = c->header->sections[CATALOG_NAMES].count;
	uint64_t ino;

	if (e->link < i)
		return c->entries[e->link].ino;
	if (i == CATALOG_ROOT) {
		ino = hash64(c->path, c->path_length, 0);
		return ino ? ino : 1;
	}
	if (e->parent >= i || e->name_length > CATALOG_NAME_MAX || e->name > names ||
		e->name_length > names - e->name)
		return 0;
	if (k->path_of != e->parent)
		set_path(k, e->parent);
	if (k->path_start == PATH_NONE)
		return 0;
	memcpy(k->path + PATH_ROOM, c->names + e->name, e->name_length);
	ino = hash64(
		k->path + k->path_start, PATH_ROOM - k->path_start + e->name_length, 0);
	return ino ? ino : 1;
}

/* What comes next, when everything stands in the order of its first use. */
struct next {
	uint32_t name;
	uint32_t child;
	uint32_t content;
	uint32_t target;
	uint32_t nested;
	uint32_t parent;   /* the directory whose children come now */
	uint32_t children; /* of which so many are still to come */
};

static void code_first(
	struct walk *k, struct catalog_entry *e, uint32_t i, struct next *next)
{
	const struct catalog_entry *a = &k->c->entries[i];
	uint32_t *counter = NULL;
	uint32_t step = 1;

	if (S_ISREG(a->mode) && a->size) {
		counter = &next->content;
	} else if (S_ISLNK(a->mode)) {
		counter = &next->target;
		step = a->count;
	} else if (S_ISDIR(a->mode) && catalog_entry_is_nested(a)) {
		counter = &next->nested;
	} else if (S_ISDIR(a->mode) && a->count) {
		counter = &next->child;
		step = a->count;
	}
	if (!counter)
		return;
	uint32_t first = code32(k, &e->first, *counter);

	if (first >= *counter)
		*counter = first + step;
	if (counter == &next->content && first < k->c->content_count && !k->sizes[first])
		k->sizes[first] = a->size;
}

static uint32_t next_parent(const struct walk *k, uint32_t i, struct next *next)
{
	const struct catalog_entry *entries = k->c->entries;

	while (next->children == 0 && next->parent + 1 < i) {
		const struct catalog_entry *dir = &entries[++next->parent];

		next->children = S_ISDIR(dir->mode) ? dir->count : 0;
	}
	if (next->children)
		next->children--;
	return next->parent;
}

static void code_entries(struct walk *k)
{
	struct catalog_entry *entries = section(k, CATALOG_ENTRIES);
	struct next next = {.child = 1, .children = k->c->entries[0].count};

	k->path_of = UINT32_MAX;
	for (uint32_t i = 0; i < k->c->entry_count; i++) {
		const struct catalog_entry *a = &k->c->entries[i];
		struct catalog_entry *e = &entries[i];

		next.name = code32(k, &e->name, next.name) + a->name_length;
		code64(k, &e->size, S_ISLNK(a->mode) ? a->count : 0);
		if (i)
			code32(k, &e->parent, next_parent(k, i, &next));
		code_first(k, e, i, &next);
		code32(k, &e->link, i);
		code64(k, &e->ino, predict_ino(k, i));
	}
}

static void code_contents(const struct walk *k)
{
	struct catalog_content *contents = section(k, CATALOG_CONTENTS);
	uint32_t next = 0;

	for (uint32_t i = 0; i < k->c->content_count; i++) {
		uint64_t size = code64(k, &contents[i].size, k->sizes[i]);

		code64(k, &contents[i].data_bytes, size);
		next = code32(k, &contents[i].first_piece, next) +
		       k->c->contents[i].piece_count;
	}
}

/* Whether piece `p` belongs to content *at or a later one, which *at then says. */
static bool find_content(const struct catalog *c, uint32_t p, uint32_t *at)
{
	while (*at < c->content_count && p >= c->contents[*at].first_piece &&
		p - c->contents[*at].first_piece >= c->contents[*at].piece_count)
		++*at;
	return *at < c->content_count && p >= c->contents[*at].first_piece;
}

static void code_piece_chunks(const struct walk *k)
{
	struct catalog_piece *pieces = section(k, CATALOG_PIECES);
	uint32_t content = 0;
	uint32_t next = 0;

	for (uint32_t i = 0; i < k->c->piece_count; i++) {
		uint32_t chunk = code32(k, &pieces[i].chunk, next);

		next = chunk + 1;
		if (chunk < k->c->chunk_count && !k->users[chunk].is_known &&
			find_content(k->c, i, &content))
			k->users[chunk] = (struct user){
				.content = content, .piece = i, .is_known = true};
	}
}

/* Behind the chunks, since it needs their lengths. */
static void code_piece_positions(const struct walk *k)
{
	struct catalog_piece *pieces = section(k, CATALOG_PIECES);
	uint32_t content = 0;
	uint64_t next = 0;

	for (uint32_t i = 0; i < k->c->piece_count; i++) {
		uint32_t chunk = k->c->pieces[i].chunk;

		if (find_content(k->c, i, &content) &&
			k->c->contents[content].first_piece == i)
			next = 0;
		next = code64(k, &pieces[i].position, next);
		if (chunk < k->c->chunk_count)
			next += k->c->chunks[chunk].length;
	}
}

static void code_frames(const struct walk *k)
{
	struct catalog_frame *frames = section(k, CATALOG_FRAMES);
	const struct catalog_frame *before = NULL;

	for (uint32_t i = 0; i < k->c->frame_count; i++) {
		const struct catalog_frame *a = &k->c->frames[i];
		uint32_t pack = code32(k, &frames[i].pack, before ? before->pack : 0);

		code64(k, &frames[i].offset,
			before && before->pack == pack
				? before->offset + before->stored_bytes
				: 0);
		code32(k, &frames[i].first_chunk,
			before ? before->first_chunk + before->chunk_count : 0);
		before = a;
	}
}

static void xor_digest(struct digest *at, const struct digest *predicted)
{
	for (size_t i = 0; i < sizeof(at->bytes); i++)
		at->bytes[i] ^= predicted->bytes[i];
}

static void code_chunks(const struct walk *k)
{
	const struct catalog *c = k->c;
	struct catalog_chunk *chunks = section(k, CATALOG_CHUNKS);
	const struct catalog_chunk *before = NULL;
	uint32_t frame = 0;

	for (uint32_t i = 0; i < c->chunk_count; i++) {
		struct catalog_chunk *e = &chunks[i];
		const struct catalog_content *whole = NULL;

		while (frame + 1 < c->frame_count &&
			i >= c->frames[frame + 1].first_chunk)
			frame++;
		uint32_t in = code32(k, &e->frame, frame);
		uint32_t content = code32(k, &e->content, k->users[i].content);

		code32(k, &e->piece, k->users[i].piece);
		code32(k, &e->offset,
			before && before->frame == in ? before->offset + before->length
						      : 0);
		if (content < c->content_count && c->contents[content].piece_count == 1)
			whole = &c->contents[content];
		code32(k, &e->length, whole ? (uint32_t)whole->data_bytes : 0);
		/* of a whole content it is the content's */
		if (whole && whole->data_bytes == whole->size)
			xor_digest(&e->digest, &whole->digest);
		before = &c->chunks[i];
	}
}

/* In this order, because each needs the true values of those before it. */
static int walk(struct walk *k)
{
	AUTO_FREE uint64_t *sizes = mem_calloc(k->c->content_count, sizeof(*sizes));
	AUTO_FREE struct user *users = mem_calloc(k->c->chunk_count, sizeof(*users));

	if (!sizes || !users)
		return -ENOMEM;
	k->sizes = sizes;
	k->users = users;
	code_entries(k);
	code_contents(k);
	code_piece_chunks(k);
	code_frames(k);
	code_chunks(k);
	code_piece_positions(k);
	return 0;
}

static int start(const struct catalog *c, uint8_t *data, bool is_restoring)
{
	AUTO_FREE struct walk *k = mem_calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->c = c;
	k->data = data;
	k->is_restoring = is_restoring;
	return walk(k);
}

int residual_take(const struct catalog *c, uint8_t *data)
{
	return start(c, data, false);
}

int residual_restore(const struct catalog *c, uint8_t *data)
{
	return start(c, data, true);
}
