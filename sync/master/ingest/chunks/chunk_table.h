/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The chunks that this publish has met, by digest: the first thread to claim one stores it,
 * the others share its record. Any thread.
 *
 *	chunk = chunk_table_claim(table, &digest, length, &is_new);
 */
#pragma once

#include "sync/master/ingest/content.h"

struct chunk_table;

/* Calls back for every chunk claimed; a negative result ends the walk. */
typedef int (*chunk_visit)(struct chunk_ref *chunk, void *context);

int chunk_table_new(struct chunk_table **out) WARN_UNUSED;
void chunk_table_free(struct chunk_table *t);

/* The record of this chunk, made with no frame if it is new; NULL when memory is short. It
 * lives as long as the table. */
struct chunk_ref *chunk_table_claim(struct chunk_table *t, const struct digest *digest,
	uint32_t length, bool *out_is_new);

/* Visits all; no other thread may use the table meanwhile. */
int chunk_table_each(struct chunk_table *t, chunk_visit visit, void *context) WARN_UNUSED;
