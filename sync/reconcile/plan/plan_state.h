/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the parts of a plan share; for sync/reconcile/plan/plan*.c only. */
#pragma once

#include "cache/base/data/arena.h"
#include "cache/catalog/compose/catalog_compose.h"
#include "sync/reconcile/plan/catalog_loader.h"
#include "sync/reconcile/plan/plan.h"
#include "sync/reconcile/plan/selection.h"

struct plan {
	struct catalog_store *catalogs;
	struct catalog_ref old_root;
	struct catalog_ref root;
	uint64_t revision;
	struct plan_totals totals;
	struct plan_change *changes;
	size_t change_count;
	size_t change_capacity;
	struct plan_package *packages;
	size_t package_count;
	size_t package_capacity;
	struct composed *composed; /* those below come first */
	size_t composed_count;
	size_t composed_capacity;
	struct arena arena; /* paths and digests */
};

/* An entry of one side. `c` is NULL: that side has none. */
struct plan_item {
	const struct catalog *c;
	const struct catalog_entry *e;
	uint32_t index;
	uint64_t revision; /* of what is below it */
	bool is_stale;	   /* itself or by the catalog it is in */
	bool is_in_stale;  /* by the catalog: it hangs on a stale directory */
};

/* plan_gather.c: has the catalogs that differ fetched, level by level, so that the walk finds
 * them here. 0, or why the plan cannot be made. */
int plan_gather(const struct plan_config *config, const struct selection *selection,
	struct catalog_loader *loader) WARN_UNUSED;

/* plan_walk.c: fills changes, packages, totals, composed, root and revision. */
int plan_walk(const struct plan_config *config, const struct selection *selection,
	struct catalog_loader *loader, struct plan *plan) WARN_UNUSED;

/* plan_record.c. `path` is copied. All return 0 or -ENOMEM. */
int plan_begin_package(
	struct plan *plan, const char *path, uint32_t *out_package) WARN_UNUSED;

/* Records what happens to one path; `n` taken or (stale, removed) `o` kept or dropped: that one is
 * there. For a pair that is alike, and not stale, nothing. */
int plan_record_pair(struct plan *plan, uint32_t package, const char *path,
	const struct plan_item *o, const struct plan_item *n) WARN_UNUSED;
int plan_record_stale(struct plan *plan, uint32_t package, const char *path,
	const struct plan_item *o) WARN_UNUSED;
int plan_record_removed(struct plan *plan, uint32_t package, const char *path,
	const struct plan_item *o) WARN_UNUSED;

/* Counts `entries` of which only the number is known. */
void plan_count(
	struct plan *plan, uint32_t package, enum plan_what what, uint64_t entries);

/* Drops the packages in which nothing changes. */
int plan_tidy_packages(struct plan *plan) WARN_UNUSED;
