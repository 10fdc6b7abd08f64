/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Makes contents of one catalog complete before anybody reads them: their frames in the order of
 * the packs, side by side in large requests, in the background. What is here is not fetched, so
 * one that was interrupted goes on where it stopped; a reader who misses joins what is under way.
 *
 *	struct prefetch_progress progress = {0};	(others may look while it runs)
 *	struct prefetch_config config = {.store = ..., .catalog = ..., .progress = &progress};
 *	r = prefetch_run(&config);
 */
#pragma once

#include "cache/content/content.h"

#include <stdatomic.h>

struct prefetch_progress {
	atomic_ullong bytes_fetched; /* on the wire, for this run */
	atomic_ullong bytes_reused;  /* copied from what is here */
	atomic_ullong contents_done;
	atomic_ullong contents_failed;
};

struct prefetch_config {
	struct content_store *store;
	struct catalog *catalog;  /* held by the caller until it returns */
	const uint32_t *contents; /* indexes, ascending, each once; NULL: all */
	size_t count;
	/* whose contents may be here and hold the same chunks */
	const struct catalog *const *siblings;
	size_t sibling_count;
	const atomic_bool *is_cancelled; /* may be NULL */
	struct prefetch_progress *progress;
	/* Once for each content that could not be had, on the caller's thread; may be NULL. */
	void (*on_failed)(void *arg, uint32_t content, int error);
	void *arg;
};

/* Waits for the network: for a job's own thread. Returns 0 (some contents may have failed),
 * -ECANCELED, -EHOSTUNREACH when no source answers and nothing came, -ENOSPC, -ENOMEM. What is on its
 * way when it is cancelled lands all the same. */
int prefetch_run(const struct prefetch_config *config) WARN_UNUSED;

/* What prefetch_run() would fetch, were nothing reused: bytes on the wire. Looks at the disk. 0 when
 * memory is short. Any thread. */
uint64_t prefetch_missing_bytes(struct content_store *store,
	const struct catalog *catalog, const uint32_t *contents, size_t count);
