/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/run/run_judge.h"

#include "cache/base/log.h"
#include "sync/reconcile/plan/catalog_walk.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>

/* What ends a walk that has seen what it looked for. */
#define SEEN 1

static void loader_release(struct catalog_loader **loader)
{
	catalog_loader_free(*loader);
}

static int loader_new(const struct run *run, struct catalog_loader **out)
{
	const struct catalog_loader_config config = {.catalogs = run->env->catalogs,
		.source = run->env->source,
		.is_cancelled = run->is_cancelled,
		.timeout_ns = run->env->timeout_ns};

	return catalog_loader_new(&config, out);
}

static int note_catalogs(struct run *run, int error)
{
	char reason[FETCH_REASON_SIZE];

	if (error >= 0 || error == -ECANCELED)
		return error;
	fetch_reasons_text(&run->reasons, error, reason);
	return run_note_error(
		run, error, "the catalogs of what is shown cannot be had: %s", reason);
}

/* What `percent` of the entries is; the product of both may be more than a number holds. */
static uint64_t share_of(uint64_t entries, unsigned int percent)
{
	return entries / 100 * percent + entries % 100 * percent / 100;
}

struct count {
	uint64_t entries;
	uint64_t removed;
	unsigned int percent;
};

static int count_catalog(void *arg, const struct catalog_place *place)
{
	struct count *count = arg;

	/* a nested catalog's top stands in the one above, too */
	count->entries += place->catalog->entry_count - (place->parent != NULL);
	return count->removed <= share_of(count->entries, count->percent) ? SEEN : 0;
}

/* Whether what is removed is more than its share of what is shown; *out_entries is all of that
 * then. */
static int is_too_much(struct run *run, uint64_t removed, uint64_t *out_entries)
{
	struct catalog_loader *loader CLEANUP(loader_release) = NULL;
	struct count count = {.removed = removed, .percent = run->settings->guard_share};
	int r = count.percent >= 100 ? SEEN : loader_new(run, &loader);

	if (r == 0) {
		const struct catalog_walk walk = {.loader = loader,
			.is_lenient = true,
			.is_offline = !run->env->source,
			.is_cancelled = run->is_cancelled,
			.visit = count_catalog,
			.arg = &count};

		r = catalog_walk(&walk, &run->view->root);
	}
	*out_entries = count.entries;
	return r < 0 ? r : r == 0;
}

int run_judge_guard(struct run *run, const struct plan *plan)
{
	const struct settings *s = run->settings;
	uint64_t removed = plan_totals(plan)->removed;
	const char *mode = run->record->is_full ? "" : " --incremental";
	uint64_t entries;

	if (run->record->is_delete_allowed || removed == 0)
		return 0;
	if (s->guard_count && removed > s->guard_count)
		return run_note_error(run, -EPERM,
			"stopped by the guard: %" PRIu64
			" entries would be removed, more than guard_count=%" PRIu64
			" allows; nothing was changed. Look at them with 'depotfs sync "
			"%s%s "
			"--dry-run', allow it once with --allow-delete in its place",
			removed, s->guard_count, run->env->mountpoint, mode);
	int r = is_too_much(run, removed, &entries);

	if (r <= 0)
		return note_catalogs(run, r);
	return run_note_error(run, -EPERM,
		"stopped by the guard: %" PRIu64 " of %" PRIu64
		" entries would be removed, more than guard_share=%u allows; nothing was "
		"changed. Look at them with 'depotfs sync %s%s --dry-run', allow it once "
		"with --allow-delete in its place",
		removed, entries, s->guard_share, run->env->mountpoint, mode);
}

static int look_for_match(void *arg, const struct catalog_place *place)
{
	const struct selection *selection = arg;
	const struct catalog *c = place->catalog;
	char path[PATH_MAX];

	for (uint32_t i = 0; i < c->nested_count; i++)
		if (catalog_path_of(c, c->nested[i].entry, path, sizeof(path)) > 0 &&
			selection_has(selection, path))
			return SEEN;
	return 0;
}

/* SEEN, 0, or -errno. */
static int is_matched(
	const struct run *run, struct catalog_loader *loader, const char *glob)
{
	struct selection *selection;
	int r = selection_new(&glob, 1, &selection);

	if (r < 0)
		return r;
	const struct catalog_walk walk = {.loader = loader,
		.selection = selection,
		.is_lenient = true,
		.is_offline = !run->env->source,
		.is_cancelled = run->is_cancelled,
		.visit = look_for_match,
		.arg = selection};

	r = catalog_walk(&walk, &run->view->root);
	if (r == 0)
		r = catalog_walk(&walk, &run->head->root);
	selection_free(selection);
	return r;
}

int run_judge_globs(struct run *run, const struct glob_list *selection)
{
	struct catalog_loader *loader CLEANUP(loader_release) = NULL;
	int r = selection->count ? loader_new(run, &loader) : 0;

	for (size_t i = 0; r >= 0 && i < selection->count; i++) {
		const char *glob = selection->globs[i];

		r = is_matched(run, loader, glob);
		if (r == 0 && run->record->trigger == RUN_BY_HAND)
			return run_note_error(run, -ENXIO,
				"no package matches '%s'; nothing was changed. 'depotfs "
				"report %s --all' lists their paths",
				glob, run->env->mountpoint);
		if (r == 0)
			run_note_warning(run, "no package matches '%s'", glob);
	}
	return note_catalogs(run, r > 0 ? 0 : r);
}
