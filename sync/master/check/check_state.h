/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the parts of a check share: see check.h. Private to sync/master/check*.c. */
#pragma once

#include "cache/base/threads/mutex.h"
#include "sync/master/catalog/catalog_graph.h"
#include "sync/master/check/check.h"
#include "sync/master/depot/depot.h"

/* A pack and what the catalogs say of it. */
struct checked_pack {
	struct digest digest;
	uint64_t bytes;
	bool is_sound;
};

struct check {
	struct depot *depot;
	struct trust trust;
	bool is_deep;
	unsigned int threads;

	struct mutex lock; /* guards the report and the lists */
	struct check_report report;
	size_t fault_capacity;
	int error; /* the first failure to record something */

	struct catalog_ref *catalogs; /* all of them, each once */
	size_t catalog_count;
	size_t catalog_capacity;
	struct checked_pack *packs; /* sorted by digest once collected */
	size_t pack_count;
	size_t pack_capacity;
	struct digest *policies; /* that heads name */
	size_t policy_count;
	size_t policy_capacity;
};

/* Records a fault of `object`. */
void check_fault_add(struct check *c, const char *object, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* Heads and revisions; the root catalogs join the list. */
int check_records(struct check *c, struct catalog_graph *graph) WARN_UNUSED;

/* Every catalog on the list and below; their packs join the list of packs. */
int check_catalogs(struct check *c, struct catalog_graph *graph) WARN_UNUSED;

/* Size and digest of every pack. */
int check_packs(struct check *c) WARN_UNUSED;

/* Every frame, chunk and content. */
int check_contents(struct check *c) WARN_UNUSED;

/* Counts objects that nothing names. */
int check_orphans(struct check *c) WARN_UNUSED;

/* The pack of this digest; NULL if no catalog names it. */
struct checked_pack *check_find_pack(const struct check *c, const struct digest *digest);
