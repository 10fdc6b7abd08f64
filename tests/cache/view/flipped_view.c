/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/view/flipped_view.h"

#include "cache/base/threads/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct scratch scratch;
static struct catalog_store *store;
struct fake_source *fake;
struct view *view;
struct view_changes *changes;
static uint64_t revision;

int flipped_make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	assert_int_equal(catalog_store_open(scratch.fd, &store), 0);
	fake = fake_source_new();
	revision = 0;
	return 0;
}

int flipped_drop(void **state)
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

struct built_catalog *keep(struct built_catalog *built)
{
	built_keep(built, store);
	return built;
}

struct built_catalog *leaf(const char *path, const char *text)
{
	struct catalog_builder *b = builder_new(path);
	uint32_t lib = builder_dir(b, BUILDER_TOP, "lib");

	builder_file(b, lib, "text", text, strlen(text), 64);
	return keep(builder_finish(b));
}

struct catalog_builder *skeleton(const char *path, const char *const *names, size_t count)
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

uint32_t nest(struct catalog_builder *b, uint32_t parent, const char *name,
	const struct built_catalog *child)
{
	uint32_t e = builder_nested(b, parent, name, child);

	builder_mtime(b, e, BUILDER_MTIME_SEC);
	return e;
}

void show(struct built_catalog *root)
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
			.fetch_deadline_ns = 120 * NS_PER_SEC};

		assert_int_equal(view_new(&config, &view), 0);
		assert_int_equal(view_load(view), 0);
		return;
	}
	view_changes_free(changes);
	changes = NULL;
	assert_int_equal(view_flip(view, &ref, revision, &changes), 0);
}

int flipped_try(const char *path, struct view_node *out)
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

struct view_node find(const char *path)
{
	struct view_node node;

	assert_int_equal(flipped_try(path, &node), 0);
	return node;
}

uint64_t remember(const char *path)
{
	struct view_node node = find(path);

	view_remember(&node);
	return node.id;
}

bool is_changed(enum view_change_kind kind, uint64_t node, const char *name)
{
	for (size_t i = 0; i < changes->count; i++)
		if (changes->list[i].kind == kind && changes->list[i].node == node &&
			(!name || strcmp(view_change_name(changes, i), name) == 0))
			return true;
	return false;
}

struct view_usage usage(void)
{
	struct view_usage u;

	view_usage(view, &u);
	return u;
}

struct built_catalog *flipped_small(const char *a_text, const char *b_text)
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

struct built_catalog *flipped_deep(const char *x_text, const char *y_text)
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
