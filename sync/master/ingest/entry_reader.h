/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reads what an entry of the tree holds: a file's data, cut into chunks and hashed, a
 * symlink's target, extended attributes. A file that changes meanwhile is read again; a torn
 * one is never returned.
 *
 *	r = entry_reader_new(&tree, take_chunk, context, &reader);
 *	r = entry_reader_read(reader, dir, entry);	fills the entry in
 *	entry_reader_free(reader);
 *
 * One thread each.
 */
#pragma once

#include "sync/master/walk/tree.h"

struct entry_reader;

/* Takes a chunk of a file: returns in *out the record under which it is or will be stored.
 * The data is borrowed for the call. */
typedef int (*chunk_sink)(void *context, const struct digest *digest, const uint8_t *data,
	size_t len, struct chunk_ref **out);

int entry_reader_new(struct tree *tree, chunk_sink sink, void *context,
	struct entry_reader **out) WARN_UNUSED;

/* What it filled in lives in `arena`, which takes it over. */
void entry_reader_free(struct entry_reader *r, struct arena *arena);

/* Returns 0, or -errno with a message that names the entry: -EAGAIN when it kept changing. */
int entry_reader_read(struct entry_reader *r, struct tree_dir *dir,
	struct tree_entry *entry) WARN_UNUSED;

/* Sums since the beginning. */
void entry_reader_counts(
	const struct entry_reader *r, uint64_t *out_files, uint64_t *out_bytes);
