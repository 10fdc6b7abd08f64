/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * "none" fetches nothing, "cached" looks at what the plan changes, "all" and globs walk the whole new
 * tree: what an earlier run did not get, or what was lost, is fetched then, too. A package's
 * neighbours in its directory are its older and newer versions as a rule, and so is what it replaces:
 * chunks that those hold here are copied.
 */
#include "sync/reconcile/run/run_prefetch.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/below.h"
#include "sync/jobs/prefetch_policy.h"
#include "sync/reconcile/plan/catalog_walk.h"
#include "sync/reconcile/run/fetch_tasks.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* Reasons kept for one run; the rest is only counted. */
#define SKIPPED_MAX 1000

/* Neighbours on each side of a package. */
#define NEIGHBOURS 2

struct prefetch {
	struct run *run;
	const struct plan *plan;
	struct selection *selection;
	struct prefetch_policy policy;
	struct catalog_loader *loader;
	struct fetch_tasks *tasks;
	size_t recorded;
	bool is_unreachable; /* some content: no source answered any more */
};

static void note_failed(
	void *arg, const struct catalog *catalog, uint32_t content, int error)
{
	struct prefetch *p = arg;
	char reason[FETCH_REASON_SIZE];
	char path[PATH_MAX];

	p->run->record->counts.skipped++;
	p->is_unreachable |= error == -EHOSTUNREACH;
	if (p->recorded == SKIPPED_MAX)
		return;
	for (uint32_t i = 0; i < catalog->entry_count; i++) {
		const struct catalog_entry *e = catalog_entry(catalog, i);

		if (catalog_content_of(catalog, e) != &catalog->contents[content])
			continue;
		if (catalog_path_of(catalog, i, path, sizeof(path)) < 0)
			(void)snprintf(path, sizeof(path), "%.*s/...",
				(int)catalog->path_length, catalog->path);
		fetch_reasons_text(&p->run->reasons, error, reason);
		const struct skipped_record skipped = {.path = path, .reason = reason};

		if (state_db_skipped_add(
			    p->run->env->state, p->run->record->id, &skipped, 1) == 0)
			p->recorded++;
		job_log_print(p->run->log, "skipped %s: %s", path, reason);
		return;
	}
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Ascending, each once. */
static size_t tidy(uint32_t *list, size_t count)
{
	size_t kept = 0;

	qsort(list, count, sizeof(*list), compare_u32);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || list[i] != list[i - 1])
			list[kept++] = list[i];
	return kept;
}

static bool entry_is_wanted(const struct prefetch *p, const struct catalog *c, uint32_t i)
{
	char path[PATH_MAX];

	if (catalog_entry_is_stale(catalog_entry(c, i)))
		return false;
	if (p->policy.kind == PREFETCH_ALL)
		return true;
	return catalog_path_of(c, i, path, sizeof(path)) > 0 &&
	       glob_list_has_path(&p->policy.globs, path);
}

/* The contents of a catalog that the policy names; none: *out_count is 0. */
static int choose_contents(const struct prefetch *p, const struct catalog *c,
	uint32_t **out, size_t *out_count)
{
	size_t capacity = 0;
	AUTO_FREE uint32_t *list = NULL;
	size_t count = 0;

	for (uint32_t i = 0; i < c->entry_count; i++) {
		const struct catalog_content *content =
			catalog_content_of(c, catalog_entry(c, i));

		if (!content || !entry_is_wanted(p, c, i))
			continue;
		int r = mem_grow((void **)&list, &capacity, count, sizeof(*list));

		if (r < 0)
			return r;
		list[count++] = (uint32_t)(content - c->contents);
	}
	*out_count = count ? tidy(list, count) : 0;
	*out = TAKE_PTR(list);
	return 0;
}

/* As far as its catalog is here. */
static void add_sibling(
	const struct prefetch *p, struct fetch_task *task, const struct catalog_ref *ref)
{
	struct catalog *catalog;

	if (task->sibling_count < FETCH_SIBLINGS_MAX &&
		catalog_store_get(p->run->env->catalogs, ref, &catalog) == 0)
		task->siblings[task->sibling_count++] = catalog;
}

static bool is_beside(const char *path, size_t len, const char *other)
{
	const char *slash = memrchr(path, '/', len);
	size_t dir = slash ? (size_t)(slash - path) + 1 : 0;

	return strncmp(path, other, dir) == 0 && !strchr(other + dir, '/');
}

/* What the plan replaces or drops at the same place. */
static void add_replaced(const struct prefetch *p, struct fetch_task *task)
{
	const struct catalog *c = task->catalog;

	for (size_t i = 0; i < plan_package_count(p->plan); i++) {
		const struct plan_package *package = plan_package(p->plan, i);

		if (package->has_old && is_beside(c->path, c->path_length, package->path))
			add_sibling(p, task, &package->old);
	}
}

/* Its neighbours in the directory. */
static void add_neighbours(const struct prefetch *p, struct fetch_task *task,
	const struct catalog *parent, uint32_t nth)
{
	uint32_t first = nth > NEIGHBOURS ? nth - NEIGHBOURS : 0;
	uint32_t dir = catalog_entry(parent, parent->nested[nth].entry)->parent;

	for (uint32_t i = first; i < parent->nested_count && i <= nth + NEIGHBOURS; i++) {
		const struct catalog_nested *n = &parent->nested[i];
		const struct catalog_ref ref = catalog_nested_ref(n);

		if (i != nth && catalog_entry(parent, n->entry)->parent == dir)
			add_sibling(p, task, &ref);
	}
}

static int add_task(struct prefetch *p, struct fetch_task *task)
{
	struct run_progress *progress = p->run->progress;
	uint64_t bytes = prefetch_missing_bytes(
		p->run->env->contents, task->catalog, task->contents, task->count);

	if (bytes == 0) {
		fetch_task_free(task);
		return 0;
	}
	atomic_fetch_add(&progress->bytes_total, bytes);
	atomic_fetch_add(&progress->contents_total, task->count);
	return fetch_tasks_add(p->tasks, task);
}

/* One catalog: `parent` names it as its nested one number `nth`; NULL for the root. */
static int add_catalog(
	struct prefetch *p, struct catalog *c, const struct catalog *parent, uint32_t nth)
{
	struct fetch_task *task = mem_calloc(1, sizeof(*task));

	if (!task)
		return -ENOMEM;
	catalog_ref(c);
	task->catalog = c;
	int r = choose_contents(p, c, &task->contents, &task->count);

	if (r < 0 || task->count == 0) {
		fetch_task_free(task);
		return r;
	}
	add_replaced(p, task);
	if (parent)
		add_neighbours(p, task, parent, nth);
	return add_task(p, task);
}

static int visit_catalog(void *arg, const struct catalog_place *place)
{
	struct prefetch *p = arg;

	return place->is_selected
		       ? add_catalog(p, place->catalog, place->parent, place->nth)
		       : 0;
}

static int fetch_tree(struct prefetch *p)
{
	const struct catalog_ref root = plan_root(p->plan);
	const struct catalog_walk walk = {.loader = p->loader,
		.selection = p->selection,
		.is_current_only = true,
		.is_cancelled = p->run->is_cancelled,
		.visit = visit_catalog,
		.arg = p};

	return catalog_walk(&walk, &root);
}

struct digest_list {
	struct digest *items;
	size_t count;
	size_t capacity;
};

static int compare_digests(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

/* The new contents of files whose old content is here. */
static int list_refreshed(const struct prefetch *p, struct digest_list *out)
{
	for (size_t i = 0; i < plan_change_count(p->plan); i++) {
		const struct plan_change *c = plan_change(p->plan, i);

		if (c->what != PLAN_CHANGED || !c->old_digest || !c->new_digest ||
			digest_equal(c->old_digest, c->new_digest) ||
			!content_is_here(
				p->run->env->contents, c->old_digest, c->old_size))
			continue;
		int r = mem_grow((void **)&out->items, &out->capacity, out->count,
			sizeof(*out->items));

		if (r < 0)
			return r;
		out->items[out->count++] = *c->new_digest;
	}
	if (out->count)
		qsort(out->items, out->count, sizeof(*out->items), compare_digests);
	return 0;
}

static int refresh_catalog(
	struct prefetch *p, struct catalog *c, const struct digest_list *wanted)
{
	struct fetch_task *task = mem_calloc(1, sizeof(*task));

	if (!task)
		return -ENOMEM;
	catalog_ref(c);
	task->catalog = c;
	task->contents = mem_calloc(
		c->content_count ? c->content_count : 1, sizeof(*task->contents));
	if (!task->contents) {
		fetch_task_free(task);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < c->content_count; i++)
		if (bsearch(&c->contents[i].digest, wanted->items, wanted->count,
			    sizeof(struct digest), compare_digests))
			task->contents[task->count++] = i;
	if (task->count == 0) {
		fetch_task_free(task);
		return 0;
	}
	add_replaced(p, task);
	return add_task(p, task);
}

static int fetch_refreshed(struct prefetch *p)
{
	struct digest_list wanted = {0};
	int r = list_refreshed(p, &wanted);

	for (size_t i = 0; r == 0 && wanted.count && i < plan_package_count(p->plan);
		i++) {
		const struct plan_package *package = plan_package(p->plan, i);
		struct catalog *c;

		if (!package->has_shown || package->changed == 0)
			continue;
		r = catalog_loader_get(p->loader, &package->shown, &c);
		if (r < 0)
			break;
		r = refresh_catalog(p, c, &wanted);
		catalog_unref(c);
	}
	free(wanted.items);
	return r;
}

static int get_catalog(void *arg, const struct catalog_ref *ref, struct catalog **out)
{
	const struct prefetch *p = arg;

	return catalog_loader_get(p->loader, ref, out);
}

static void want_catalog(void *arg, const struct catalog_ref *ref)
{
	const struct prefetch *p = arg;

	/* what cannot be queued is fetched when it is asked for */
	(void)!catalog_loader_want(p->loader, ref);
}

static int add_pinned(
	void *arg, struct catalog *c, const uint32_t *contents, size_t count)
{
	struct prefetch *p = arg;
	struct fetch_task *task = mem_calloc(1, sizeof(*task));

	if (!task)
		return -ENOMEM;
	catalog_ref(c);
	task->catalog = c;
	task->count = count;
	task->contents = mem_dup(contents, count * sizeof(*contents));
	if (!task->contents) {
		fetch_task_free(task);
		return -ENOMEM;
	}
	add_replaced(p, task);
	return add_task(p, task);
}

/* What the admin pinned is to be here, whatever the policy; a pin of what is not there any more
 * pins nothing. */
static int fetch_pinned(struct prefetch *p)
{
	struct below below = {.root = plan_root(p->plan),
		.get = get_catalog,
		.visit = add_pinned,
		.soon = want_catalog,
		.is_cancelled = p->run->is_cancelled,
		.arg = p};
	char **paths;
	size_t count;
	int r = pins_copy(p->run->env->pins, &paths, &count);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = below_walk(&below, paths[i]);
		if (r == -ENOENT || r == -ENOTDIR || r == -EAGAIN)
			r = 0;
	}
	pins_free_copy(paths, count);
	return r;
}

/* What a failure means for the run. */
static int judge(struct prefetch *p, int error)
{
	struct run *run = p->run;
	char reason[FETCH_REASON_SIZE];

	/* a package of which something came before the sources went is not an error by itself */
	if (error == 0 && p->is_unreachable && p->policy.kind == PREFETCH_ALL)
		error = -EHOSTUNREACH;
	if (error == 0 || error == -ECANCELED)
		return error;
	if (error == -EHOSTUNREACH && p->policy.kind == PREFETCH_ALL)
		return run_note_error(
			run, error, "no source answers, so not all can be fetched ahead");
	fetch_reasons_text(&run->reasons, error, reason);
	(void)run_note_error(run, error, "not all could be fetched ahead: %s", reason);
	return 0;
}

/* The line in the run's log. How much it is in all is known when the tree has been walked; until then
 * it is what the plan brings, so that the line is never ahead. */
static void tell(void *arg, bool is_all)
{
	const struct prefetch *p = arg;
	const struct run_progress *progress = p->run->progress;
	uint64_t total = atomic_load(&progress->bytes_total);
	uint64_t planned = plan_totals(p->plan)->bytes_new;

	if (!is_all && planned > total)
		total = planned;
	job_log_progress(p->run->log, "fetching",
		atomic_load(&progress->fetch.bytes_fetched) +
			atomic_load(&progress->fetch.bytes_reused),
		is_all ? total : total + 1);
}

static int fetch(struct prefetch *p)
{
	struct run *run = p->run;
	const struct fetch_tasks_config config = {.store = run->env->contents,
		.is_cancelled = run->is_cancelled,
		.progress = &run->progress->fetch,
		.on_failed = note_failed,
		.on_tick = tell,
		.arg = p};
	int r = fetch_tasks_start(&config, &p->tasks);

	if (r < 0)
		return r;
	if (p->policy.kind == PREFETCH_CACHED)
		r = fetch_refreshed(p);
	else if (p->policy.kind != PREFETCH_NONE)
		r = fetch_tree(p);
	if (r == 0)
		r = fetch_pinned(p);
	int finished = fetch_tasks_finish(p->tasks);

	tell(p, true);
	return r < 0 && r != -ECANCELED ? r : finished < 0 ? finished : r;
}

int run_prefetch(
	struct run *run, const struct plan *plan, const struct glob_list *selection)
{
	struct prefetch p = {.run = run, .plan = plan};
	const struct catalog_loader_config config = {.catalogs = run->env->catalogs,
		.source = run->env->source,
		.is_cancelled = run->is_cancelled,
		.timeout_ns = run->env->timeout_ns};
	char reason[TEXT_REASON_SIZE];
	int r = prefetch_policy_parse(run->record->prefetch, &p.policy, reason);

	if (r == -EINVAL)
		return run_note_error(run, r, "prefetch: %s", reason);

	bool is_needed = p.policy.kind != PREFETCH_NONE || !pins_are_none(run->env->pins);

	if (r == 0 && is_needed)
		r = selection_new(selection->globs, selection->count, &p.selection);
	if (r == 0 && p.selection)
		r = catalog_loader_new(&config, &p.loader);
	if (r == 0 && p.loader)
		r = judge(&p, fetch(&p));
	catalog_loader_free(p.loader);
	selection_free(p.selection);
	prefetch_policy_release(&p.policy);
	return r;
}
