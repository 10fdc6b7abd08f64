/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/plan/plan.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/content/fetch/reasons.h"
#include "sync/reconcile/plan/plan_state.h"

#include <errno.h>

struct means {
	struct selection *selection;
	struct catalog_loader *loader;
};

static void means_release(struct means *m)
{
	selection_free(m->selection);
	catalog_loader_free(m->loader);
}

static int fill(const struct plan_config *config, struct plan *plan)
{
	struct means m CLEANUP(means_release) = {0};
	const struct catalog_loader_config loader_config = {.catalogs = config->catalogs,
		.source = config->source,
		.is_cancelled = config->is_cancelled,
		.timeout_ns = config->timeout_ns};
	int r = selection_new(config->globs, config->glob_count, &m.selection);

	if (r == 0)
		r = catalog_loader_new(&loader_config, &m.loader);
	if (r == 0)
		r = plan_gather(config, m.selection, m.loader);
	if (r == 0)
		r = plan_walk(config, m.selection, m.loader, plan);
	return r;
}

int plan_make(const struct plan_config *config, struct plan **out)
{
	struct plan *plan = mem_calloc(1, sizeof(*plan));

	if (!plan)
		return -ENOMEM;
	plan->catalogs = config->catalogs;
	plan->old_root = config->old.root;
	struct fetch_reasons reasons;
	char reason[FETCH_REASON_SIZE];

	fetch_reasons_begin(&reasons, config->source, NULL);
	int r = fill(config, plan);

	if (r < 0) {
		plan_free(plan);
		if (r == -ENOMEM || r == -ECANCELED || r == -EINVAL)
			return r;
		fetch_reasons_text(&reasons, r, reason);
		return log_error_errno(r,
			"cannot compare revision %llu with what is shown: %s; the view "
			"stays as it is",
			(unsigned long long)config->new.revision, reason);
	}
	*out = plan;
	return 0;
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->composed_count; i++)
		composed_release(&plan->composed[i]);
	free(plan->composed);
	free(plan->packages);
	free(plan->changes);
	arena_release(&plan->arena);
	free(plan);
}

int plan_commit(struct plan *plan)
{
	for (size_t i = 0; i < plan->composed_count; i++) {
		const struct catalog_ref ref =
			catalog_nested_ref(&plan->composed[i].nested);
		int r = catalog_store_put_composed(
			plan->catalogs, &ref, plan->composed[i].data);

		if (r < 0)
			return log_error_errno(r,
				"cannot keep a composed catalog: %s; the view stays as "
				"it "
				"is",
				log_strerror(r));
	}
	return 0;
}

bool plan_is_empty(const struct plan *plan)
{
	return digest_equal(&plan->root.digest, &plan->old_root.digest);
}

struct catalog_ref plan_root(const struct plan *plan)
{
	return plan->root;
}

uint64_t plan_revision(const struct plan *plan)
{
	return plan->revision;
}

const struct plan_totals *plan_totals(const struct plan *plan)
{
	return &plan->totals;
}

size_t plan_change_count(const struct plan *plan)
{
	return plan->change_count;
}

const struct plan_change *plan_change(const struct plan *plan, size_t i)
{
	return &plan->changes[i];
}

size_t plan_package_count(const struct plan *plan)
{
	return plan->package_count;
}

const struct plan_package *plan_package(const struct plan *plan, size_t i)
{
	return &plan->packages[i];
}
