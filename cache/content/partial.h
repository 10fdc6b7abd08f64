/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Content that is being fetched: a sparse file partial/<sha256> with the content's bytes at
 * their own offsets and, behind them, a record of the pieces that have landed. It survives
 * the process; when its last piece has landed the record is cut off and it becomes an object.
 *
 *	r = partial_open(dirfd, checkpoint, catalog, content, PARTIAL_CREATE, &partial);
 *	r = partial_land(partial, piece, position, data, len);
 *	if (partial_is_complete(partial)) r = partial_finish(partial, store, &fd);
 *	partial_free(partial);
 *
 * Not locked: the owner (cache/content/content.h) serialises all but reads through partial_fd().
 * The bytes on disk are described in docs/formats/cache.md.
 */
#pragma once

#include "cache/catalog/catalog.h"
#include "cache/objects/object_store.h"

struct partial;

enum partial_mode {
	PARTIAL_PROBE,	/* one that is there; changes nothing */
	PARTIAL_CREATE, /* or begin one */
};

/* Opens the partial file of this content. One that does not fit the content's pieces, or is in
 * doubt after a crash, counts as missing, and is replaced by one that is begun. Returns 0,
 * -ENOENT or -errno. */
int partial_open(int dirfd, const struct checkpoint *checkpoint,
	const struct catalog *catalog, const struct catalog_content *content,
	enum partial_mode mode, struct partial **out) WARN_UNUSED;
void partial_free(struct partial *p);

/* Holds the landed bytes at their offsets, and beyond the content's size the record. Borrowed. */
int partial_fd(const struct partial *p);

/* `piece` counts from the content's first. */
bool partial_has(const struct partial *p, uint32_t piece);
uint32_t partial_count(const struct partial *p);
bool partial_is_complete(const struct partial *p);

/* What it takes on disk: bytes that have come since this was last asked (or it was opened; less those
 * of one that it replaced), and all as of then. One that was removed grows no more. */
int64_t partial_grown(struct partial *p);
int64_t partial_disk_bytes(const struct partial *p);

/* The same bytes on this file system: what the file system can share is not written again. */
struct piece_origin {
	int fd;
	uint64_t position;
};

/* Writes a verified piece and records it; `origin` may be NULL. 0 or -errno (ENOSPC); on failure it has not landed. */
int partial_land(struct partial *p, uint32_t piece, uint64_t position, const void *data,
	size_t len, const struct piece_origin *origin) WARN_UNUSED;

/* Turns a complete partial into an object; its descriptor stays good for reading and is
 * handed over in *out_fd; only partial_free() may follow. On failure it goes on as a partial. */
int partial_finish(
	struct partial *p, struct object_store *store, int *out_fd) WARN_UNUSED;
