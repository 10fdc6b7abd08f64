/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Random trees, selections and modes, one sync after the other on the same view; after each the
 * view, read path by path, must be what a naive model makes of lists of paths.
 */
#include "tests/sync/reconcile/model.h"

#include "cache/base/log.h"
#include "sync/reconcile/plan/plan.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state_of_dice;

static unsigned int dice(unsigned int sides)
{
	state_of_dice = state_of_dice * UINT64_C(6364136223846793005) +
			UINT64_C(1442695040888963407);
	return (unsigned int)(state_of_dice >> 33) % sides;
}

/* A path of up to four short names. */
static void random_path(char *out)
{
	unsigned int depth = 1 + dice(4);
	size_t at = 0;

	for (unsigned int i = 0; i < depth; i++) {
		if (i)
			out[at++] = '/';
		out[at++] = (char)('a' + dice(3));
		if (dice(6) == 0)
			out[at++] = "-x."[dice(3)];
	}
	out[at] = '\0';
}

/* Puts something at a random place, unless a file is in the way (then that goes). */
static void mutate(struct model *m)
{
	struct model_entry e = {.kind = (enum model_kind)dice(4)};

	random_path(e.path);
	for (char *slash = e.path; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		struct model_entry *above = model_find(m, e.path);

		if (above && !model_is_dir(above))
			model_remove(m, e.path);
		*slash = '/';
	}
	struct model_entry *old = model_find(m, e.path);

	if (dice(3) == 0) {
		model_remove(m, e.path);
		return;
	}
	if (dice(8) == 0)
		e.mtime = dice(3);
	if (e.kind == MODEL_FILE && dice(5))
		(void)snprintf(e.content, sizeof(e.content), "%u", dice(6));
	if (e.kind == MODEL_LINK)
		(void)snprintf(e.content, sizeof(e.content), "to-%u", dice(3));
	if (old && model_is_dir(old) != model_is_dir(&e))
		model_remove(m, e.path);
	model_set(m, &e);
}

struct rule {
	const char *globs[3];
	size_t count;
	enum plan_mode mode;
};

static struct rule random_rule(void)
{
	static const char *const globs[] = {"a", "b", "*", "a/*", "*/b", "*/*", "a/b",
		"*/*/*", "c/[ab]", "/b/", "*/a/?", "a*", "b/*/c", "*/*/*/a"};
	struct rule rule = {.mode = dice(2) ? PLAN_FULL : PLAN_INCREMENTAL};

	if (dice(3))
		while (rule.count < 1 + dice(2))
			rule.globs[rule.count++] = globs[dice(ARRAY_SIZE(globs))];
	return rule;
}

static bool is_package(const struct model *m, const char *path)
{
	const struct model_entry *e = model_find(m, path);

	return e && e->kind == MODEL_PACKAGE;
}

static bool fits(const struct rule *rule, const char *path)
{
	for (size_t i = 0; i < rule->count; i++) {
		char glob[32];
		const char *start = rule->globs[i] + (rule->globs[i][0] == '/');

		(void)snprintf(glob, sizeof(glob), "%s", start);
		if (glob[strlen(glob) - 1] == '/')
			glob[strlen(glob) - 1] = '\0';
		if (fnmatch(glob, path, FNM_PATHNAME) == 0)
			return true;
	}
	return false;
}

static bool is_selected(const struct rule *rule, const struct model *old,
	const struct model *new, const char *path)
{
	char above[MODEL_TEXT_MAX];

	if (rule->count == 0)
		return true;
	(void)snprintf(above, sizeof(above), "%s", path);
	for (;;) {
		if ((is_package(old, above) || is_package(new, above)) &&
			fits(rule, above))
			return true;
		char *slash = strrchr(above, '/');

		if (!slash)
			return false;
		*slash = '\0';
	}
}

static bool has_selected_below(const struct rule *rule, const struct model *old,
	const struct model *new, const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < new->count; i++) {
		const char *below = new->entries[i].path;

		if (strncmp(below, path, len) == 0 && below[len] == '/' &&
			is_selected(rule, old, new, below))
			return true;
	}
	return false;
}

/* What is at this path after the sync, by the table in docs/reconciler.md; false: nothing. */
static bool decide(const struct rule *rule, const struct model *old,
	const struct model *new, const char *path, struct model_entry *out)
{
	const struct model_entry *o = model_find(old, path);
	const struct model_entry *n = model_find(new, path);
	bool selected = is_selected(rule, old, new, path);

	if (selected && n) {
		*out = *n;
		return true;
	}
	if (selected) {
		*out = *o;
		out->is_stale = true;
		return rule->mode == PLAN_INCREMENTAL;
	}
	if (model_is_dir(n) && !model_is_dir(o) &&
		has_selected_below(rule, old, new, path)) {
		*out = *n;
		return true;
	}
	if (o)
		*out = *o;
	/* on the way to what the master has */
	if (model_is_dir(o) && model_is_dir(n) &&
		has_selected_below(rule, old, new, path))
		out->is_stale = false;
	return o;
}

/* Whether all above it is there, as directories. */
static bool has_place(const struct rule *rule, const struct model *old,
	const struct model *new, const char *path)
{
	char above[MODEL_TEXT_MAX];
	struct model_entry dir;

	(void)snprintf(above, sizeof(above), "%s", path);
	for (char *slash; (slash = strrchr(above, '/'));) {
		*slash = '\0';
		if (!decide(rule, old, new, above, &dir) || !model_is_dir(&dir))
			return false;
	}
	return true;
}

static void apply(const struct rule *rule, const struct model *old,
	const struct model *new, struct model *out)
{
	*out = (struct model){0};
	for (int side = 0; side < 2; side++) {
		const struct model *m = side ? new : old;

		for (size_t i = 0; i < m->count; i++) {
			const char *path = m->entries[i].path;
			struct model_entry e;

			if (has_place(rule, old, new, path) &&
				decide(rule, old, new, path, &e))
				model_set(out, &e);
		}
	}
}

struct counts {
	uint64_t added, changed, revived, stale, removed, entries;
};

static bool is_same(const struct model_entry *a, const struct model_entry *b)
{
	return model_is_dir(a) == model_is_dir(b) &&
	       (model_is_dir(a) || a->kind == b->kind) && a->mtime == b->mtime &&
	       strcmp(a->content, b->content) == 0;
}

static struct counts count(const struct model *old, const struct model *shown)
{
	struct counts n = {.entries = shown->count + 1};

	for (size_t i = 0; i < shown->count; i++) {
		const struct model_entry *e = &shown->entries[i];
		const struct model_entry *o = model_find(old, e->path);

		if (!o)
			n.added++;
		else if (e->is_stale)
			n.stale += !o->is_stale;
		else if (!is_same(o, e))
			n.changed++;
		else
			n.revived += o->is_stale;
	}
	for (size_t i = 0; i < old->count; i++)
		n.removed += !model_find(shown, old->entries[i].path);
	return n;
}

static void assert_alike(const struct model *expected, const struct model *found)
{
	char *a = model_text(expected, false);
	char *b = model_text(found, false);

	assert_string_equal(a, b);
	free(a);
	free(b);
}

static void assert_totals(const struct plan *plan, const struct counts *n)
{
	const struct plan_totals *t = plan_totals(plan);
	uint64_t listed[5] = {0};

	assert_int_equal(t->entries_after, n->entries);
	assert_int_equal(t->added, n->added);
	assert_int_equal(t->changed, n->changed);
	assert_int_equal(t->revived, n->revived);
	assert_int_equal(t->stale, n->stale);
	assert_int_equal(t->removed, n->removed);
	assert_int_equal(t->missing_packages, 0);
	for (size_t i = 0; i < plan_change_count(plan); i++)
		listed[plan_change(plan, i)->what]++;
	assert_int_equal(listed[PLAN_ADDED], n->added);
	assert_int_equal(listed[PLAN_CHANGED], n->changed);
	assert_int_equal(listed[PLAN_STALE], n->stale);
	assert_int_equal(listed[PLAN_REMOVED], n->removed);
}

static bool has_stale(const struct model *m)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->entries[i].is_stale)
			return true;
	return false;
}

struct life {
	struct scratch scratch;
	struct catalog_store *store;
	struct plan_side shown;
	struct model view; /* as it was read, so with the boundaries that it has */
	struct model master;
	uint64_t revision;
};

static struct plan *make(
	struct life *life, const struct rule *rule, const struct catalog_ref *new_root)
{
	struct plan_config config = {.catalogs = life->store,
		.timeout_ns = 1,
		.old = life->shown,
		.new = {*new_root, life->revision},
		.mode = rule->mode,
		.globs = rule->globs,
		.glob_count = rule->count};
	struct plan *plan;

	assert_int_equal(plan_make(&config, &plan), 0);
	return plan;
}

static void sync_once(struct life *life, const struct rule *rule)
{
	struct model_catalogs catalogs;
	struct model expected;
	struct model found;

	life->revision++;
	model_build(&life->master, &catalogs);
	model_keep(&catalogs, life->store);
	apply(rule, &life->view, &life->master, &expected);
	struct plan *plan = make(life, rule, &catalogs.root);
	struct counts n = count(&life->view, &expected);

	assert_int_equal(plan_totals(plan)->entries_before, life->view.count + 1);
	assert_int_equal(plan_commit(plan), 0);
	life->shown = (struct plan_side){plan_root(plan), plan_revision(plan)};
	model_read(&found, life->store, &life->shown.root);
	assert_alike(&expected, &found);
	assert_totals(plan, &n);
	if (rule->count == 0 && !has_stale(&expected)) {
		assert_true(
			digest_equal(&life->shown.root.digest, &catalogs.root.digest));
		assert_int_equal(plan_totals(plan)->composed_catalogs, 0);
	}
	plan_free(plan);
	/* once more there is nothing to do */
	plan = make(life, rule, &catalogs.root);
	assert_int_equal(plan_change_count(plan), 0);
	assert_int_equal(plan_package_count(plan), 0);
	assert_true(plan_is_empty(plan));
	plan_free(plan);
	model_release(&life->view);
	life->view = found;
	model_release(&expected);
	model_catalogs_release(&catalogs);
}

static void begin(struct life *life)
{
	struct model_catalogs catalogs;

	*life = (struct life){.revision = 1};
	scratch_make(&life->scratch);
	assert_int_equal(catalog_store_open(life->scratch.fd, &life->store), 0);
	for (unsigned int i = dice(40); i; i--)
		mutate(&life->master);
	model_build(&life->master, &catalogs);
	model_keep(&catalogs, life->store);
	model_copy(&life->view, &life->master);
	life->shown = (struct plan_side){catalogs.root, 1};
	model_catalogs_release(&catalogs);
}

static void end(struct life *life)
{
	model_release(&life->view);
	model_release(&life->master);
	catalog_store_free(life->store);
	scratch_remove(&life->scratch);
}

static void a_view_is_what_the_naive_model_says(void **state)
{
	const char *seed = getenv("DEPOTFS_TEST_SEED");
	unsigned int lives = seed ? 1 : 60;

	(void)state;
	for (unsigned int i = 0; i < lives; i++) {
		struct life life;

		state_of_dice = seed ? strtoull(seed, NULL, 10) : i;
		begin(&life);
		for (unsigned int k = 0; k < 8; k++) {
			struct rule rule = random_rule();

			for (unsigned int changes = dice(12); changes; changes--)
				mutate(&life.master);
			print_message("life %u, sync %u\n", i, k);
			sync_once(&life, &rule);
		}
		end(&life);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_view_is_what_the_naive_model_says),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
