/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A mapped catalog: one package's metadata, used where it lies. Bounds are checked once, when
 * it is opened; afterwards the accessors only index. Immutable, so any thread may read it
 * while somebody holds it.
 *
 *	r = catalog_open_fd(fd, &catalog);		(or catalog_open_memory)
 *	index = catalog_lookup(catalog, CATALOG_ROOT, "bin", 3);
 *	const struct catalog_entry *e = catalog_entry(catalog, index);
 *	...
 *	catalog_close(catalog);
 *
 * Who keeps a pointer to it longer than its owner must takes a reference:
 *
 *	catalog_ref(catalog);
 *	...
 *	catalog_unref(catalog);
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/catalog/catalog_format.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CATALOG_NO_ENTRY UINT32_MAX

struct catalog_trim;

/* The sections, ready to index. Read-only to everybody; counts were checked. */
struct catalog {
	const struct catalog_header *header;
	const struct catalog_entry *entries;
	const char *names;
	const uint32_t *folded;
	const char *targets;
	const struct catalog_xattr_set *xattrs;
	const uint8_t *xattr_data;
	const struct catalog_content *contents;
	const struct catalog_piece *pieces;
	const struct catalog_chunk *chunks;
	const struct catalog_frame *frames;
	const struct catalog_pack *packs;
	const struct catalog_nested *nested;
	const char *path;
	const struct catalog_local *local; /* of each nested one; NULL: not composed */
	size_t map_bytes;
	uint32_t entry_count;
	uint32_t content_count;
	uint32_t piece_count;
	uint32_t chunk_count;
	uint32_t frame_count;
	uint32_t pack_count;
	uint32_t nested_count;
	uint32_t xattr_count;
	uint32_t path_length;
	bool is_owned_memory;	   /* freed, not unmapped */
	atomic_uint refs;	   /* beside its owner's */
	atomic_uint kept;	   /* of all references, those of catalog_keep() */
	struct catalog_trim *trim; /* cache/catalog/catalog_trim.h; NULL: nobody's */
	struct catalog *trim_next; /* the trim's lock, both */
	struct catalog *trim_before;
};

/* Maps the whole file and checks it; `fd` may be closed afterwards. -EBADMSG with a reason in
 * *out_reason (a static text, may be NULL) for a catalog that is not sound. */
int catalog_open_fd(int fd, struct catalog **out, const char **out_reason) WARN_UNUSED;

/* Checks a catalog in memory of `len` bytes, aligned to 8, from mem_alloc(); taken over on
 * success only. */
int catalog_open_memory(void *data, size_t len, struct catalog **out,
	const char **out_reason) WARN_UNUSED;

/* The owner's reference; the catalog goes with the last one. NULL is nothing. Any thread. */
void catalog_close(struct catalog *catalog);

/* One more reference, by who holds one or knows that the owner does. Any thread. */
void catalog_ref(const struct catalog *catalog);
void catalog_unref(const struct catalog *catalog);

/* Likewise, for a table that keeps it in case somebody comes again. Once nobody else holds it
 * (catalog_is_only_kept()) nobody shows it any more, and the table may let it go. */
void catalog_keep(const struct catalog *catalog);
void catalog_unkeep(const struct catalog *catalog);
bool catalog_is_only_kept(const struct catalog *catalog);

static inline const struct catalog_entry *catalog_entry(
	const struct catalog *c, uint32_t i)
{
	return &c->entries[i];
}

static inline const char *catalog_name(
	const struct catalog *c, const struct catalog_entry *e)
{
	return c->names + e->name;
}

static inline bool catalog_entry_is_nested(const struct catalog_entry *e)
{
	return e->flags & CATALOG_ENTRY_NESTED;
}

/* Whether the master no longer has it. Below a stale nested directory nothing is marked. */
static inline bool catalog_entry_is_stale(const struct catalog_entry *e)
{
	return e->flags & CATALOG_ENTRY_STALE;
}

/* Whether a mirror put it together, so that no source can have it. */
static inline bool catalog_is_composed(const struct catalog *c)
{
	return c->header->flags & CATALOG_COMPOSED;
}

/* What names the catalog that hangs on a nested directory. */
static inline struct catalog_ref catalog_nested_ref(const struct catalog_nested *n)
{
	return (struct catalog_ref){.digest = n->digest,
		.stored_bytes = n->stored_bytes,
		.raw_bytes = n->raw_bytes};
}

/* Why `child` is not the catalog that nested one number `nth` of `parent` stands for: it says another path
 * of itself, or other totals. NULL if it is. A digest alone does not tell: one catalog at many
 * places makes a tree without end of a few bytes. */
const char *catalog_misfit(
	const struct catalog *child, const struct catalog *parent, uint32_t nth);

/* 0 if it is, else -EUCLEAN, logged. */
int catalog_must_fit(const struct catalog *child, const struct catalog *parent,
	uint32_t nth) WARN_UNUSED;

/* The content of a regular file, NULL when it is empty or no regular file. */
const struct catalog_content *catalog_content_of(
	const struct catalog *c, const struct catalog_entry *e);

/* The order of a directory's children: bytes, then length. As memcmp(3). */
int catalog_compare_names(const char *a, size_t a_len, const char *b, size_t b_len);

/* The child of directory `dir` with exactly this name, or CATALOG_NO_ENTRY. `dir` must be a
 * directory of this catalog that is not nested. O(log n), allocates nothing. */
uint32_t catalog_lookup(
	const struct catalog *c, uint32_t dir, const char *name, size_t len);

/* The index of the first child of `dir` whose name is not below this one (`is_behind`: is above it);
 * the end of the directory's children if there is none. */
uint32_t catalog_lower_bound(const struct catalog *c, uint32_t dir, const char *name,
	size_t len, bool is_behind);

/* As catalog_lookup() without regard to case (cache/catalog/casefold.h); the exact name wins when
 * several fit. */
uint32_t catalog_lookup_folded(
	const struct catalog *c, uint32_t dir, const char *name, size_t len);

/* The nested directory that a walk through the tree comes to next, behind entry `i`, or
 * CATALOG_NO_ENTRY. */
uint32_t catalog_next_nested(const struct catalog *c, uint32_t i);

/* One extended attribute, borrowed from the map. Returns 0 or -ENODATA. */
int catalog_xattr_get(const struct catalog *c, const struct catalog_entry *e,
	const char *name, const uint8_t **out_value, size_t *out_len) WARN_UNUSED;

/* Walks an entry's attributes: start with *cursor = 0; false at the end. Names are not
 * terminated. */
bool catalog_xattr_next(const struct catalog *c, const struct catalog_entry *e,
	size_t *cursor, const char **out_name, size_t *out_name_len,
	const uint8_t **out_value, size_t *out_len);

/* The pieces of `content` that overlap [offset, offset + len): their range in c->pieces. */
void catalog_pieces_in(const struct catalog *c, const struct catalog_content *content,
	uint64_t offset, uint64_t len, uint32_t *out_first, uint32_t *out_end);

/* Writes the path from the tree's root of entry `i` ("" for the root), at most `size` bytes
 * with the NUL. Returns its length as snprintf does, -ENAMETOOLONG if it did not fit. */
int catalog_path_of(const struct catalog *c, uint32_t i, char *out, size_t size);
