/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/upkeep/upkeep_task.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/below.h"
#include "cache/content/content_verify.h"
#include "cache/content/fetch/reasons.h"
#include "cache/objects/partial_files.h"
#include "cache/reference_set.h"
#include "sync/reconcile/plan/catalog_loader.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

struct work {
	struct upkeep_task *task;
	const struct upkeep_config *config;
	struct catalog_loader *loader;
	struct reference_set *pinned; /* evict only; may be NULL */
	struct catalog *catalog;      /* being prefetched */
	struct fetch_reasons reasons;
};

void upkeep_task_free(struct upkeep_task *task)
{
	pins_free_copy(task->paths, task->path_count);
	pins_free_copy(task->named, task->named_count);
	mutex_release(&task->lock);
	free(task);
}

static void say(struct upkeep_task *task, const char *format, ...) PRINTF_LIKE(2, 3);

/* The first complaint stays. */
static void say(struct upkeep_task *task, const char *format, ...)
{
	va_list args;

	mutex_lock(&task->lock);
	if (!task->message[0]) {
		va_start(args, format);
		(void)vsnprintf(task->message, sizeof(task->message), format, args);
		va_end(args);
	}
	mutex_unlock(&task->lock);
}

/* Names a content by the first file of the catalog that has it. */
static void name_content(
	struct upkeep_task *task, const struct catalog *c, uint32_t content)
{
	char path[PATH_MAX];

	for (uint32_t i = 0; i < c->entry_count; i++) {
		const struct catalog_content *of =
			catalog_content_of(c, catalog_entry(c, i));

		if (of != &c->contents[content])
			continue;
		if (catalog_path_of(c, i, path, sizeof(path)) < 0)
			return;
		mutex_lock(&task->lock);
		char *copy =
			task->named_count < UPKEEP_NAMED_MAX ? mem_strdup(path) : NULL;

		if (copy && mem_grow((void **)&task->named, &task->named_capacity,
				    task->named_count, sizeof(*task->named)) == 0)
			task->named[task->named_count++] = copy;
		else
			free(copy);
		mutex_unlock(&task->lock);
		return;
	}
}

static int get_here(void *arg, const struct catalog_ref *ref, struct catalog **out)
{
	const struct work *work = arg;

	return catalog_store_get(work->config->catalogs, ref, out);
}

static int get_anywhere(void *arg, const struct catalog_ref *ref, struct catalog **out)
{
	const struct work *work = arg;
	char reason[FETCH_REASON_SIZE];
	int r = catalog_loader_get(work->loader, ref, out);

	if (r >= 0 || r == -ECANCELED || r == -ENOMEM)
		return r;
	fetch_reasons_text(&work->reasons, r, reason);
	say(work->task, "a catalog cannot be had: %s", reason);
	return -ENOENT;
}

static void want_soon(void *arg, const struct catalog_ref *ref)
{
	const struct work *work = arg;

	/* what cannot be queued is fetched when it is asked for */
	(void)!catalog_loader_want(work->loader, ref);
}

static int add_up(
	void *arg, struct catalog *catalog, const uint32_t *contents, size_t count)
{
	const struct work *work = arg;

	atomic_fetch_add(&work->task->bytes_total,
		prefetch_missing_bytes(work->config->contents, catalog, contents, count));
	return 0;
}

static void note_failed(void *arg, uint32_t content, int error)
{
	const struct work *work = arg;
	char reason[FETCH_REASON_SIZE];

	name_content(work->task, work->catalog, content);
	fetch_reasons_text(&work->reasons, error, reason);
	say(work->task, "not everything could be fetched: %s", reason);
}

static int fetch(
	void *arg, struct catalog *catalog, const uint32_t *contents, size_t count)
{
	struct work *work = arg;
	struct prefetch_config config = {.store = work->config->contents,
		.catalog = catalog,
		.contents = contents,
		.count = count,
		.is_cancelled = &work->task->is_cancelled,
		.progress = &work->task->progress,
		.on_failed = note_failed,
		.arg = work};

	work->catalog = catalog;
	atomic_fetch_add(&work->task->looked_at, count);
	return prefetch_run(&config);
}

static int evict_one(struct work *work, const struct digest *digest)
{
	const struct upkeep_config *config = work->config;
	uint64_t bytes = 0;

	if (work->pinned &&
		reference_set_content(work->pinned, digest) != REFERENCE_NONE) {
		atomic_fetch_add(&work->task->kept, 1);
		return 0;
	}
	int r = object_store_remove(config->objects, digest, &bytes);

	/* one that is open is being filled, and written to */
	if (r == -ENOENT && !content_is_open(config->contents, digest))
		r = partial_file_remove(config->cache_dirfd,
			object_store_usage(config->objects), digest, &bytes);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	atomic_fetch_add(&work->task->removed, 1);
	atomic_fetch_add(&work->task->removed_bytes, bytes);
	return 0;
}

static int evict(
	void *arg, struct catalog *catalog, const uint32_t *contents, size_t count)
{
	struct work *work = arg;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		atomic_fetch_add(&work->task->looked_at, 1);
		r = atomic_load(&work->task->is_cancelled)
			    ? -ECANCELED
			    : evict_one(work, &catalog->contents[contents[i]].digest);
	}
	return r;
}

static int verify(
	void *arg, struct catalog *catalog, const uint32_t *contents, size_t count)
{
	struct work *work = arg;
	struct upkeep_task *task = work->task;

	for (size_t i = 0; i < count; i++) {
		int r = content_verify(work->config->contents, catalog,
			&catalog->contents[contents[i]], task->is_deep,
			&task->is_cancelled);

		atomic_fetch_add(&task->looked_at, r != -ENOENT);
		if (r == -EBADMSG) {
			atomic_fetch_add(&task->damaged, 1);
			name_content(task, catalog, contents[i]);
		} else if (r < 0 && r != -ENOENT) {
			return r;
		}
	}
	return 0;
}

static int walk(struct work *work, const struct catalog_ref *root, const char *path,
	int (*visit)(void *, struct catalog *, const uint32_t *, size_t))
{
	struct below below = {.root = *root,
		.get = work->loader ? get_anywhere : get_here,
		.soon = work->loader ? want_soon : NULL,
		.visit = visit,
		.is_cancelled = &work->task->is_cancelled,
		.arg = work};
	int r = below_walk(&below, path);

	atomic_fetch_add(&work->task->missing_catalogs, below.missing);
	return r;
}

static int run_path(struct work *work, const struct catalog_ref *root, const char *path)
{
	switch (work->task->kind) {
	case UPKEEP_EVICT:
		return walk(work, root, path, evict);
	case UPKEEP_VERIFY:
		return walk(work, root, path, verify);
	case UPKEEP_PIN:
	case UPKEEP_PREFETCH:
		break;
	}
	/* first what there is to fetch, so that whoever waits sees how far it is */
	int r = walk(work, root, path, add_up);

	atomic_store(&work->task->missing_catalogs, 0);
	if (work->task->kind == UPKEEP_PIN && (r == 0 || r == -EAGAIN)) {
		int pinned = pins_add(work->config->pins, path);

		if (pinned < 0)
			return pinned;
	}
	return r == 0 ? walk(work, root, path, fetch) : r;
}

static int prepare(struct work *work, const struct catalog_ref *root)
{
	const struct upkeep_config *config = work->config;
	struct catalog_loader_config loader = {.catalogs = config->catalogs,
		.source = config->source,
		.is_cancelled = &work->task->is_cancelled,
		.timeout_ns = config->timeout_ns};

	if (work->task->kind == UPKEEP_EVICT && !work->task->is_forced &&
		!pins_are_none(config->pins))
		return judge_pinned_contents(
			config->catalogs, config->pins, root, &work->pinned);
	if (work->task->kind == UPKEEP_PIN || work->task->kind == UPKEEP_PREFETCH)
		return catalog_loader_new(&loader, &work->loader);
	return 0;
}

static void settle(const struct work *work, int r, const char *path)
{
	struct upkeep_task *task = work->task;
	char reason[FETCH_REASON_SIZE];

	if (r == -ECANCELED) {
		atomic_store(&task->state, UPKEEP_CANCELLED);
		return;
	}
	if (r == -ENOENT || r == -ENOTDIR)
		say(task, "there is no %s", path);
	else if (r == -EAGAIN)
		say(task, "a catalog on the way to %s is not here", path);
	else if (r < 0) {
		fetch_reasons_text(&work->reasons, r, reason);
		say(task, "%s: %s", *path ? path : "/", reason);
	}
	bool is_short =
		r < 0 || atomic_load(&task->progress.contents_failed) ||
		(task->kind <= UPKEEP_PREFETCH && atomic_load(&task->missing_catalogs));

	atomic_store(&task->state, is_short ? UPKEEP_FAILED : UPKEEP_DONE);
}

void upkeep_task_run(struct upkeep_task *task, const struct upkeep_config *config)
{
	struct work work = {.task = task, .config = config};
	struct catalog_ref roots[JUDGE_ROOTS_MAX];
	const char *path = "";

	fetch_reasons_begin(&work.reasons, config->source, config->objects);
	atomic_store(&task->state, UPKEEP_RUNNING);
	int r = config->roots(config->arg, roots) ? prepare(&work, &roots[0]) : -ENODATA;

	for (size_t i = 0; i < task->path_count && r == 0; i++) {
		path = task->paths[i];
		r = atomic_load(&task->is_cancelled) ? -ECANCELED
						     : run_path(&work, &roots[0], path);
	}
	if (work.loader)
		catalog_loader_free(work.loader);
	reference_set_free(work.pinned);
	settle(&work, r, path);
}
