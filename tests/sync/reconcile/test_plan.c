/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/reconcile/planning.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
			planning_plan(x->old, x->new, x->mode, &x->glob, x->glob != NULL);
		char *shown = planning_shown(plan);

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
	struct catalog_ref roots[] = {planning_keep("a// a/f=1 a/g=1 b// b/f=1"),
		planning_keep("a// a/f=2"), planning_keep("a// a/f=3"),
		planning_keep("a// a/f=3 a/g=1 b// b/f=1")};
	static const char *const shown[] = {"a// a/f=2 a/g=1! b//! b/f=1!",
		"a// a/f=3 a/g=1! b//! b/f=1!", "a// a/f=3 a/g=1 b// b/f=1"};
	struct catalog_ref view = roots[0];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		struct plan_config config =
			planning_config(&view, &roots[i + 1], PLAN_INCREMENTAL, NULL, 0);
		const struct plan_totals *t;
		struct plan *plan;

		assert_int_equal(plan_make(&config, &plan), 0);
		char *text = planning_shown(plan);

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

struct comeback {
	const char *old;
	const char *dropped; /* synced to, incrementally */
	const char *stale;
	const char *again; /* synced to, only `glob` */
	const char *glob;
	const char *shown;
	uint64_t revived;
};

static void what_leads_to_something_selected_is_not_stale(void **state)
{
	static const struct comeback all[] = {
		{"p// p/f=1 q//", "q//", "p//! p/f=1! q//", "p// p/f=1 q//", "p",
			"p// p/f=1 q//", 2},
		{"a/ a/x=1", "", "a/! a/x=1!", "a/ a/p//", "a/p", "a/ a/p// a/x=1!", 1},
		{"a// a/x=1", "", "a//! a/x=1!", "a// a/p//", "a/p", "a// a/p// a/x=1!",
			1},
		{"a// a/x=1", "", "a//! a/x=1!", "a// a/p=1", "a/p", "a//! a/x=1!", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const struct comeback *x = &all[i];
		struct plan *plan =
			planning_plan(x->old, x->dropped, PLAN_INCREMENTAL, NULL, 0);
		char *text = planning_shown(plan);
		struct catalog_ref view = plan_root(plan);
		struct catalog_ref again = planning_keep(x->again);

		assert_string_equal(text, x->stale);
		free(text);
		plan_free(plan);
		struct plan_config config =
			planning_config(&view, &again, PLAN_FULL, &x->glob, 1);

		assert_int_equal(plan_make(&config, &plan), 0);
		text = planning_shown(plan);
		assert_string_equal(text, x->shown);
		assert_int_equal(plan_totals(plan)->revived, x->revived);
		free(text);
		plan_free(plan);
	}
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
	struct plan *plan =
		planning_plan("p// p/added-below// p/f=1 p/gone=333 p/same=1 q//",
			"p// p/f=22 p/meta@x p/new=4444 p/same=1~9 r// r/f=1", PLAN_FULL,
			NULL, 0);
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

/* The count of packages if there is none. */
static size_t package_number(const struct plan *plan, const char *path)
{
	size_t i = 0;

	while (i < plan_package_count(plan) &&
		strcmp(plan_package(plan, i)->path, path) != 0)
		i++;
	return i;
}

static const struct plan_package *package_of(const struct plan *plan, const char *path)
{
	size_t i = package_number(plan, path);

	assert_true(i < plan_package_count(plan));
	return plan_package(plan, i);
}

static void packages_name_the_catalogs_of_both_sides_and_of_the_view(void **state)
{
	struct plan *plan = planning_plan("a// a/f=1 b// b/f=1 c// c/f=1 same// same/f=1",
		"a// a/g=1 b// b/f=2 n// n/f=1 same// same/f=1", PLAN_INCREMENTAL, NULL,
		0);
	const struct plan_package *p = package_of(plan, "a");
	struct catalog *c;

	(void)state;
	assert_true(p->has_old && p->has_new && p->has_shown);
	assert_int_equal(p->added, 1);
	assert_int_equal(p->stale, 1);
	assert_int_equal(p->bytes_new, 1);
	assert_false(digest_equal(&p->shown.digest, &p->new.digest));
	assert_false(catalog_store_has(planning_store, &p->shown.digest));
	assert_int_equal(plan_commit(plan), 0);
	assert_int_equal(catalog_store_get(planning_store, &p->shown, &c), 0);
	assert_true(catalog_is_composed(c));
	catalog_close(c);
	p = package_of(plan, "b");
	assert_true(p->has_old && p->has_new && p->has_shown);
	assert_true(digest_equal(&p->shown.digest, &p->new.digest));
	p = package_of(plan, "c");
	assert_true(p->has_old && !p->has_new && p->has_shown);
	assert_true(digest_equal(&p->shown.digest, &p->old.digest));
	p = package_of(plan, "n");
	assert_true(!p->has_old && p->has_new && p->has_shown);
	assert_int_equal(package_number(plan, "same"), plan_package_count(plan));
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
	static const char *const globs[] = {"a", "s"};
	struct catalog_ref old = planning_keep("a// a/f=1 b// b/f=1 s// s/f=1");
	struct catalog_ref new = planning_keep("a// a/f=2 b// b/f=2");
	struct plan_config config =
		planning_config(&old, &new, PLAN_INCREMENTAL, globs, 2);
	struct plan *plan;
	struct catalog *c;

	(void)state;
	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_revision(plan), 5);
	assert_int_equal(plan_commit(plan), 0);
	struct catalog_ref view = plan_root(plan);

	assert_int_equal(catalog_store_get(planning_store, &view, &c), 0);
	assert_int_equal(local_of(c, "a"), 6);
	assert_int_equal(local_of(c, "b"), 0);
	/* said even where it is the place's: the place moves on */
	assert_int_equal(local_of(c, "s"), 5);
	catalog_close(c);
	plan_free(plan);
	/* now everything: what is stale says that it is of before */
	config = planning_config(&view, &new, PLAN_INCREMENTAL, NULL, 0);
	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_revision(plan), 6);
	assert_int_equal(plan_commit(plan), 0);
	view = plan_root(plan);
	assert_int_equal(catalog_store_get(planning_store, &view, &c), 0);
	assert_int_equal(local_of(c, "a"), 0);
	assert_int_equal(local_of(c, "b"), 0);
	assert_int_equal(local_of(c, "s"), 5);
	catalog_close(c);
	plan_free(plan);
}

static void a_bad_glob_is_refused(void **state)
{
	static const char *const globs[] = {"a", "/"};
	struct catalog_ref root = planning_keep("");
	struct plan_config config = planning_config(&root, &root, PLAN_FULL, globs, 2);
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
			catalog_store_put(planning_store, &built->ref, built->data, &c),
			0);
		catalog_close(c);
		refs[side] = built->ref;
		built_free(built);
	}
	struct plan_config config =
		planning_config(&refs[0], &refs[1], PLAN_INCREMENTAL, NULL, 0);

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

	assert_int_equal(
		catalog_store_put(planning_store, &built->ref, built->data, &c), 0);
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
	struct plan_config config =
		planning_config(&old, &new, PLAN_INCREMENTAL, NULL, 0);
	struct plan *plan;
	struct catalog *c;

	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_commit(plan), 0);
	struct catalog_ref root = plan_root(plan);

	assert_int_equal(catalog_store_get(planning_store, &root, &c), 0);
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
		planning_config(&refs[0], &refs[1], PLAN_INCREMENTAL, NULL, 0);

	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_change_count(plan), 2);
	assert_true(change_of(plan, "f")->is_metadata_only);
	assert_false(change_of(plan, "null")->is_metadata_only);
	assert_int_equal(plan_totals(plan)->bytes_new, 0);
	plan_free(plan);
}

static void a_disk_that_takes_nothing_stops_the_commit(void **state)
{
	struct plan *plan = planning_plan("f=1 g=1", "f=2", PLAN_INCREMENTAL, NULL, 0);
	struct catalog_ref root = plan_root(plan);
	char hex[DIGEST_HEX_SIZE];
	char dir[32];

	(void)state;
	digest_to_hex(&root.digest, hex);
	(void)snprintf(dir, sizeof(dir), "catalog/%.2s", hex);
	/* a file in the directory's place */
	scratch_write(&planning_scratch, dir, "", 0);
	assert_true(plan_commit(plan) < 0);
	assert_false(catalog_store_has(planning_store, &root.digest));
	plan_free(plan);
}

static void without_memory_it_fails_and_leaks_nothing(void **state)
{
	static const char *const globs[] = {"n/o/*", "a", "s"};
	struct catalog_ref old = planning_keep("a// a/f=1 a/g=1 b// b/f=1 n=1 s// s/f=1");
	struct catalog_ref new = planning_keep("a// a/f=2 a/d/ n/o/p// n/o/p/f=1 n/q//");
	struct plan_config config =
		planning_config(&old, &new, PLAN_INCREMENTAL, globs, 3);
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
	char *shown = planning_shown(plan);

	assert_string_equal(shown, "a// a/d/ a/f=2 a/g=1! b// b/f=1 n/ n/o/ n/o/p// "
				   "n/o/p/f=1 s//! s/f=1!");
	free(shown);
	plan_free(plan);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, planning_make, planning_drop)
	const struct CMUnitTest tests[] = {
		T(examples_come_out_as_they_should),
		T(what_is_stale_stays_stale_until_the_master_has_it_again),
		T(what_leads_to_something_selected_is_not_stale),
		T(a_plan_tells_every_change),
		T(packages_name_the_catalogs_of_both_sides_and_of_the_view),
		T(packages_keep_the_revision_that_they_came_from),
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
