/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/reconcile/model.h"

#include "cache/base/clock.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/thread.h"
#include "sync/reconcile/catalog_loader.h"
#include "sync/reconcile/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct scratch scratch;
static struct catalog_store *store;

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	assert_int_equal(catalog_store_open(scratch.fd, &store), 0);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	catalog_store_free(store);
	scratch_remove(&scratch);
	return 0;
}

static void build(const char *text, struct model_catalogs *out)
{
	struct model m;

	model_parse(&m, text);
	model_build(&m, out);
	model_release(&m);
}

static struct catalog_ref keep(const char *text)
{
	struct model_catalogs c;

	build(text, &c);
	model_keep(&c, store);
	struct catalog_ref root = c.root;

	model_catalogs_release(&c);
	return root;
}

static struct plan_config config_of(const struct catalog_ref *old,
	const struct catalog_ref *new, enum plan_mode mode, const char *const *globs,
	size_t count)
{
	return (struct plan_config){.catalogs = store,
		.timeout_ns = 10 * NS_PER_SEC,
		.old = {*old, 5},
		.new = {*new, 6},
		.mode = mode,
		.globs = globs,
		.glob_count = count};
}

static struct plan *plan_of(const char *old, const char *new, enum plan_mode mode,
	const char *const *globs, size_t count)
{
	struct catalog_ref a = keep(old);
	struct catalog_ref b = keep(new);
	struct plan_config config = config_of(&a, &b, mode, globs, count);
	struct plan *plan;

	assert_int_equal(plan_make(&config, &plan), 0);
	return plan;
}

static char *shown_by(struct plan *plan)
{
	struct catalog_ref root = plan_root(plan);
	struct model m;

	assert_int_equal(plan_commit(plan), 0);
	model_read(&m, store, &root);
	char *text = model_text(&m, true);

	model_release(&m);
	return text;
}

struct example {
	const char *name;
	const char *old;
	const char *new;
	const char *glob; /* NULL: everything */
	enum plan_mode mode;
	const char *shown;
};

static const struct example examples[] = {
	{"all of it, in full", "a// a/f=1 b//", "a// a/f=2 c//", NULL, PLAN_FULL,
		"a// a/f=2 c//"},
	{"a dropped package becomes stale", "a// a/f=1 b// b/f=1", "a// a/f=2", NULL,
		PLAN_INCREMENTAL, "a// a/f=2 b//! b/f=1!"},
	{"a dropped file becomes stale", "a// a/f=1 a/g=1", "a// a/f=2", NULL,
		PLAN_INCREMENTAL, "a// a/f=2 a/g=1!"},
	{"files at the root", "f=1 g=1 h=1", "f=2 h=1", NULL, PLAN_INCREMENTAL,
		"f=2 g=1! h=1"},
	{"two empty trees", "", "", NULL, PLAN_INCREMENTAL, ""},
	{"to an empty tree, kept", "a/ a/b// a/b/f=1 f=1", "", NULL, PLAN_INCREMENTAL,
		"a/! a/b//! a/b/f=1! f=1!"},
	{"to an empty tree, in full", "a/ a/b// a/b/f=1 f=1", "", NULL, PLAN_FULL, ""},
	{"from an empty tree", "", "a// a/f=1 f=1", NULL, PLAN_INCREMENTAL,
		"a// a/f=1 f=1"},
	{"a package becomes a directory", "a// a/f=1 a/g=1", "a/ a/f=1", NULL,
		PLAN_INCREMENTAL, "a/ a/f=1 a/g=1!"},
	{"a directory becomes a package", "a/ a/f=1 a/g=1", "a// a/f=1", NULL,
		PLAN_INCREMENTAL, "a// a/f=1 a/g=1!"},
	{"split otherwise", "a// a/b/ a/b/f=1 a/c// a/c/f=1", "a/ a/b// a/b/g=1 a/c/",
		NULL, PLAN_INCREMENTAL, "a/ a/b// a/b/f=1! a/b/g=1 a/c/ a/c/f=1!"},
	{"a directory becomes a file", "a/ a/b// a/b/f=1 c=1", "a=1 c=1", NULL,
		PLAN_INCREMENTAL, "a=1 c=1"},
	{"a file becomes a package", "a=1", "a// a/f=1", NULL, PLAN_INCREMENTAL,
		"a// a/f=1"},
	{"a package becomes a link", "a// a/f=1", "a@to", NULL, PLAN_INCREMENTAL, "a@to"},
	{"one package of two", "a// a/f=1 b// b/f=1", "a// a/f=2 b// b/f=2", "a",
		PLAN_FULL, "a// a/f=2 b// b/f=1"},
	{"one package of two, kept", "a// a/f=1 b// b/f=1", "a// a/g=2 b// b/g=2", "b",
		PLAN_INCREMENTAL, "a// a/f=1 b// b/f=1! b/g=2"},
	{"a new one in a new directory", "x=1", "n/~1 n/o/~2 n/o/p// n/o/p/f=1 n/q// x=2",
		"n/o/p", PLAN_FULL, "n/~1 n/o/~2 n/o/p// n/o/p/f=1 x=1"},
	{"a new one in a new package", "", "n// n/f=1 n/p// n/p/f=1", "n/p", PLAN_FULL,
		"n// n/p// n/p/f=1"},
	{"nothing selected in a new directory", "x=1", "n/ n/o/ n/o/p=1 x=2", "n/o/p",
		PLAN_FULL, "x=1"},
	{"a new one where a file was", "n=1", "n/ n/p// n/p/f=1", "n/p", PLAN_FULL,
		"n/ n/p// n/p/f=1"},
	{"a dropped one, in full", "n/ n/p// n/p/f=1 n/q//", "n/ n/q//", "n/*", PLAN_FULL,
		"n/ n/q//"},
	{"a dropped one, kept", "n/ n/p// n/p/f=1 n/q//", "n/ n/q//", "n/*",
		PLAN_INCREMENTAL, "n/ n/p//! n/p/f=1! n/q//"},
	{"a dropped one, not selected", "n/ n/p// n/p/f=1 n/q//", "n/ n/q//", "n/q",
		PLAN_FULL, "n/ n/p// n/p/f=1 n/q//"},
	{"what is nested in a selected one is selected", "a// a/b// a/b/f=1",
		"a// a/b// a/b/f=2", "a", PLAN_FULL, "a// a/b// a/b/f=2"},
	{"only what is nested is selected", "a// a/b// a/b/f=1 a/f=1",
		"a// a/b// a/b/f=2 a/f=2", "a/b", PLAN_FULL, "a// a/b// a/b/f=2 a/f=1"},
	{"no package by that name", "a// a/f=1", "a// a/f=2", "b", PLAN_FULL,
		"a// a/f=1"},
};

static void examples_come_out_as_they_should(void **state)
{
	unsigned int wrong = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		const struct example *x = &examples[i];
		struct plan *plan =
			plan_of(x->old, x->new, x->mode, &x->glob, x->glob != NULL);
		char *shown = shown_by(plan);

		if (strcmp(shown, x->shown) != 0) {
			print_message("%s: \"%s\" instead of \"%s\"\n", x->name, shown,
				x->shown);
			wrong++;
		}
		free(shown);
		plan_free(plan);
	}
	assert_int_equal(wrong, 0);
}

static void what_is_stale_stays_stale_until_the_master_has_it_again(void **state)
{
	struct catalog_ref roots[] = {keep("a// a/f=1 a/g=1 b// b/f=1"),
		keep("a// a/f=2"), keep("a// a/f=3"), keep("a// a/f=3 a/g=1 b// b/f=1")};
	static const char *const shown[] = {"a// a/f=2 a/g=1! b//! b/f=1!",
		"a// a/f=3 a/g=1! b//! b/f=1!", "a// a/f=3 a/g=1 b// b/f=1"};
	struct catalog_ref view = roots[0];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		struct plan_config config =
			config_of(&view, &roots[i + 1], PLAN_INCREMENTAL, NULL, 0);
		const struct plan_totals *t;
		struct plan *plan;

		assert_int_equal(plan_make(&config, &plan), 0);
		char *text = shown_by(plan);

		assert_string_equal(text, shown[i]);
		t = plan_totals(plan);
		assert_int_equal(t->stale, i == 0 ? 3 : 0);
		assert_int_equal(t->kept_stale, i == 1 ? 3 : 0);
		assert_int_equal(t->revived, i == 2 ? 3 : 0);
		view = plan_root(plan);
		free(text);
		plan_free(plan);
	}
	/* nothing is left of what was composed */
	assert_true(digest_equal(&view.digest, &roots[3].digest));
}

static const struct plan_change *change_of(const struct plan *plan, const char *path)
{
	for (size_t i = 0; i < plan_change_count(plan); i++)
		if (strcmp(plan_change(plan, i)->path, path) == 0)
			return plan_change(plan, i);
	fail_msg("%s is not listed", path);
	return NULL;
}

static void a_plan_tells_every_change(void **state)
{
	struct plan *plan = plan_of("p// p/added-below// p/f=1 p/gone=333 p/same=1 q//",
		"p// p/f=22 p/meta@x p/new=4444 p/same=1~9 r// r/f=1", PLAN_FULL, NULL,
		0);
	const struct plan_change *c = change_of(plan, "p/f");
	struct digest digest;

	(void)state;
	assert_int_equal(c->what, PLAN_CHANGED);
	assert_false(c->is_metadata_only);
	assert_int_equal(c->old_size, 1);
	assert_int_equal(c->new_size, 2);
	assert_int_equal(c->new_mode, S_IFREG | 0644);
	assert_int_equal(digest_of("1", 1, &digest), 0);
	assert_true(digest_equal(c->old_digest, &digest));
	assert_int_equal(digest_of("22", 2, &digest), 0);
	assert_true(digest_equal(c->new_digest, &digest));
	assert_string_equal(plan_package(plan, c->package)->path, "p");
	c = change_of(plan, "p/same");
	assert_int_equal(c->what, PLAN_CHANGED);
	assert_true(c->is_metadata_only);
	c = change_of(plan, "p/gone");
	assert_int_equal(c->what, PLAN_REMOVED);
	assert_int_equal(c->new_mode, 0);
	assert_null(c->new_digest);
	assert_int_equal(c->old_size, 3);
	c = change_of(plan, "p/meta");
	assert_int_equal(c->what, PLAN_ADDED);
	assert_int_equal(c->old_mode, 0);
	assert_null(c->new_digest);
	assert_int_equal(change_of(plan, "q")->what, PLAN_REMOVED);
	assert_int_equal(change_of(plan, "r/f")->what, PLAN_ADDED);
	assert_string_equal(
		plan_package(plan, change_of(plan, "r/f")->package)->path, "r");
	assert_int_equal(plan_change_count(plan), 9);
	const struct plan_totals *t = plan_totals(plan);

	assert_int_equal(t->added, 4);
	assert_int_equal(t->changed, 2);
	assert_int_equal(t->removed, 3);
	assert_int_equal(t->bytes_new, 2 + 4 + 1);
	plan_free(plan);
}

static const struct plan_package *package_of(const struct plan *plan, const char *path)
{
	for (size_t i = 0; i < plan_package_count(plan); i++)
		if (strcmp(plan_package(plan, i)->path, path) == 0)
			return plan_package(plan, i);
	return NULL;
}

static void packages_name_the_catalogs_of_both_sides_and_of_the_view(void **state)
{
	struct plan *plan = plan_of("a// a/f=1 b// b/f=1 c// c/f=1 same// same/f=1",
		"a// a/g=1 b// b/f=2 n// n/f=1 same// same/f=1", PLAN_INCREMENTAL, NULL,
		0);
	const struct plan_package *p = package_of(plan, "a");
	struct catalog *c;

	(void)state;
	assert_true(p && p->has_old && p->has_new && p->has_shown);
	assert_int_equal(p->added, 1);
	assert_int_equal(p->stale, 1);
	assert_int_equal(p->bytes_new, 1);
	assert_false(digest_equal(&p->shown.digest, &p->new.digest));
	assert_false(catalog_store_has(store, &p->shown.digest));
	assert_int_equal(plan_commit(plan), 0);
	assert_int_equal(catalog_store_get(store, &p->shown, &c), 0);
	assert_true(catalog_is_composed(c));
	catalog_close(c);
	p = package_of(plan, "b");
	assert_true(p && p->has_old && p->has_new && p->has_shown);
	assert_true(digest_equal(&p->shown.digest, &p->new.digest));
	p = package_of(plan, "c");
	assert_true(p && p->has_old && !p->has_new && p->has_shown);
	assert_true(digest_equal(&p->shown.digest, &p->old.digest));
	p = package_of(plan, "n");
	assert_true(p && !p->has_old && p->has_new && p->has_shown);
	assert_null(package_of(plan, "same"));
	assert_int_equal(plan_totals(plan)->unchanged_packages, 1);
	assert_int_equal(plan_totals(plan)->composed_catalogs, 2);
	plan_free(plan);
}

static uint64_t local_of(const struct catalog *c, const char *name)
{
	uint32_t i = catalog_lookup(c, CATALOG_ROOT, name, strlen(name));

	assert_int_not_equal(i, CATALOG_NO_ENTRY);
	return c->local[catalog_entry(c, i)->first].revision;
}

static void packages_keep_the_revision_that_they_came_from(void **state)
{
	static const char *const a[] = {"a"};
	struct catalog_ref old = keep("a// a/f=1 b// b/f=1 s// s/f=1");
	struct catalog_ref new = keep("a// a/f=2 b// b/f=2");
	struct plan_config config = config_of(&old, &new, PLAN_INCREMENTAL, a, 1);
	struct plan *plan;
	struct catalog *c;

	(void)state;
	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_revision(plan), 5);
	assert_int_equal(plan_commit(plan), 0);
	struct catalog_ref view = plan_root(plan);

	assert_int_equal(catalog_store_get(store, &view, &c), 0);
	assert_int_equal(local_of(c, "a"), 6);
	assert_int_equal(local_of(c, "b"), 0);
	catalog_close(c);
	plan_free(plan);
	/* now everything: what is stale says that it is of before */
	config = config_of(&view, &new, PLAN_INCREMENTAL, NULL, 0);
	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_revision(plan), 6);
	assert_int_equal(plan_commit(plan), 0);
	view = plan_root(plan);
	assert_int_equal(catalog_store_get(store, &view, &c), 0);
	assert_int_equal(local_of(c, "a"), 0);
	assert_int_equal(local_of(c, "b"), 0);
	assert_int_equal(local_of(c, "s"), 5);
	catalog_close(c);
	plan_free(plan);
}

/* `count` packages p0.. with a file of this content each; of number `odd` with another. */
static char *many(unsigned int count, unsigned int odd, const char *content)
{
	char *text = malloc((size_t)count * 40 + 1);
	size_t at = 0;

	assert_non_null(text);
	text[0] = '\0';
	for (unsigned int i = 0; i < count; i++)
		at += (size_t)sprintf(text + at, "g%u/p%u// g%u/p%u/f=%s ", i / 100, i,
			i / 100, i, i == odd ? "77" : content);
	return text;
}

static void unchanged_packages_are_not_opened(void **state)
{
	struct fake_source *fake = fake_source_new();
	struct model_catalogs old;
	struct model_catalogs new;
	char *old_text = many(1000, 1000, "1");
	char *new_text = many(1000, 500, "1");
	struct plan *plan;

	(void)state;
	build(old_text, &old);
	build(new_text, &new);
	model_serve(&old, fake);
	model_serve(&new, fake);
	struct plan_config config =
		config_of(&old.root, &new.root, PLAN_INCREMENTAL, NULL, 0);

	config.source = fake_source_of(fake);
	assert_int_equal(plan_make(&config, &plan), 0);
	/* two roots and both sides of what has changed */
	assert_int_equal(fake_source_count_catalogs(fake), 4);
	assert_int_equal(plan_totals(plan)->unchanged_packages, 999);
	assert_int_equal(plan_change_count(plan), 1);
	plan_free(plan);
	fake_source_free(fake);
	model_catalogs_release(&old);
	model_catalogs_release(&new);
	free(old_text);
	free(new_text);
}

struct making {
	struct plan_config config;
	struct plan *plan;
	int error;
};

static void *make_plan(void *arg)
{
	struct making *m = arg;

	m->error = plan_make(&m->config, &m->plan);
	return NULL;
}

/* Each in a package of its own, so that a walk comes to them one after the other. */
static char *many_alone(unsigned int count, const char *content)
{
	char *text = malloc((size_t)count * 40 + 1);
	size_t at = 0;

	assert_non_null(text);
	for (unsigned int i = 0; i < count; i++)
		at += (size_t)sprintf(
			text + at, "g%u// g%u/p// g%u/p/f=%s ", i, i, i, content);
	return text;
}

static void keep_short_paths(const struct model_catalogs *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct catalog *opened = built_open(c->built[i]);
		struct catalog *kept;

		if (!memchr(opened->path, '/', opened->path_length)) {
			assert_int_equal(catalog_store_put(store, &c->built[i]->ref,
						 c->built[i]->data, &kept),
				0);
			catalog_close(kept);
		}
		catalog_close(opened);
	}
}

static void changed_packages_are_fetched_many_at_once(void **state)
{
	struct fake_source *fake = fake_source_new();
	struct model_catalogs old;
	struct model_catalogs new;
	char *old_text = many_alone(60, "1");
	char *new_text = many_alone(60, "2");
	pthread_t thread;

	(void)state;
	build(old_text, &old);
	build(new_text, &new);
	keep_short_paths(&old);
	keep_short_paths(&new);
	model_serve(&old, fake);
	model_serve(&new, fake);
	struct making m = {.config = config_of(&old.root, &new.root, PLAN_FULL, NULL, 0)};

	m.config.source = fake_source_of(fake);
	fake_source_hold(fake);
	assert_int_equal(thread_start(&thread, "plan", make_plan, &m), 0);
	bool is_wide = fake_source_wait_held(fake, CATALOG_LOADER_WINDOW);

	fake_source_release(fake);
	pthread_join(thread, NULL);
	assert_true(is_wide);
	assert_int_equal(m.error, 0);
	assert_int_equal(fake_source_count_catalogs(fake), 120);
	assert_int_equal(plan_totals(m.plan)->changed, 60);
	struct catalog_ref root = plan_root(m.plan);

	assert_true(digest_equal(&root.digest, &new.root.digest));
	plan_free(m.plan);
	fake_source_free(fake);
	model_catalogs_release(&old);
	model_catalogs_release(&new);
	free(old_text);
	free(new_text);
}

/* Keeps a tree's catalogs but for those whose path is this. */
static struct catalog_ref keep_without(const char *text, const char *path)
{
	struct model_catalogs c;
	struct catalog_ref root;

	build(text, &c);
	root = c.root;
	for (size_t i = 0; i < c.count; i++) {
		struct catalog *opened = built_open(c.built[i]);
		struct catalog *kept;

		if (opened->path_length != strlen(path) ||
			memcmp(opened->path, path, strlen(path)) != 0) {
			assert_int_equal(catalog_store_put(store, &c.built[i]->ref,
						 c.built[i]->data, &kept),
				0);
			catalog_close(kept);
		}
		catalog_close(opened);
	}
	model_catalogs_release(&c);
	return root;
}

static void an_old_catalog_that_is_gone_is_passed_over(void **state)
{
	struct catalog_ref old = keep_without("a// a/f=1 a/g=1 b// b/f=1", "a");
	struct catalog_ref new = keep("a// a/f=2 b// b/f=1");
	struct plan_config config = config_of(&old, &new, PLAN_INCREMENTAL, NULL, 0);
	struct plan *plan;

	(void)state;
	assert_int_equal(plan_make(&config, &plan), 0);
	char *shown = shown_by(plan);

	assert_string_equal(shown, "a// a/f=2 b// b/f=1");
	assert_int_equal(plan_totals(plan)->missing_packages, 1);
	free(shown);
	plan_free(plan);
	/* dropped: how many entries go is known all the same */
	new = keep("b// b/f=1");
	config = config_of(&old, &new, PLAN_FULL, NULL, 0);
	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_totals(plan)->removed, 3);
	assert_int_equal(plan_change_count(plan), 1);
	plan_free(plan);
}

static void a_new_catalog_that_cannot_be_had_stops_the_plan(void **state)
{
	struct fake_source *fake = fake_source_new();
	struct catalog_ref old = keep("a// a/f=1");
	struct catalog_ref new = keep_without("a// a/f=2", "a");
	struct plan_config config = config_of(&old, &new, PLAN_FULL, NULL, 0);
	struct plan *plan;
	char text[512];

	(void)state;
	assert_int_equal(plan_make(&config, &plan), -EHOSTUNREACH);
	log_last_error(text, sizeof(text));
	assert_non_null(strstr(text, "cannot compare revision 6"));
	config.source = fake_source_of(fake);
	assert_int_equal(plan_make(&config, &plan), -ENOENT);
	fake_source_fail(fake, -EHOSTUNREACH);
	assert_int_equal(plan_make(&config, &plan), -EHOSTUNREACH);
	fake_source_fail(fake, 0);
	fake_source_hold(fake);
	config.timeout_ns = 200 * NS_PER_MS;
	assert_int_equal(plan_make(&config, &plan), -ETIMEDOUT);
	fake_source_free(fake);
}

static void a_plan_can_be_cancelled(void **state)
{
	atomic_bool is_cancelled = true;
	struct catalog_ref old = keep("a// a/f=1");
	struct catalog_ref new = keep("a// a/f=2");
	struct plan_config config = config_of(&old, &new, PLAN_FULL, NULL, 0);
	struct plan *plan;

	(void)state;
	config.is_cancelled = &is_cancelled;
	assert_int_equal(plan_make(&config, &plan), -ECANCELED);
}

static void a_bad_glob_is_refused(void **state)
{
	static const char *const globs[] = {"a", "/"};
	struct catalog_ref root = keep("");
	struct plan_config config = config_of(&root, &root, PLAN_FULL, globs, 2);
	struct plan *plan;

	(void)state;
	assert_int_equal(plan_make(&config, &plan), -EINVAL);
}

static void a_tree_may_be_deeper_than_a_stack(void **state)
{
	enum { DEPTH = 3000 };
	struct catalog_ref refs[2];
	struct plan *plan;

	(void)state;
	for (int side = 0; side < 2; side++) {
		struct catalog_builder *b = builder_new("");
		uint32_t dir = BUILDER_TOP;

		for (unsigned int i = 0; i < DEPTH; i++)
			dir = builder_dir(b, dir, "d");
		builder_file(b, dir, side ? "new" : "old", "1", 1, 64);
		struct built_catalog *built = builder_finish(b);
		struct catalog *c;

		assert_int_equal(
			catalog_store_put(store, &built->ref, built->data, &c), 0);
		catalog_close(c);
		refs[side] = built->ref;
		built_free(built);
	}
	struct plan_config config =
		config_of(&refs[0], &refs[1], PLAN_INCREMENTAL, NULL, 0);

	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_totals(plan)->entries_after, DEPTH + 3);
	assert_int_equal(plan_totals(plan)->stale, 1);
	assert_int_equal(plan_commit(plan), 0);
	plan_free(plan);
}

static uint32_t file(struct catalog_builder *b, const char *name, const char *text)
{
	return builder_file(b, BUILDER_TOP, name, text, strlen(text), 64);
}

static struct catalog_ref keep_built(struct catalog_builder *b)
{
	struct built_catalog *built = builder_finish(b);
	struct catalog_ref ref = built->ref;
	struct catalog *c;

	assert_int_equal(catalog_store_put(store, &built->ref, built->data, &c), 0);
	catalog_close(c);
	built_free(built);
	return ref;
}

static void dropped_names_of_a_hard_link_are_no_names_of_the_new_file(void **state)
{
	struct catalog_builder *b = builder_new("");
	uint32_t first = file(b, "a", "one");

	(void)state;
	builder_link(b, BUILDER_TOP, "b", first);
	builder_link(b, BUILDER_TOP, "c", first);
	struct catalog_ref old = keep_built(b);

	b = builder_new("");
	file(b, "a", "two");
	struct catalog_ref new = keep_built(b);
	struct plan_config config = config_of(&old, &new, PLAN_INCREMENTAL, NULL, 0);
	struct plan *plan;
	struct catalog *c;

	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_commit(plan), 0);
	struct catalog_ref root = plan_root(plan);

	assert_int_equal(catalog_store_get(store, &root, &c), 0);
	const struct catalog_entry *e = c->entries + 1;

	assert_int_equal(c->entry_count, 4);
	assert_int_equal(e[0].link, 1);
	assert_int_equal(e[1].link, 2);
	assert_int_equal(e[2].link, 2);
	assert_int_equal(e[1].nlink, 2);
	assert_int_equal(e[1].ino, hash64("b", 1, 0));
	assert_int_not_equal(e[0].ino, e[1].ino);
	catalog_close(c);
	plan_free(plan);
}

static void attributes_alone_make_a_change(void **state)
{
	struct catalog_ref refs[2];
	struct plan *plan;

	(void)state;
	for (int side = 0; side < 2; side++) {
		struct catalog_builder *b = builder_new("");
		uint32_t f = file(b, "f", "1");

		builder_xattr(b, f, "user.a", side ? "1" : "2", 1);
		builder_special(b, BUILDER_TOP, "null", S_IFCHR | 0600, 1, 3 + side);
		refs[side] = keep_built(b);
	}
	struct plan_config config =
		config_of(&refs[0], &refs[1], PLAN_INCREMENTAL, NULL, 0);

	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_change_count(plan), 2);
	assert_true(change_of(plan, "f")->is_metadata_only);
	assert_false(change_of(plan, "null")->is_metadata_only);
	assert_int_equal(plan_totals(plan)->bytes_new, 0);
	plan_free(plan);
}

static void a_disk_that_takes_nothing_stops_the_commit(void **state)
{
	struct plan *plan = plan_of("f=1 g=1", "f=2", PLAN_INCREMENTAL, NULL, 0);
	struct catalog_ref root = plan_root(plan);
	char hex[DIGEST_HEX_SIZE];
	char dir[32];

	(void)state;
	digest_to_hex(&root.digest, hex);
	(void)snprintf(dir, sizeof(dir), "catalog/%.2s", hex);
	/* a file in the directory's place */
	scratch_write(&scratch, dir, "", 0);
	assert_true(plan_commit(plan) < 0);
	assert_false(catalog_store_has(store, &root.digest));
	plan_free(plan);
}

static void without_memory_it_fails_and_leaks_nothing(void **state)
{
	static const char *const globs[] = {"n/o/*", "a", "s"};
	struct catalog_ref old = keep("a// a/f=1 a/g=1 b// b/f=1 n=1 s// s/f=1");
	struct catalog_ref new = keep("a// a/f=2 a/d/ n/o/p// n/o/p/f=1 n/q//");
	struct plan_config config = config_of(&old, &new, PLAN_INCREMENTAL, globs, 3);
	struct plan *plan;
	int r = -ENOMEM;
	long n = 0;

	(void)state;
	for (; r == -ENOMEM; n++) {
		mem_fail_after(n);
		r = plan_make(&config, &plan);
		mem_fail_after(-1);
	}
	assert_int_equal(r, 0);
	assert_true(n > 50);
	char *shown = shown_by(plan);

	assert_string_equal(shown, "a// a/d/ a/f=2 a/g=1! b// b/f=1 n/ n/o/ n/o/p// "
				   "n/o/p/f=1 s//! s/f=1!");
	free(shown);
	plan_free(plan);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(examples_come_out_as_they_should),
		T(what_is_stale_stays_stale_until_the_master_has_it_again),
		T(a_plan_tells_every_change),
		T(packages_name_the_catalogs_of_both_sides_and_of_the_view),
		T(packages_keep_the_revision_that_they_came_from),
		T(unchanged_packages_are_not_opened),
		T(changed_packages_are_fetched_many_at_once),
		T(an_old_catalog_that_is_gone_is_passed_over),
		T(a_new_catalog_that_cannot_be_had_stops_the_plan),
		T(a_plan_can_be_cancelled),
		T(a_bad_glob_is_refused),
		T(a_tree_may_be_deeper_than_a_stack),
		T(dropped_names_of_a_hard_link_are_no_names_of_the_new_file),
		T(attributes_alone_make_a_change),
		T(a_disk_that_takes_nothing_stops_the_commit),
		T(without_memory_it_fails_and_leaks_nothing),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
