/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What this mirror thinks of what is in its cache: whether the view names it, by stale entries
 * only, whether it is pinned, or in use. Asked by the evictor, one round after the other.
 *
 *	r = judge_new(&config, &judge);
 *	evictor_config.judge = judge_for_eviction(judge);
 *	...
 *	judge_free(judge);
 */
#pragma once

#include "cache/content/content.h"
#include "cache/objects/bounds/evictor.h"
#include "cache/pins.h"

#define JUDGE_ROOTS_MAX 8

struct reference_set;

struct judge_config {
	struct content_store *contents;
	struct catalog_store *catalogs;
	struct pins *pins; /* NULL: none */
	/* The root catalogs of what is shown (first) and of what is about to be: at most
	 * JUDGE_ROOTS_MAX. Returns their number. Any thread. */
	size_t (*roots)(void *arg, struct catalog_ref out[JUDGE_ROOTS_MAX]);
	void *arg;
};

struct judge;

/* Borrows what `config` names. 0 or -ENOMEM. */
int judge_new(const struct judge_config *config, struct judge **out) WARN_UNUSED;
void judge_free(struct judge *judge);

/* For one evictor; valid as long as the judge. */
struct eviction_judge judge_for_eviction(struct judge *judge);

/* The contents below all pins of the tree at `root`, as far as its catalogs are here; the caller
 * frees the set. 0 or -errno. Any thread. */
int judge_pinned_contents(struct catalog_store *catalogs, struct pins *pins,
	const struct catalog_ref *root, struct reference_set **out) WARN_UNUSED;
