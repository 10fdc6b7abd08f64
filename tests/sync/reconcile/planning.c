/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/reconcile/planning.h"

#include "cache/base/threads/clock.h"

struct scratch planning_scratch;
struct catalog_store *planning_store;

int planning_make(void **state)
{
	(void)state;
	scratch_make(&planning_scratch);
	assert_int_equal(catalog_store_open(planning_scratch.fd, &planning_store), 0);
	return 0;
}

int planning_drop(void **state)
{
	(void)state;
	catalog_store_free(planning_store);
	scratch_remove(&planning_scratch);
	return 0;
}

void planning_build(const char *text, struct model_catalogs *out)
{
	struct model m;

	model_parse(&m, text);
	model_build(&m, out);
	model_release(&m);
}

struct catalog_ref planning_keep(const char *text)
{
	struct model_catalogs c;

	planning_build(text, &c);
	model_keep(&c, planning_store);
	struct catalog_ref root = c.root;

	model_catalogs_release(&c);
	return root;
}

struct plan_config planning_config(const struct catalog_ref *old,
	const struct catalog_ref *new, enum plan_mode mode, const char *const *globs,
	size_t count)
{
	return (struct plan_config){.catalogs = planning_store,
		.timeout_ns = 10 * NS_PER_SEC,
		.old = {*old, 5},
		.new = {*new, 6},
		.mode = mode,
		.globs = globs,
		.glob_count = count};
}

struct plan *planning_plan(const char *old, const char *new, enum plan_mode mode,
	const char *const *globs, size_t count)
{
	struct catalog_ref a = planning_keep(old);
	struct catalog_ref b = planning_keep(new);
	struct plan_config config = planning_config(&a, &b, mode, globs, count);
	struct plan *plan;

	assert_int_equal(plan_make(&config, &plan), 0);
	return plan;
}

char *planning_shown(struct plan *plan)
{
	struct catalog_ref root = plan_root(plan);
	struct model m;

	assert_int_equal(plan_commit(plan), 0);
	model_read(&m, planning_store, &root);
	char *text = model_text(&m, true);

	model_release(&m);
	return text;
}
