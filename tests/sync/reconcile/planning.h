/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the tests of plans share: a store, and plans for two trees written as text (model.h). */
#pragma once

#include "tests/sync/reconcile/model.h"

#include "sync/reconcile/plan/plan.h"

extern struct scratch planning_scratch;
extern struct catalog_store *planning_store;

int planning_make(void **state);
int planning_drop(void **state);

void planning_build(const char *text, struct model_catalogs *out);

/* Puts all catalogs of the tree into the store. */
struct catalog_ref planning_keep(const char *text);

/* From revision 5 to 6. */
struct plan_config planning_config(const struct catalog_ref *old,
	const struct catalog_ref *new, enum plan_mode mode, const char *const *globs,
	size_t count);
struct plan *planning_plan(const char *old, const char *new, enum plan_mode mode,
	const char *const *globs, size_t count);

/* Commits it; the view as text, which the caller frees. */
char *planning_shown(struct plan *plan);
