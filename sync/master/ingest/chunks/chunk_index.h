/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Keeps the state's index of the depot's chunks in step with its revisions. */
#pragma once

#include "sync/master/depot/depot.h"
#include "sync/master/ingest/chunks/chunk_table.h"
#include "sync/master/walk/scan_state.h"

/* Adds the chunks of the revisions up to `latest` that the index does not know yet, from
 * their catalogs: after a lost state, or a publish that was cut off behind its revision. */
int chunk_index_catch_up(const struct depot *depot, const struct trust *trust,
	struct scan_state *state, uint64_t latest) WARN_UNUSED;

/* Adds what this publish stored. Within the state's transaction. */
int chunk_index_add(struct scan_state *state, struct chunk_table *chunks) WARN_UNUSED;
