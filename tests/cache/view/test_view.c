/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"
#include "tests/cache/view/walked_view.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/epoch.h"
#include "cache/view/view.h"
#include "tests/support/fake_source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static struct scratch scratch;
static struct catalog_store *store;
static struct fake_source *fake;
static struct built_catalog *leaf;   /* npm/left */
static struct built_catalog *middle; /* npm */
static struct built_catalog *root;
static struct built_catalog *leaves[3]; /* what is below the other root */
static struct built_catalog *wide;	/* another root */

static struct built_catalog *build_leaf(void)
{
	struct catalog_builder *b = builder_new("npm/left");
	uint32_t lib = builder_dir(b, BUILDER_TOP, "lib");

	builder_file(b, lib, "index.js", "x", 1, 16);
	return builder_finish(b);
}

static struct built_catalog *build_middle(void)
{
	struct catalog_builder *b = builder_new("npm");

	builder_nested(b, BUILDER_TOP, "left", leaf);
	return builder_finish(b);
}

static struct built_catalog *build_root(void)
{
	struct catalog_builder *b = builder_new("");
	uint32_t dir = builder_dir(b, BUILDER_TOP, "dir");
	uint32_t file = builder_file(b, BUILDER_TOP, "one", "y", 1, 16);

	builder_link(b, dir, "two", file);
	builder_nested(b, BUILDER_TOP, "npm", middle);
	return builder_finish(b);
}

static const char *const wide_paths[] = {"a/first", "a/sub/second", "third"};

/* a/file, a/first*, a/sub/second*, b/, third* */
static struct built_catalog *build_wide(void)
{
	struct catalog_builder *b = builder_new("");
	uint32_t a = builder_dir(b, BUILDER_TOP, "a");

	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		struct catalog_builder *l = builder_new(wide_paths[i]);

		builder_file(l, BUILDER_TOP, "file", wide_paths[i], 5, 16);
		leaves[i] = builder_finish(l);
	}
	builder_file(b, a, "file", "z", 1, 16);
	builder_nested(b, a, "first", leaves[0]);
	builder_nested(b, builder_dir(b, a, "sub"), "second", leaves[1]);
	builder_dir(b, BUILDER_TOP, "b");
	builder_nested(b, BUILDER_TOP, "third", leaves[2]);
	return builder_finish(b);
}

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	assert_int_equal(catalog_store_open(scratch.fd, &store), 0);
	leaf = build_leaf();
	middle = build_middle();
	root = build_root();
	wide = build_wide();
	fake = fake_source_new();
	fake_source_serve(fake, leaf);
	fake_source_serve(fake, middle);
	fake_source_serve(fake, root);
	fake_source_serve(fake, wide);
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
		fake_source_serve(fake, leaves[i]);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	fake_source_free(fake);
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
		built_free(leaves[i]);
	built_free(wide);
	built_free(root);
	built_free(middle);
	built_free(leaf);
	catalog_store_free(store);
	scratch_remove(&scratch);
	return 0;
}

/* A view that does not load is gone when its fetches have ended. */
static int load(const struct view_config *config, struct view **out)
{
	struct view *view;
	int r = view_new(config, &view);

	if (r < 0)
		return r;
	r = view_load(view);
	if (r < 0) {
		fake_source_wait_idle(fake);
		view_free(view);
		return r;
	}
	*out = view;
	return 0;
}

static int open_with(struct source *source, struct view **out)
{
	struct view_config config = {.catalogs = store,
		.source = source,
		.root = root->ref,
		.revision = 7,
		.fetch_deadline_ns = 120 * NS_PER_SEC};

	return load(&config, out);
}

static struct view *open_view(void)
{
	struct view *view = NULL;

	assert_int_equal(open_with(fake_source_of(fake), &view), 0);
	return view;
}

static struct view *open_wide(struct source *source)
{
	struct view_config config = {.catalogs = store,
		.source = source,
		.root = wide->ref,
		.fetch_deadline_ns = 120 * NS_PER_SEC};
	struct view *view = NULL;

	assert_int_equal(load(&config, &view), 0);
	return view;
}

/* Ends the fetches under way before the view goes. */
static void close_view(struct view *view)
{
	assert_true(fake_source_wait_idle(fake));
	view_free(view);
}

static void the_root_is_node_one(void **state)
{
	struct view *view = open_view();
	struct view_node node = root_node(view);
	struct view_node parent;

	(void)state;
	assert_true(node.id == 1);
	assert_true(S_ISDIR(node.entry->mode));
	assert_int_equal(view_parent(view, &node, &parent), 0);
	assert_true(parent.id == 1);
	assert_true(view_revision(view, &node) == 7);
	assert_true(view_root_catalog(view)->header->tree_entries == 8);
	close_view(view);
}

static void nested_packages_are_fetched_when_first_entered(void **state)
{
	struct view *view = open_view();

	(void)state;
	assert_int_equal(fake_source_count_catalogs(fake), 1);
	struct view_node npm = walk(view, "npm");

	/* to see the directory itself nothing is fetched */
	assert_int_equal(fake_source_count_catalogs(fake), 1);
	assert_true(S_ISDIR(npm.entry->mode));
	struct view_dir dir;

	assert_int_equal(view_enter_local(view, &npm, &dir), -EAGAIN);
	assert_int_equal(view_enter(view, &npm, &dir, NULL), -EAGAIN);
	struct view_node file = walk(view, "npm/left/lib/index.js");

	assert_int_equal(fake_source_count_catalogs(fake), 3);
	assert_int_equal(view_enter_local(view, &npm, &dir), 0);
	assert_true(S_ISREG(file.entry->mode));
	struct view_node again = walk(view, "npm/left/lib/index.js");

	assert_true(again.id == file.id);
	assert_int_equal(fake_source_count_catalogs(fake), 3);
	close_view(view);
}

static void every_node_is_found_again_by_its_number(void **state)
{
	struct view *view = open_view();
	struct view_node nodes[] = {walk(view, "dir"), walk(view, "one"),
		walk(view, "npm"), walk(view, "npm/left"), walk(view, "npm/left/lib"),
		walk(view, "npm/left/lib/index.js")};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		struct view_node found;

		assert_int_equal(view_resolve(view, nodes[i].id, &found), 0);
		assert_ptr_equal(found.catalog, nodes[i].catalog);
		assert_ptr_equal(found.entry, nodes[i].entry);
		assert_int_equal(found.index, nodes[i].index);
		assert_ptr_equal(found.slot, nodes[i].slot);
		for (size_t j = 0; j < i; j++)
			assert_true(nodes[i].id != nodes[j].id);
	}
	close_view(view);
}

static void parents_lead_back_to_the_root(void **state)
{
	struct view *view = open_view();
	struct view_node node = walk(view, "npm/left/lib/index.js");
	struct view_node expected[] = {walk(view, "npm/left/lib"), walk(view, "npm/left"),
		walk(view, "npm"), root_node(view)};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		struct view_node parent;

		assert_int_equal(view_parent(view, &node, &parent), 0);
		assert_true(parent.id == expected[i].id);
		assert_ptr_equal(parent.entry, expected[i].entry);
		node = parent;
	}
	close_view(view);
}

static void names_of_one_file_share_a_node(void **state)
{
	struct view *view = open_view();
	struct view_node one = walk(view, "one");
	struct view_node two = walk(view, "dir/two");
	struct view_node found;

	(void)state;
	assert_true(one.id == two.id);
	assert_int_equal(view_resolve(view, two.id, &found), 0);
	/* whichever name asks, one answer */
	assert_ptr_equal(one.entry, two.entry);
	assert_ptr_equal(found.entry, two.entry);
	close_view(view);
}

static void a_node_that_never_was_is_stale(void **state)
{
	struct view *view = open_view();
	struct view_node npm = walk(view, "npm");
	struct view_dir top = enter(view, &(struct view_node[]){root_node(view)}[0]);
	uint32_t nested = catalog_lookup(top.catalog, top.index, "npm", 3);
	const uint64_t ids[] = {0, root_node(view).catalog->entry_count + UINT64_C(1),
		UINT64_C(99) << 32 | 1, UINT64_MAX, npm.id + 1, npm.id + 1000,
		/* the package's directory has one number, and it is not this one */
		(uint64_t)nested + 1};
	struct view_node found;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		assert_int_equal(view_resolve(view, ids[i], &found), -ESTALE);
	close_view(view);
}

static void a_file_cannot_be_entered(void **state)
{
	struct view *view = open_view();
	struct view_node one = walk(view, "one");
	struct test_waiter w;
	struct view_dir dir;

	(void)state;
	test_waiter_init(&w);
	assert_int_equal(view_enter(view, &one, &dir, &w.waiter), -ENOTDIR);
	assert_int_equal(test_waiter_wakes(&w), 0);
	test_waiter_release(&w);
	close_view(view);
}

static void many_waiters_cause_one_fetch_and_are_woken_once(void **state)
{
	struct view *view = open_view();
	struct view_node npm = walk(view, "npm");
	struct test_waiter waiters[10];
	struct view_dir dir;

	(void)state;
	fake_source_hold(fake);
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		test_waiter_init(&waiters[i]);
		assert_int_equal(
			view_enter(view, &npm, &dir, &waiters[i].waiter), -EINPROGRESS);
	}
	fake_source_release(fake);
	test_waiters_end(waiters, ARRAY_SIZE(waiters), fake);
	assert_int_equal(fake_source_count_catalogs(fake), 2);
	assert_int_equal(view_enter(view, &npm, &dir, NULL), 0);
	close_view(view);
}

static void a_failed_fetch_wakes_with_its_error_and_may_be_tried_again(void **state)
{
	struct view *view = open_view();
	struct view_node npm = walk(view, "npm");
	struct test_waiter w;
	struct view_dir dir;

	(void)state;
	fake_source_fail(fake, -EHOSTUNREACH);
	test_waiter_init(&w);
	assert_int_equal(view_enter(view, &npm, &dir, &w.waiter), -EINPROGRESS);
	assert_int_equal(test_waiter_wait(&w), -EHOSTUNREACH);
	test_waiter_release(&w);
	fake_source_fail(fake, 0);
	(void)enter(view, &npm);
	close_view(view);
}

static void held_requests_end_when_the_source_does(void **state)
{
	struct view *view = open_view();
	struct view_node npm = walk(view, "npm");
	struct test_waiter w;
	struct view_dir dir;

	(void)state;
	fake_source_hold(fake);
	test_waiter_init(&w);
	assert_int_equal(view_enter(view, &npm, &dir, &w.waiter), -EINPROGRESS);
	assert_true(fake_source_wait_held(fake, 1));
	fake_source_cancel(fake);
	assert_int_equal(test_waiter_wait(&w), -ECANCELED);
	test_waiter_release(&w);
	close_view(view);
}

static void what_was_fetched_is_there_without_a_source(void **state)
{
	struct view *view = open_view();
	struct view_node node = walk(view, "npm/left");

	(void)state;
	(void)enter(view, &node);
	close_view(view);
	assert_int_equal(open_with(NULL, &view), 0);
	(void)walk(view, "npm/left/lib/index.js");
	view_free(view);
}

static void without_a_source_what_is_missing_is_an_error_and_not_a_wait(void **state)
{
	struct view *view = open_view();
	struct test_waiter w;
	struct view_dir dir;

	(void)state;
	close_view(view);
	assert_int_equal(open_with(NULL, &view), 0);
	struct view_node npm = walk(view, "npm");

	test_waiter_init(&w);
	assert_int_equal(view_enter(view, &npm, &dir, &w.waiter), -EHOSTUNREACH);
	assert_int_equal(test_waiter_wakes(&w), 0);
	test_waiter_release(&w);
	view_free(view);
}

static void a_root_that_cannot_be_had_fails_the_start(void **state)
{
	struct view *view;

	(void)state;
	assert_int_equal(open_with(NULL, &view), -EHOSTUNREACH);
	fake_source_fail(fake, -EBADMSG);
	assert_int_equal(open_with(fake_source_of(fake), &view), -EBADMSG);
	assert_true(fake_source_wait_idle(fake));
}

static void a_root_that_does_not_come_in_time_is_given_up(void **state)
{
	struct view_config config = {.catalogs = store,
		.source = fake_source_of(fake),
		.root = root->ref,
		.fetch_deadline_ns = NS_PER_SEC / 10};
	struct view *view;

	(void)state;
	fake_source_hold(fake);
	assert_int_equal(view_new(&config, &view), 0);
	assert_int_equal(view_load(view), -ETIMEDOUT);
	/* the answer comes after all, to one who waits no more */
	fake_source_release(fake);
	assert_true(fake_source_wait_idle(fake));
	view_free(view);
}

static void a_root_that_belongs_elsewhere_is_refused(void **state)
{
	struct view_config config = {.catalogs = store,
		.source = fake_source_of(fake),
		.root = middle->ref,
		.fetch_deadline_ns = 120 * NS_PER_SEC};
	struct view *view;

	(void)state;
	assert_int_equal(load(&config, &view), -EBADMSG);
}

static void a_file_that_was_opened_is_noted_as_such(void **state)
{
	struct view *view = open_view();
	struct view_node file = walk(view, "npm/left/lib/index.js");
	struct view_node lib = walk(view, "npm/left/lib");
	struct view_node one = walk(view, "one");

	(void)state;
	assert_true(view_keeps_notes(&file));
	assert_false(view_is_noted_open(&file));
	assert_false(view_note_open(&file));
	assert_true(view_note_open(&file));
	assert_true(view_is_noted_open(&file));
	assert_false(view_is_noted_open(&lib));
	/* none is kept of the skeleton */
	assert_false(view_keeps_notes(&one));
	assert_true(view_note_open(&one));
	assert_true(view_is_noted_open(&one));
	close_view(view);
}

/* What was opened must not be taken for what was not. */
static void an_open_that_memory_was_too_short_to_note_is_not_forgotten(void **state)
{
	struct view *view = open_view();
	struct view_node file = walk(view, "npm/left/lib/index.js");

	(void)state;
	mem_fail_after(0);
	bool was_noted = view_note_open(&file);

	mem_fail_after(-1);
	assert_true(was_noted);
	assert_true(view_is_noted_open(&file));
	close_view(view);
}

static int find_package(struct view *view, const char *path, struct view_package *out)
{
	return view_find_package(view, path, strlen(path), out);
}

static void only_packages_are_found_as_such(void **state)
{
	static const char *const others[] = {"", "a", "a/file", "a/file/x", "a/sub", "b",
		"none", "a/none", "b/none", "a/firs", "a/first/none", "third/file"};
	struct view *view = open_wide(fake_source_of(fake));
	struct view_package package;

	(void)state;
	(void)walk(view, "a/first/file");
	(void)walk(view, "third/file");
	AUTO_EPOCH epoch = epoch_enter();

	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		assert_int_equal(find_package(view, wide_paths[i], &package), 0);
		assert_true(digest_equal(
			&view_package_ref(&package)->digest, &leaves[i]->ref.digest));
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(find_package(view, others[i], &package), -ENOENT);
	/* as much of the path as was said */
	assert_int_equal(view_find_package(view, "third/file", 5, &package), 0);
	close_view(view);
}

/* To find one nothing is fetched: somebody reads in it, so that it is there. */
static void a_package_below_one_that_was_not_entered_is_not_found(void **state)
{
	struct view *view = open_view();
	struct view_package package;
	AUTO_EPOCH epoch = epoch_enter();

	(void)state;
	assert_int_equal(find_package(view, "npm/left", &package), -ENOENT);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(fake_source_count_catalogs(fake), 1);
	struct view_node npm = walk(view, "npm");

	(void)enter(view, &npm);
	assert_int_equal(find_package(view, "npm/left", &package), 0);
	assert_true(digest_equal(&view_package_ref(&package)->digest, &leaf->ref.digest));
	/* the one behind it is not below the same catalog */
	assert_false(view_next_package(&package));
	close_view(view);
}

static void packages_are_gone_through_in_order(void **state)
{
	struct view *view = open_wide(fake_source_of(fake));
	struct view_package package;
	AUTO_EPOCH epoch = epoch_enter();

	(void)state;
	assert_int_equal(find_package(view, wide_paths[0], &package), 0);
	for (size_t i = 1; i < ARRAY_SIZE(leaves); i++) {
		assert_true(view_next_package(&package));
		assert_true(digest_equal(
			&view_package_ref(&package)->digest, &leaves[i]->ref.digest));
	}
	/* who stands at the last one stays there */
	assert_false(view_next_package(&package));
	assert_true(digest_equal(
		&view_package_ref(&package)->digest, &leaves[2]->ref.digest));
	/* seen without a catalog of them */
	assert_int_equal(fake_source_count_catalogs(fake), 1);
	close_view(view);
}

static void a_packages_catalog_that_is_not_here_is_fetched_ahead(void **state)
{
	struct view *view = open_wide(fake_source_of(fake));
	const struct catalog *c = NULL;
	struct view_package package;
	AUTO_EPOCH epoch = epoch_enter();

	(void)state;
	assert_int_equal(find_package(view, "a/sub/second", &package), 0);
	/* if it may be */
	assert_int_equal(view_package_catalog(view, &package, false, &c), -EAGAIN);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(fake_source_count_catalogs(fake), 1);
	fake_source_hold(fake);
	assert_int_equal(view_package_catalog(view, &package, true, &c), -EAGAIN);
	assert_true(fake_source_wait_held(fake, 1));
	assert_int_equal(view_package_catalog(view, &package, true, &c), -EAGAIN);
	assert_null(c);
	fake_source_release(fake);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(view_package_catalog(view, &package, true, &c), 0);
	assert_int_equal(c->path_length, strlen("a/sub/second"));
	assert_memory_equal(c->path, "a/sub/second", c->path_length);
	/* the root's and this one's, once */
	assert_int_equal(fake_source_count_catalogs(fake), 2);
	/* who comes to it then enters what is there */
	struct view_node node = walk(view, "a/sub/second");
	struct view_dir dir;

	assert_int_equal(view_enter_local(view, &node, &dir), 0);
	assert_ptr_equal(dir.catalog, c);
	close_view(view);
}

static void without_a_source_a_packages_catalog_is_there_or_not(void **state)
{
	struct view *view = open_wide(fake_source_of(fake));
	const struct catalog *c = NULL;
	struct view_package package;

	(void)state;
	(void)walk(view, "third/file"); /* the last one: none is fetched ahead of it */
	close_view(view);
	view = open_wide(NULL);
	AUTO_EPOCH epoch = epoch_enter();

	assert_int_equal(find_package(view, "a/first", &package), 0);
	assert_int_equal(view_package_catalog(view, &package, true, &c), -EAGAIN);
	assert_int_equal(find_package(view, "third", &package), 0);
	assert_int_equal(view_package_catalog(view, &package, true, &c), 0);
	assert_memory_equal(c->path, "third", c->path_length);
	view_free(view);
}

/* Whatever allocation fails, on whichever thread: an error, no leak, and the next try works. */
static void without_memory_it_fails_and_recovers(void **state)
{
	int r = -1;

	(void)state;
	for (long n = 0; r != 0; n++) {
		struct view *view = NULL;

		assert_true(n < 1000);
		mem_fail_after(n);
		r = open_with(fake_source_of(fake), &view);
		mem_fail_after(-1);
		assert_true(fake_source_wait_idle(fake));
		if (r == 0)
			view_free(view);
		else
			assert_int_equal(r, -ENOMEM);
	}
	for (long n = 0, failures = 1; failures; n++) {
		struct view *view = open_view();
		struct view_node npm = walk(view, "npm");
		struct test_waiter w;
		struct view_dir dir;

		assert_true(n < 1000);
		test_waiter_init(&w);
		mem_fail_after(n);
		r = view_enter(view, &npm, &dir, &w.waiter);
		if (r == -EINPROGRESS)
			r = test_waiter_wait(&w);
		mem_fail_after(-1);
		failures = r != 0;
		if (failures)
			assert_int_equal(r, -ENOMEM);
		test_waiter_release(&w);
		(void)enter(view, &npm);
		close_view(view);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(the_root_is_node_one),
		T(nested_packages_are_fetched_when_first_entered),
		T(every_node_is_found_again_by_its_number),
		T(parents_lead_back_to_the_root),
		T(names_of_one_file_share_a_node),
		T(a_node_that_never_was_is_stale),
		T(a_file_cannot_be_entered),
		T(many_waiters_cause_one_fetch_and_are_woken_once),
		T(a_failed_fetch_wakes_with_its_error_and_may_be_tried_again),
		T(held_requests_end_when_the_source_does),
		T(what_was_fetched_is_there_without_a_source),
		T(without_a_source_what_is_missing_is_an_error_and_not_a_wait),
		T(a_root_that_cannot_be_had_fails_the_start),
		T(a_root_that_does_not_come_in_time_is_given_up),
		T(a_root_that_belongs_elsewhere_is_refused),
		T(a_file_that_was_opened_is_noted_as_such),
		T(an_open_that_memory_was_too_short_to_note_is_not_forgotten),
		T(only_packages_are_found_as_such),
		T(a_package_below_one_that_was_not_entered_is_not_found),
		T(packages_are_gone_through_in_order),
		T(a_packages_catalog_that_is_not_here_is_fetched_ahead),
		T(without_a_source_a_packages_catalog_is_there_or_not),
		T(without_memory_it_fails_and_recovers),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
