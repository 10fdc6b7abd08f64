/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Why content did not come, or could not be kept, in words for an admin: an error's number does not say
 * which source has no such object, nor which bound of the cache is reached.
 *
 *	fetch_reasons_begin(&reasons, source, objects);
 *	... prefetch_run() and the like
 *	fetch_reasons_text(&reasons, error, text);
 *
 * Any thread.
 */
#pragma once

#include "cache/objects/object_store.h"
#include "cache/source.h"

#define FETCH_REASON_SIZE 512

struct fetch_reasons {
	struct source *source;
	uint64_t missing; /* before, as in source_status() */
	const struct usage *usage;
	struct usage_refusals refusals; /* before */
};

/* Borrows both, either of which may be NULL. What was answered or refused before this is of no
 * concern. */
void fetch_reasons_begin(struct fetch_reasons *reasons, struct source *source,
	struct object_store *objects);

/* `error` as log_strerror() has it, unless more is known since fetch_reasons_begin(): of -ENOENT that
 * sources have no such object, and what the last of them said; of -ENOSPC the bound that is reached. */
void fetch_reasons_text(
	const struct fetch_reasons *reasons, int error, char out[FETCH_REASON_SIZE]);
