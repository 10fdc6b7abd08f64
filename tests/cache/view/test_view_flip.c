/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/view/flipped_view.h"

#include "cache/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void what_did_not_change_keeps_its_number_and_nobody_hears_of_it(void **state)
{
	static const char *const kept[] = {"", "a", "a/lib", "a/lib/text", "dir", "file"};
	uint64_t ids[ARRAY_SIZE(kept)];

	(void)state;
	show(flipped_small("one", "two"));
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		ids[i] = remember(kept[i]);
	uint64_t b = remember("b");
	uint64_t text = remember("b/lib/text");

	show(flipped_small("one", "TWO"));
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		assert_true(find(kept[i]).id == ids[i]);
	assert_true(find("b").id != b);
	assert_true(find("b/lib/text").id != text);
	/* one name of another node, and so another listing */
	assert_int_equal(changes->count, 2);
	assert_true(is_changed(VIEW_CHANGE_NAME, VIEW_ROOT, "b"));
	assert_int_equal(changes->list[1].kind, VIEW_CHANGE_LISTING);
	assert_true(changes->list[1].node == VIEW_ROOT);
}

static void the_same_tree_again_changes_nothing_but_the_revision(void **state)
{
	(void)state;
	show(flipped_small("one", "two"));
	remember("a/lib/text");
	remember("a");
	show(flipped_small("one", "two"));
	assert_int_equal(changes->count, 0);
	struct view_node text = find("a/lib/text");

	assert_true(view_revision(view, &text) == 2);
}

static void names_that_come_and_go_are_forgotten(void **state)
{
	(void)state;
	show(builder_finish(skeleton("", NAMES("b", "c", "e/"))));
	remember("b");
	remember("e");
	uint64_t c = remember("c");

	show(builder_finish(skeleton("", NAMES("a", "c", "d", "e/"))));
	assert_true(is_changed(VIEW_CHANGE_NAME, VIEW_ROOT, "a"));
	assert_true(is_changed(VIEW_CHANGE_NAME, VIEW_ROOT, "b"));
	assert_true(is_changed(VIEW_CHANGE_NAME, VIEW_ROOT, "d"));
	assert_true(is_changed(VIEW_CHANGE_LISTING, VIEW_ROOT, NULL));
	assert_int_equal(changes->count, 4);
	assert_true(find("c").id == c);
}

static void a_file_that_changed_in_anything_is_another_node(void **state)
{
	struct catalog_builder *b = builder_new("");
	uint32_t e;

	(void)state;
	builder_file(b, BUILDER_TOP, "touched", "x", 1, 64);
	builder_file(b, BUILDER_TOP, "written", "x", 1, 64);
	builder_file(b, BUILDER_TOP, "labelled", "x", 1, 64);
	builder_symlink(b, BUILDER_TOP, "turned", "x");
	builder_file(b, BUILDER_TOP, "retyped", "x", 1, 64);
	builder_file(b, BUILDER_TOP, "kept", "x", 1, 64);
	builder_symlink(b, BUILDER_TOP, "pointing", "there");
	e = builder_special(b, BUILDER_TOP, "device", S_IFCHR | 0600, 1, 3);
	(void)e;
	show(builder_finish(b));
	static const char *const names[] = {"touched", "written", "labelled", "turned",
		"retyped", "device", "kept", "pointing"};
	uint64_t ids[ARRAY_SIZE(names)];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		ids[i] = remember(names[i]);
	b = builder_new("");
	e = builder_file(b, BUILDER_TOP, "touched", "x", 1, 64);
	builder_mtime(b, e, 12345);
	builder_file(b, BUILDER_TOP, "written", "y", 1, 64);
	e = builder_file(b, BUILDER_TOP, "labelled", "x", 1, 64);
	builder_xattr(b, e, "user.label", "new", 3);
	builder_symlink(b, BUILDER_TOP, "turned", "y");
	builder_symlink(b, BUILDER_TOP, "retyped", "x");
	builder_file(b, BUILDER_TOP, "kept", "x", 1, 64);
	builder_symlink(b, BUILDER_TOP, "pointing", "there");
	builder_special(b, BUILDER_TOP, "device", S_IFCHR | 0600, 1, 5);
	show(builder_finish(b));
	for (size_t i = 0; i < 6; i++) {
		assert_true(find(names[i]).id != ids[i]);
		assert_true(is_changed(VIEW_CHANGE_NAME, VIEW_ROOT, names[i]));
	}
	for (size_t i = 6; i < ARRAY_SIZE(names); i++)
		assert_true(find(names[i]).id == ids[i]);
	assert_int_equal(changes->count, 7);
}

static void a_directory_stays_whatever_its_attributes(void **state)
{
	struct catalog_builder *b = builder_new("");
	uint32_t dir = builder_dir(b, BUILDER_TOP, "dir");

	(void)state;
	builder_file(b, dir, "file", "x", 1, 64);
	show(builder_finish(b));
	uint64_t id = remember("dir");
	uint64_t file = remember("dir/file");

	b = builder_new("");
	dir = builder_dir(b, BUILDER_TOP, "dir");
	builder_mtime(b, dir, 1);
	builder_file(b, dir, "file", "x", 1, 64);
	show(builder_finish(b));
	assert_true(find("dir").id == id);
	assert_true(find("dir").entry->mtime_sec == 1);
	assert_true(find("dir/file").id == file);
	assert_int_equal(changes->count, 1);
	assert_true(is_changed(VIEW_CHANGE_ATTRIBUTES, id, NULL));
}

static void what_becomes_another_kind_of_thing_is_another_node(void **state)
{
	struct catalog_builder *b = builder_new("");
	struct built_catalog *pack = leaf("pack", "x");

	(void)state;
	builder_dir(b, BUILDER_TOP, "dir");
	builder_dir(b, BUILDER_TOP, "grows");
	builder_nested(b, BUILDER_TOP, "shrinks", pack);
	show(builder_finish(b));
	uint64_t ids[] = {remember("dir"), remember("grows"), remember("shrinks")};

	b = builder_new("");
	builder_file(b, BUILDER_TOP, "dir", "x", 1, 64);
	builder_nested(b, BUILDER_TOP, "grows", pack);
	builder_dir(b, BUILDER_TOP, "shrinks");
	show(builder_finish(b));
	built_free(pack);
	assert_true(find("dir").id != ids[0]);
	assert_true(find("grows").id != ids[1]);
	assert_true(find("shrinks").id != ids[2]);
	assert_int_equal(changes->count, 4);
}

static void a_skeleton_below_stays_and_only_its_package_changes(void **state)
{
	static const char *const kept[] = {
		"top", "top/mid", "top/mid/note", "top/mid/x", "top/mid/x/lib/text"};
	uint64_t ids[ARRAY_SIZE(kept)];

	(void)state;
	show(flipped_deep("one", "two"));
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		ids[i] = remember(kept[i]);
	uint64_t y = remember("top/mid/y");

	(void)remember("top/mid/y/lib");
	show(flipped_deep("one", "TWO"));
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		assert_true(find(kept[i]).id == ids[i]);
	assert_true(find("top/mid/y").id != y);
	assert_int_equal(changes->count, 2);
	assert_true(is_changed(VIEW_CHANGE_NAME, ids[1], "y"));
	assert_true(is_changed(VIEW_CHANGE_LISTING, ids[1], NULL));
}

static void a_package_never_entered_keeps_its_number_and_shows_the_new(void **state)
{
	(void)state;
	show(flipped_deep("one", "two"));
	uint64_t mid = remember("top/mid");

	show(flipped_deep("ONE", "two"));
	assert_int_equal(changes->count, 0);
	assert_true(find("top/mid").id == mid);
	assert_true(find("top/mid/x/lib/text").entry->size == 3);
	struct view_node text = find("top/mid/x/lib/text");
	const struct catalog_content *c = catalog_content_of(text.catalog, text.entry);
	struct digest expected;

	assert_int_equal(digest_of("ONE", 3, &expected), 0);
	assert_true(digest_equal(&c->digest, &expected));
}

static struct built_catalog *linked_root(bool has_both, bool has_third)
{
	struct catalog_builder *b = builder_new("");
	uint32_t one = builder_file(b, BUILDER_TOP, "one", "x", 1, 64);

	builder_mtime(b, one, BUILDER_MTIME_SEC);
	if (has_both)
		builder_link(b, BUILDER_TOP, "two", one);
	if (has_third)
		builder_file(b, BUILDER_TOP, "a first name", "y", 1, 64);
	return builder_finish(b);
}

static void names_of_one_file_go_on_sharing_a_node(void **state)
{
	(void)state;
	show(linked_root(true, false));
	uint64_t id = remember("one");

	assert_true(remember("two") == id);
	/* every index moves */
	show(linked_root(true, true));
	assert_true(find("one").id == id);
	assert_true(find("two").id == id);
	assert_int_equal(changes->count, 2);
	/* one name less is another link count */
	show(linked_root(false, true));
	assert_true(find("one").id != id);
	assert_true(is_changed(VIEW_CHANGE_NAME, VIEW_ROOT, "one"));
	assert_true(is_changed(VIEW_CHANGE_NAME, VIEW_ROOT, "two"));
}

static void what_the_kernel_does_not_know_it_is_not_told_of(void **state)
{
	struct catalog_builder *b = builder_new("");
	uint32_t dir = builder_dir(b, BUILDER_TOP, "dir");

	(void)state;
	builder_file(b, dir, "one", "x", 1, 64);
	show(builder_finish(b));
	uint64_t id = remember("dir");

	(void)find("dir/one");
	assert_false(view_forget(view, id, 1));
	b = builder_new("");
	dir = builder_dir(b, BUILDER_TOP, "dir");
	builder_file(b, dir, "two", "x", 1, 64);
	show(builder_finish(b));
	assert_int_equal(changes->count, 0);
}

static void a_listing_goes_on_behind_the_name_where_it_was(void **state)
{
	struct view_node node;
	struct view_dir dir;

	(void)state;
	show(builder_finish(skeleton("", NAMES("b", "d", "f", "h"))));
	node = find("");
	assert_int_equal(view_enter(view, &node, &dir, NULL), 0);
	/* "b" and "d" were listed */
	uint64_t cookie = view_cookie(&dir, 2);

	assert_int_equal(view_position(&dir, cookie), 2);
	show(builder_finish(skeleton("", NAMES("a", "b", "c", "d", "e", "f", "h"))));
	node = find("");
	assert_int_equal(view_enter(view, &node, &dir, NULL), 0);
	assert_int_equal(view_position(&dir, cookie), 4);
	assert_true(view_cookie(&dir, 2) != cookie);
	show(builder_finish(skeleton("", NAMES("a", "g"))));
	node = find("");
	assert_int_equal(view_enter(view, &node, &dir, NULL), 0);
	assert_int_equal(view_position(&dir, cookie), 1);
	assert_int_equal(view_position(&dir, cookie - 2), 0);
	/* long ago: by number, as well as one can */
	for (int i = 0; i < VIEW_PAST + 1; i++)
		show(builder_finish(
			skeleton("", NAMES("a", "g", "p", "q", i % 2 ? "r" : "s"))));
	node = find("");
	assert_int_equal(view_enter(view, &node, &dir, NULL), 0);
	assert_int_equal(view_position(&dir, cookie), 2);
}

static void a_listing_of_a_directory_below_goes_on_too(void **state)
{
	struct view_dir dir;
	uint64_t cookie = 0;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct catalog_builder *b = builder_new("");
		uint32_t top = builder_dir(b, BUILDER_TOP, "top");
		uint32_t sub = builder_dir(b, top, "sub");

		if (i)
			builder_file(b, sub, "a", "x", 1, 64);
		builder_file(b, sub, "b", "x", 1, 64);
		builder_file(b, sub, "c", "x", 1, 64);
		show(builder_finish(b));
		struct view_node node = find("top/sub");

		assert_int_equal(view_enter(view, &node, &dir, NULL), 0);
		if (i == 0)
			cookie = view_cookie(&dir, 1);
	}
	assert_int_equal(view_position(&dir, cookie), 2);
}

static void without_a_skeleton_catalog_nothing_flips(void **state)
{
	struct view_changes *none = NULL;

	(void)state;
	show(flipped_deep("one", "two"));
	(void)find("top/mid/x/lib/text");
	struct built_catalog *root = flipped_deep("one", "TWO");
	struct catalog *c = built_open(root);
	char path[sizeof("catalog/aa/") + DIGEST_HEX_SIZE];
	char hex[DIGEST_HEX_SIZE];

	/* not even the root is here */
	assert_int_equal(view_flip(view, &root->ref, 9, &none), -EAGAIN);
	keep(root);
	digest_to_hex(&c->nested[0].digest, hex);
	(void)snprintf(path, sizeof(path), "catalog/%.2s/%s", hex, hex);
	assert_int_equal(unlinkat(scratch.fd, path, 0), 0);
	assert_int_equal(view_flip(view, &root->ref, 9, &none), -EAGAIN);
	assert_null(none);
	struct view_node node = find("top/mid/y/lib/text");

	assert_true(view_revision(view, &node) == 1);
	catalog_close(c);
	built_free(flipped_deep("one", "TWO")); /* it is here again */
	assert_int_equal(view_flip(view, &root->ref, 9, &none), 0);
	view_changes_free(none);
	node = find("top/mid/y/lib/text");
	assert_true(view_revision(view, &node) == 9);
	built_free(root);
}

static void a_root_that_belongs_elsewhere_is_refused(void **state)
{
	struct built_catalog *other = leaf("else/where", "x");
	struct view_changes *none = NULL;

	(void)state;
	show(flipped_small("one", "two"));
	assert_int_equal(view_flip(view, &other->ref, 2, &none), -EBADMSG);
	(void)find("a/lib/text");
	built_free(other);
}

static void a_package_tells_its_own_revision_and_whether_it_is_stale(void **state)
{
	struct built_catalog *x = leaf("mid/x", "x");
	struct built_catalog *y = leaf("y", "y");
	struct built_catalog *z = leaf("z", "z");
	struct catalog_builder *m = builder_new("mid");
	struct catalog_builder *r = builder_new("");

	(void)state;
	builder_nested(m, BUILDER_TOP, "x", x);
	struct built_catalog *mid = keep(builder_finish(m));

	builder_revision(r, builder_nested(r, BUILDER_TOP, "mid", mid), 41);
	builder_nested(r, BUILDER_TOP, "y", y);
	builder_stale(r, builder_nested(r, BUILDER_TOP, "z", z));
	builder_stale(r, builder_file(r, BUILDER_TOP, "old", "o", 1, 64));
	show(builder_finish(r));
	static const struct {
		const char *path;
		uint64_t revision;
		bool is_stale;
	} expected[] = {
		{"", 1, false},
		{"mid", 41, false},
		{"mid/x", 41, false},
		{"mid/x/lib/text", 41, false},
		{"y/lib", 1, false},
		{"z", 1, true},
		{"z/lib/text", 1, true},
		{"old", 1, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		struct view_node node = find(expected[i].path);

		assert_true(view_revision(view, &node) == expected[i].revision);
		assert_int_equal(view_is_stale(view, &node), expected[i].is_stale);
	}
	built_free(x);
	built_free(y);
	built_free(z);
	built_free(mid);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, flipped_make, flipped_drop)
	const struct CMUnitTest tests[] = {
		T(what_did_not_change_keeps_its_number_and_nobody_hears_of_it),
		T(the_same_tree_again_changes_nothing_but_the_revision),
		T(names_that_come_and_go_are_forgotten),
		T(a_file_that_changed_in_anything_is_another_node),
		T(a_directory_stays_whatever_its_attributes),
		T(what_becomes_another_kind_of_thing_is_another_node),
		T(a_skeleton_below_stays_and_only_its_package_changes),
		T(a_package_never_entered_keeps_its_number_and_shows_the_new),
		T(names_of_one_file_go_on_sharing_a_node),
		T(what_the_kernel_does_not_know_it_is_not_told_of),
		T(a_listing_goes_on_behind_the_name_where_it_was),
		T(a_listing_of_a_directory_below_goes_on_too),
		T(without_a_skeleton_catalog_nothing_flips),
		T(a_root_that_belongs_elsewhere_is_refused),
		T(a_package_tells_its_own_revision_and_whether_it_is_stale),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
