/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sound catalogs for tests, built in memory without the publisher: a second reading of
 * cache/catalog/catalog_format.h, so that reader and writer cannot be wrong in the same way unseen.
 * What it builds keeps its frames' bytes, for fake_source.h to serve.
 *
 *	struct catalog_builder *b = builder_new("");
 *	uint32_t dir = builder_dir(b, BUILDER_TOP, "bin");
 *	builder_file(b, dir, "tool", data, len, chunk_bytes);
 *	struct built_catalog *built = builder_finish(b);
 *	...
 *	built_free(built);
 *
 * Not through the door of cache/base/memory.h: a test that makes that one fail means the code
 * under test. Out of memory or misuse aborts. One thread.
 */
#pragma once

#include "cache/catalog/catalog.h"

#define BUILDER_TOP	  0
#define BUILDER_MTIME_SEC INT64_C(1700000000)

struct catalog_builder;

struct built_frame {
	uint8_t *data; /* decoded */
	uint32_t length;
	uint64_t offset; /* in the pack */
};

struct built_catalog {
	uint8_t *data; /* aligned to 8 */
	size_t len;
	struct catalog_ref ref;
	struct digest pack;
	struct built_frame *frames; /* as in the catalog's FRAMES */
	size_t frame_count;
};

/* `path`: of the package, "" for a root. */
struct catalog_builder *builder_new(const char *path);

/* Frames end when they hold this many bytes (FRAME_MAX_BYTES at first). */
void builder_frame_bytes(struct catalog_builder *b, uint32_t bytes);

/* From here on a chunk that is there already is not stored again. */
void builder_share_chunks(struct catalog_builder *b);

/* All return the new entry's handle: no index of the catalog, which is not numbered yet. */
uint32_t builder_dir(struct catalog_builder *b, uint32_t parent, const char *name);
uint32_t builder_file(struct catalog_builder *b, uint32_t parent, const char *name,
	const void *data, size_t len, uint32_t chunk_bytes);
/* `len` bytes at `position` of a file of `size` bytes; the rest is a hole. */
uint32_t builder_sparse(struct catalog_builder *b, uint32_t parent, const char *name,
	uint64_t size, uint64_t position, const void *data, size_t len,
	uint32_t chunk_bytes);
uint32_t builder_symlink(
	struct catalog_builder *b, uint32_t parent, const char *name, const char *target);
uint32_t builder_special(struct catalog_builder *b, uint32_t parent, const char *name,
	uint32_t mode, uint32_t major, uint32_t minor);
/* One more name of the file `of`. */
uint32_t builder_link(
	struct catalog_builder *b, uint32_t parent, const char *name, uint32_t of);
uint32_t builder_nested(struct catalog_builder *b, uint32_t parent, const char *name,
	const struct built_catalog *child);

/* Makes a directory's nlink that of so many subdirectories; a nested one is as its catalog's
 * top. */
void builder_subdirectories(struct catalog_builder *b, uint32_t dir, uint32_t count);

/* Marks an entry as stale: it makes the catalog a composed one. */
void builder_stale(struct catalog_builder *b, uint32_t entry);

/* The revision a nested catalog came from; it makes the catalog a composed one, too. */
void builder_revision(struct catalog_builder *b, uint32_t entry, uint64_t revision);

/* Else each entry has a time of its own, by its handle. */
void builder_mtime(struct catalog_builder *b, uint32_t entry, int64_t mtime_sec);

/* Attributes of an entry, in the order of their names. */
void builder_xattr(struct catalog_builder *b, uint32_t entry, const char *name,
	const void *value, size_t len);

/* Names need not be text: gives an entry's name `len` bytes. */
void builder_rename(
	struct catalog_builder *b, uint32_t entry, const void *name, size_t len);

/* Lays it all out; `b` is gone afterwards. */
struct built_catalog *builder_finish(struct catalog_builder *b);
void built_free(struct built_catalog *built);

/* Opens a copy of the built bytes. */
struct catalog *built_open(const struct built_catalog *built);

/* Each byte follows from its place and the seed: bytes to fill files with. */
void built_fill(void *data, size_t len, unsigned int seed);
