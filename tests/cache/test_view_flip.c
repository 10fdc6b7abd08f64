/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/clock.h"
#include "cache/base/epoch.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/view/view.h"
#include "tests/support/fake_source.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MANY_FLIPS 10000
#define READERS	   4

static struct scratch scratch;
static struct catalog_store *store;
static struct fake_source *fake;
static struct view *view;
static struct view_changes *changes; /* of the last flip */
static uint64_t revision;

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	assert_int_equal(catalog_store_open(scratch.fd, &store), 0);
	fake = fake_source_new();
	revision = 0;
	return 0;
}

static int drop(void **state)
{
	(void)state;
	fake_source_wait_idle(fake);
	view_changes_free(changes);
	changes = NULL;
	view_free(view);
	view = NULL;
	fake_source_free(fake);
	catalog_store_free(store);
	scratch_remove(&scratch);
	return 0;
}

/* Puts a catalog on this machine; only its bytes are needed. */
static struct built_catalog *keep(struct built_catalog *built)
{
	const struct catalog_header *h = (const void *)built->data;
	struct catalog *c;

	if (h->flags & CATALOG_COMPOSED) {
		assert_int_equal(
			catalog_store_put_composed(store, &built->ref, built->data), 0);
		return built;
	}
	assert_int_equal(catalog_store_put(store, &built->ref, built->data, &c), 0);
	catalog_close(c);
	return built;
}

static struct built_catalog *leaf(const char *path, const char *text)
{
	struct catalog_builder *b = builder_new(path);
	uint32_t lib = builder_dir(b, BUILDER_TOP, "lib");

	builder_file(b, lib, "text", text, strlen(text), 64);
	return keep(builder_finish(b));
}

/* One catalog of names, each a file with its own time, or a directory if it ends in a slash. */
static struct catalog_builder *skeleton(
	const char *path, const char *const *names, size_t count)
{
	struct catalog_builder *b = builder_new(path);
	char name[64];

	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(names[i]);
		bool is_dir = names[i][len - 1] == '/';

		(void)snprintf(name, sizeof(name), "%.*s", (int)(len - is_dir), names[i]);
		uint32_t e = is_dir ? builder_dir(b, BUILDER_TOP, name)
				    : builder_file(b, BUILDER_TOP, name, name, len, 64);

		builder_mtime(b, e, BUILDER_MTIME_SEC);
	}
	return b;
}

#define NAMES(...)                                                                       \
	(const char *const[]){__VA_ARGS__},                                              \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

static uint32_t nest(struct catalog_builder *b, uint32_t parent, const char *name,
	const struct built_catalog *child)
{
	uint32_t e = builder_nested(b, parent, name, child);

	builder_mtime(b, e, BUILDER_MTIME_SEC);
	return e;
}

/* Mounts the first tree, flips to the others. Takes the root over. */
static void show(struct built_catalog *root)
{
	struct catalog_ref ref = root->ref;

	keep(root);
	built_free(root);
	revision++;
	if (!view) {
		struct view_config config = {.catalogs = store,
			.source = fake_source_of(fake),
			.root = ref,
			.revision = revision,
			.fetch_deadline_ns = NS_PER_SEC};

		assert_int_equal(view_new(&config, &view), 0);
		assert_int_equal(view_load(view), 0);
		return;
	}
	view_changes_free(changes);
	changes = NULL;
	assert_int_equal(view_flip(view, &ref, revision, &changes), 0);
}

static int try_find(const char *path, struct view_node *out)
{
	char copy[128];
	char *rest = copy;
	int r = view_resolve(view, VIEW_ROOT, out);

	(void)snprintf(copy, sizeof(copy), "%s", path);
	for (char *name; r == 0 && *copy && (name = strsep(&rest, "/"));) {
		struct view_dir dir;

		r = view_enter(view, out, &dir, NULL);
		if (r < 0)
			break;
		uint32_t i = catalog_lookup(dir.catalog, dir.index, name, strlen(name));

		if (i == CATALOG_NO_ENTRY)
			return -ENOENT;
		r = view_child(view, &dir, i, out);
	}
	return r;
}

static struct view_node find(const char *path)
{
	struct view_node node;

	assert_int_equal(try_find(path, &node), 0);
	return node;
}

/* As the kernel does for each component of a path. */
static uint64_t remember(const char *path)
{
	struct view_node node = find(path);

	view_remember(&node);
	return node.id;
}

static bool is_changed(enum view_change_kind kind, uint64_t node, const char *name)
{
	for (size_t i = 0; i < changes->count; i++)
		if (changes->list[i].kind == kind && changes->list[i].node == node &&
			(!name || strcmp(view_change_name(changes, i), name) == 0))
			return true;
	return false;
}

static struct view_usage usage(void)
{
	struct view_usage u;

	view_usage(view, &u);
	return u;
}

/* a, b: packages; dir: plain; file. */
static struct built_catalog *small_root(const char *a_text, const char *b_text)
{
	struct built_catalog *a = leaf("a", a_text);
	struct built_catalog *b = leaf("b", b_text);
	struct catalog_builder *r = skeleton("", NAMES("dir/", "file"));

	nest(r, BUILDER_TOP, "a", a);
	nest(r, BUILDER_TOP, "b", b);
	built_free(a);
	built_free(b);
	return builder_finish(r);
}

static void what_did_not_change_keeps_its_number_and_nobody_hears_of_it(void **state)
{
	static const char *const kept[] = {"", "a", "a/lib", "a/lib/text", "dir", "file"};
	uint64_t ids[ARRAY_SIZE(kept)];

	(void)state;
	show(small_root("one", "two"));
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		ids[i] = remember(kept[i]);
	uint64_t b = remember("b");
	uint64_t text = remember("b/lib/text");

	show(small_root("one", "TWO"));
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
	show(small_root("one", "two"));
	remember("a/lib/text");
	remember("a");
	show(small_root("one", "two"));
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

/* top/mid/{x,y}: two levels of skeleton. */
static struct built_catalog *deep_root(const char *x_text, const char *y_text)
{
	struct built_catalog *x = leaf("top/mid/x", x_text);
	struct built_catalog *y = leaf("top/mid/y", y_text);
	struct catalog_builder *m = skeleton("top/mid", NAMES("note"));
	struct catalog_builder *r = builder_new("");
	uint32_t top = builder_dir(r, BUILDER_TOP, "top");

	nest(m, BUILDER_TOP, "x", x);
	nest(m, BUILDER_TOP, "y", y);
	struct built_catalog *mid = keep(builder_finish(m));

	nest(r, top, "mid", mid);
	built_free(x);
	built_free(y);
	built_free(mid);
	return builder_finish(r);
}

static void a_skeleton_below_stays_and_only_its_package_changes(void **state)
{
	static const char *const kept[] = {
		"top", "top/mid", "top/mid/note", "top/mid/x", "top/mid/x/lib/text"};
	uint64_t ids[ARRAY_SIZE(kept)];

	(void)state;
	show(deep_root("one", "two"));
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		ids[i] = remember(kept[i]);
	uint64_t y = remember("top/mid/y");

	(void)remember("top/mid/y/lib");
	show(deep_root("one", "TWO"));
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
	show(deep_root("one", "two"));
	uint64_t mid = remember("top/mid");

	show(deep_root("ONE", "two"));
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

static void who_is_inside_the_old_package_has_it_complete(void **state)
{
	struct view_node node;
	struct view_node up;
	struct view_dir dir;

	(void)state;
	show(deep_root("one", "two"));
	uint64_t y = remember("top/mid/y");
	uint64_t text = remember("top/mid/y/lib/text");

	for (int i = 0; i < 40; i++)
		show(deep_root("one", i % 2 ? "two!" : "TWO"));
	view_reap(view);
	assert_int_equal(view_resolve(view, text, &node), 0);
	assert_true(node.entry->size == 3);
	assert_int_equal(view_resolve(view, y, &node), 0);
	assert_int_equal(view_enter(view, &node, &dir, NULL), 0);
	assert_int_equal(catalog_lookup(dir.catalog, dir.index, "lib", 3), dir.index + 1);
	/* its parent is the directory of today */
	assert_int_equal(view_parent(view, &node, &up), 0);
	assert_true(up.id == find("top/mid").id);
}

/* Somebody's working directory is in a plain directory that the new tree lacks. */
static void a_removed_directory_goes_on_for_who_is_in_it(void **state)
{
	struct catalog_builder *b = builder_new("");
	struct view_node node;
	struct view_dir dir;
	uint32_t d = builder_dir(b, BUILDER_TOP, "dir");
	uint32_t kept;

	(void)state;
	kept = builder_file(b, BUILDER_TOP, "kept", "x", 1, 64);
	builder_link(b, d, "link", kept);
	builder_file(b, d, "file", "y", 1, 64);
	show(builder_finish(b));
	uint64_t id = remember("dir");
	uint32_t slots = usage().slots;

	b = builder_new("");
	builder_file(b, BUILDER_TOP, "other", "x", 1, 64);
	show(builder_finish(b));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), 0);
	assert_int_equal(view_enter(view, &node, &dir, NULL), 0);
	/* names that nobody has looked up before */
	for (uint32_t i = 0; i < 2; i++) {
		struct view_node child;
		struct view_node up;

		assert_int_equal(
			view_child(view, &dir,
				catalog_entry(dir.catalog, dir.index)->first + i, &child),
			0);
		view_remember(&child);
		assert_int_equal(view_resolve(view, child.id, &up), 0);
		assert_ptr_equal(up.entry, child.entry);
		assert_true(view_forget(view, child.id, 1));
	}
	assert_true(view_forget(view, id, 1));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), -ESTALE);
	assert_true(usage().slots < slots);
	assert_int_equal(usage().superseded, 0);
	assert_int_equal(usage().catalogs, 1);
}

static void what_nobody_remembers_goes_and_its_number_is_told_apart(void **state)
{
	struct view_node node;

	(void)state;
	show(small_root("one", "two"));
	struct view_usage before = usage();
	struct view_node b = find("b/lib/text");
	uint64_t id = b.id;
	uint64_t dir = find("b").id;
	uint32_t generation = b.generation;

	view_remember(&b);
	view_remember(&b);
	show(small_root("one", "TWO"));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), 0);
	assert_int_equal(usage().superseded, 1);
	assert_false(view_forget(view, id, 1));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), 0);
	assert_true(view_forget(view, id, 1));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), -ESTALE);
	assert_int_equal(view_resolve(view, dir, &node), -ESTALE);
	assert_int_equal(usage().superseded, 0);
	/* the next to get the number is not taken for the former */
	struct view_node next = find("b/lib/text");

	assert_true(next.id == id);
	assert_true(next.generation != generation);
	assert_int_equal(usage().slots, before.slots + 1);
}

static void an_answer_that_is_on_its_way_keeps_what_it_names(void **state)
{
	struct view_node node;

	(void)state;
	show(small_root("one", "two"));
	uint64_t id = remember("b/lib");

	show(small_root("one", "TWO"));
	assert_true(view_forget(view, id, 1));
	/* found before it was let go, told afterwards */
	assert_int_equal(view_resolve(view, id, &node), 0);
	view_remember(&node);
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), 0);
	assert_true(view_forget(view, id, 1));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), -ESTALE);
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
	show(deep_root("one", "two"));
	(void)find("top/mid/x/lib/text");
	struct built_catalog *root = deep_root("one", "TWO");
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
	built_free(deep_root("one", "TWO")); /* it is here again */
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
	show(small_root("one", "two"));
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

static void a_flip_overtakes_a_fetch(void **state)
{
	struct built_catalog *roots[2];
	struct built_catalog *packs[2];
	struct view_node node;
	struct test_waiter w;
	struct view_dir dir;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct catalog_builder *p = builder_new("p");
		struct catalog_builder *r = builder_new("");

		builder_file(p, BUILDER_TOP, i ? "new" : "old", "x", 1, 64);
		packs[i] = builder_finish(p);
		fake_source_serve(fake, packs[i]);
		builder_nested(r, BUILDER_TOP, "p", packs[i]);
		roots[i] = builder_finish(r);
	}
	show(roots[0]);
	node = find("p");
	fake_source_hold(fake);
	test_waiter_init(&w);
	assert_int_equal(view_enter(view, &node, &dir, &w.waiter), -EINPROGRESS);
	show(roots[1]);
	fake_source_release(fake);
	assert_int_equal(test_waiter_wait(&w), 0);
	test_waiter_release(&w);
	/* who was woken asks again, and is shown the new one only */
	test_waiter_init(&w);
	node = find("p");
	assert_int_equal(view_enter(view, &node, &dir, &w.waiter), -EINPROGRESS);
	assert_int_equal(test_waiter_wait(&w), 0);
	test_waiter_release(&w);
	(void)find("p/new");
	assert_int_equal(try_find("p/old", &node), -ENOENT);
	built_free(packs[0]);
	built_free(packs[1]);
}

static void without_memory_nothing_flips_and_the_next_try_does(void **state)
{
	struct built_catalog *root;
	int r = -1;

	(void)state;
	show(deep_root("one", "two"));
	remember("top/mid");
	uint64_t x = remember("top/mid/x/lib/text");
	uint64_t y = remember("top/mid/y");

	remember("top/mid/y/lib");
	root = keep(deep_root("one", "TWO"));
	for (long n = 0; r != 0; n++) {
		struct view_changes *list = NULL;

		assert_true(n < 1000);
		mem_fail_after(n);
		r = view_flip(view, &root->ref, 2, &list);
		mem_fail_after(-1);
		if (r == 0) {
			view_changes_free(list);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_true(find("top/mid/y").id == y);
		assert_int_equal(usage().superseded, 0);
	}
	assert_true(find("top/mid/x/lib/text").id == x);
	assert_true(find("top/mid/y").id != y);
	built_free(root);
}

/* A night of a busy master, and a kernel that looks at everything and forgets it again. */
static void ten_thousand_flips_leave_memory_as_it_was(void **state)
{
	struct catalog_ref refs[4];
	size_t bytes = 0;
	struct view_usage before = {0};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct built_catalog *root =
			deep_root(i & 1 ? "one" : "ONE", i & 2 ? "two" : "TWO");

		refs[i] = root->ref;
		if (i == 0)
			show(root);
		else
			built_free(keep(root));
	}
	for (int i = 0; i < MANY_FLIPS; i++) {
		static const char *const paths[] = {"top", "top/mid", "top/mid/x",
			"top/mid/x/lib/text", "top/mid/y", "top/mid/y/lib/text"};
		uint64_t ids[ARRAY_SIZE(paths)];
		struct view_changes *list;

		for (size_t k = 0; k < ARRAY_SIZE(paths); k++)
			ids[k] = remember(paths[k]);
		assert_int_equal(
			view_flip(view, &refs[(unsigned int)i % 4], 2, &list), 0);
		view_changes_free(list);
		for (size_t k = 0; k < ARRAY_SIZE(paths); k++)
			(void)view_forget(view, ids[k], 1);
		view_reap(view);
		if (i == 103) {
			bytes = mallinfo2().uordblks;
			before = usage();
		}
	}
	struct view_usage after = usage();

	assert_int_equal(after.superseded, 0);
	assert_int_equal(after.slots, before.slots);
	assert_int_equal(after.catalogs, before.catalogs);
	assert_true(mallinfo2().uordblks < bytes + 16 * 1024);
}

static atomic_bool must_end;
static atomic_uint wrong;

/* Looks the same path up again and again, as the kernel would, and remembers some of it. */
static void *read_along(void *arg)
{
	unsigned int *rounds = arg;

	while (!atomic_load(&must_end)) {
		AUTO_EPOCH epoch = epoch_enter();
		struct view_node node;
		struct view_node up;
		bool is_text = ++*rounds % 2;
		int r = try_find(is_text ? "top/mid/y/lib/text" : "top/mid/x", &node);

		if (r == -ERESTART)
			continue;
		if (r < 0 || (is_text && node.entry->size != 3)) {
			atomic_fetch_add(&wrong, 1);
			continue;
		}
		view_remember(&node);
		r = view_resolve(view, node.id, &up);
		if (r < 0)
			atomic_fetch_add(&wrong, 1);
		r = view_parent(view, &node, &up);
		if (r < 0 && r != -ERESTART)
			atomic_fetch_add(&wrong, 1);
		(void)view_revision(view, &node);
		(void)view_forget(view, node.id, 1);
	}
	return NULL;
}

static void readers_and_flips_do_not_disturb_each_other(void **state)
{
	struct catalog_ref refs[2];
	pthread_t readers[READERS];
	unsigned int rounds[READERS] = {0, 1, 2, 3};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct built_catalog *root = deep_root("one", i ? "two" : "TWO");

		refs[i] = root->ref;
		if (i == 0)
			show(root);
		else
			built_free(keep(root));
	}
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(
			pthread_create(&readers[i], NULL, read_along, &rounds[i]), 0);
	for (unsigned int i = 0; i < 150; i++) {
		struct view_changes *list = NULL;

		if (view_flip(view, &refs[(i + 1) % 2], i, &list) < 0)
			atomic_fetch_add(&wrong, 1);
		view_changes_free(list);
		view_reap(view);
	}
	atomic_store(&must_end, true);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	view_reap(view);
	assert_int_equal(usage().superseded, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
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
		T(who_is_inside_the_old_package_has_it_complete),
		T(a_removed_directory_goes_on_for_who_is_in_it),
		T(what_nobody_remembers_goes_and_its_number_is_told_apart),
		T(an_answer_that_is_on_its_way_keeps_what_it_names),
		T(what_the_kernel_does_not_know_it_is_not_told_of),
		T(a_listing_goes_on_behind_the_name_where_it_was),
		T(a_listing_of_a_directory_below_goes_on_too),
		T(without_a_skeleton_catalog_nothing_flips),
		T(a_root_that_belongs_elsewhere_is_refused),
		T(a_package_tells_its_own_revision_and_whether_it_is_stale),
		T(a_flip_overtakes_a_fetch),
		T(without_memory_nothing_flips_and_the_next_try_does),
		T(ten_thousand_flips_leave_memory_as_it_was),
		T(readers_and_flips_do_not_disturb_each_other),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
