/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/run/run_sweep.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/objects/bounds/sweep.h"
#include "cache/objects/object_scan.h"
#include "cache/reference_set.h"
#include "sync/reconcile/plan/catalog_walk.h"
#include "sync/reconcile/run/fetch_tasks.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

/* Of those that cannot be repaired; the rest is only counted. */
#define SKIPPED_MAX 1000

struct damaged {
	struct digest digest;
	uint64_t bytes;
};

struct check {
	struct run *run;
	struct catalog_loader *loader;
	struct damaged *damaged; /* sorted once all are known */
	size_t count;
	size_t capacity;
	uint64_t checked;
	size_t recorded; /* of those that cannot be repaired */
	struct fetch_tasks *tasks;
};

typedef int (*catalog_visitor)(void *arg, const struct catalog_place *place);

static int walk_view(struct check *check, catalog_visitor visit)
{
	const struct catalog_walk walk = {.loader = check->loader,
		.is_cancelled = check->run->is_cancelled,
		.visit = visit,
		.arg = check};

	return catalog_walk(&walk, &check->run->view->root);
}

/* That a catalog is here now is all that is wanted. */
static int have_catalog(void *arg, const struct catalog_place *place)
{
	(void)arg;
	(void)place;
	return 0;
}

/* What the view does not name goes, at once. */
static int remove_unnamed(struct run *run)
{
	struct reference_set *references;
	struct sweep_counts counts = {0};
	int r = reference_set_new(&references);

	if (r < 0)
		return r;
	struct sweep_config config = {.cache_dirfd = run->env->cache_dirfd,
		.contents = run->env->contents,
		.objects = run->env->objects,
		.catalogs = run->env->catalogs,
		.references = references,
		.is_cancelled = run->is_cancelled};

	r = reference_set_add_view(
		references, run->env->catalogs, &run->view->root, run->is_cancelled);
	if (r == 0)
		r = sweep_run(&config, &counts);
	reference_set_free(references);
	job_log_print(run->log,
		"removed from disk: %" PRIu64 " contents, %" PRIu64
		" partial ones, %" PRIu64 " catalogs, %" PRIu64 " bytes",
		counts.objects, counts.partials, counts.catalogs, counts.bytes);
	return r;
}

static int note_damaged(struct check *check, const struct object_info *object)
{
	int r = mem_grow((void **)&check->damaged, &check->capacity, check->count,
		sizeof(*check->damaged));

	if (r == 0)
		check->damaged[check->count++] =
			(struct damaged){.digest = object->digest, .bytes = object->size};
	return r;
}

/* What the disk cannot read any more is no better than what it reads wrongly: it is let go, to be
 * fetched to another place. 0 or -errno. */
static int drop_unreadable(struct check *check, const struct digest *digest)
{
	uint64_t bytes;
	int r = object_store_remove(check->run->env->objects, digest, &bytes);

	return r == -ENOENT ? 0 : r;
}

/* An object of the store; its right size is not known here, so a shallow look is at what the
 * store itself can tell. */
static int check_object(void *arg, const struct object_info *object)
{
	struct check *check = arg;
	struct run *run = check->run;
	int r = object_store_verify(
		run->env->objects, &object->digest, run->is_cancelled);

	if (r == -ENOENT)
		return 0; /* let go of meanwhile */
	check->checked++;
	if (r == -EIO)
		r = drop_unreadable(check, &object->digest) < 0 ? -EIO : -EBADMSG;
	return r == -EBADMSG ? note_damaged(check, object) : r;
}

/* An object of the view must have the size that the catalog says. */
static int check_sizes(void *arg, const struct catalog_place *place)
{
	struct check *check = arg;
	const struct catalog *c = place->catalog;
	struct run *run = check->run;

	for (uint32_t i = 0; i < c->content_count; i++) {
		const struct catalog_content *content = &c->contents[i];
		const struct object_info object = {
			.digest = content->digest, .size = content->size};
		int r = content->piece_count == 0
				? -ENOENT
				: object_store_check(run->env->objects, &content->digest,
					  content->size, run->is_cancelled);

		if (r == -ENOENT)
			continue;
		check->checked++;
		if (r == -EIO)
			r = drop_unreadable(check, &content->digest) < 0 ? -EIO
									 : -EBADMSG;
		if (r == -EBADMSG)
			r = note_damaged(check, &object);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_damaged(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

static bool is_damaged(const struct check *check, const struct digest *digest)
{
	const struct damaged key = {.digest = *digest};

	return bsearch(&key, check->damaged, check->count, sizeof(key), compare_damaged);
}

/* The path of the first file that has a content. */
static int path_of(const struct catalog *c, uint32_t content, char *out, size_t size)
{
	for (uint32_t i = 0; i < c->entry_count; i++)
		if (catalog_content_of(c, catalog_entry(c, i)) == &c->contents[content])
			return catalog_path_of(c, i, out, size);
	return -ENOENT;
}

static int record_repair(struct check *check, const struct catalog *c, uint32_t content)
{
	char path[PATH_MAX];
	const struct change_side side = {.is_set = true,
		.digest = c->contents[content].digest,
		.bytes = c->contents[content].size};
	const struct change_record change = {
		.path = path, .what = CHANGE_REPAIRED, .before = side, .after = side};

	if (path_of(c, content, path, sizeof(path)) < 0)
		return 0;
	job_log_print(check->run->log, "damaged on disk, fetched again: %s", path);
	return state_db_changes_add(
		check->run->env->state, check->run->record->id, &change, 1);
}

static int repair_catalog(void *arg, const struct catalog_place *place)
{
	struct check *check = arg;
	struct catalog *c = place->catalog;
	struct fetch_task *task = NULL;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < c->content_count; i++) {
		if (!is_damaged(check, &c->contents[i].digest))
			continue;
		if (!task) {
			task = mem_calloc(1, sizeof(*task));
			if (!task)
				return -ENOMEM;
			catalog_ref(c);
			task->catalog = c;
			task->contents =
				mem_calloc(c->content_count, sizeof(*task->contents));
			if (!task->contents)
				r = -ENOMEM;
		}
		if (r == 0) {
			task->contents[task->count++] = i;
			r = record_repair(check, c, i);
		}
	}
	if (r < 0) {
		fetch_task_free(task);
		return r;
	}
	return task ? fetch_tasks_add(check->tasks, task) : 0;
}

static void note_failed(
	void *arg, const struct catalog *catalog, uint32_t content, int error)
{
	struct check *check = arg;
	char reason[FETCH_REASON_SIZE];
	char path[PATH_MAX] = "?";

	check->run->record->counts.skipped++;
	(void)path_of(catalog, content, path, sizeof(path));
	fetch_reasons_text(&check->run->reasons, error, reason);
	const struct skipped_record skipped = {.path = path, .reason = reason};

	if (check->recorded < SKIPPED_MAX &&
		state_db_skipped_add(
			check->run->env->state, check->run->record->id, &skipped, 1) == 0)
		check->recorded++;
	job_log_print(check->run->log, "cannot be repaired yet: %s: %s", path, reason);
}

static int repair(struct check *check)
{
	struct run *run = check->run;
	const struct fetch_tasks_config config = {.store = run->env->contents,
		.is_cancelled = run->is_cancelled,
		.progress = &run->progress->fetch,
		.on_failed = note_failed,
		.arg = check};

	if (check->count == 0)
		return 0;
	qsort(check->damaged, check->count, sizeof(*check->damaged), compare_damaged);
	int r = fetch_tasks_start(&config, &check->tasks);

	if (r < 0)
		return r;
	r = walk_view(check, repair_catalog);
	int finished = fetch_tasks_finish(check->tasks);

	return r < 0 ? r : finished;
}

static int sweep(struct check *check)
{
	struct run *run = check->run;
	int r = walk_view(check, have_catalog);

	if (r == 0)
		r = remove_unnamed(run);
	if (r == 0)
		r = walk_view(check, check_sizes);
	if (r == 0 && run->record->is_deep)
		r = object_store_list(
			run->env->objects, run->is_cancelled, check_object, check);
	if (r == 0)
		r = repair(check);
	job_log_print(run->log, "checked %" PRIu64 " contents, %zu were damaged",
		check->checked, check->count);
	return r;
}

int run_sweep(struct run *run)
{
	struct check check = {.run = run};
	const struct catalog_loader_config config = {.catalogs = run->env->catalogs,
		.source = run->env->source,
		.is_cancelled = run->is_cancelled,
		.timeout_ns = run->env->timeout_ns};
	char reason[FETCH_REASON_SIZE];
	int r = catalog_loader_new(&config, &check.loader);

	if (r == 0)
		r = sweep(&check);
	catalog_loader_free(check.loader);
	free(check.damaged);
	if (r == 0 || r == -ECANCELED)
		return r;
	fetch_reasons_text(&run->reasons, r, reason);
	return run_note_error(run, r,
		"the view is the master's, but the disk was not gone through: %s",
		reason);
}
