/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/view/walked_view.h"

#include "tests/cache/support.h"

#include <errno.h>
#include <string.h>

struct view_node root_node(struct view *view)
{
	struct view_node node;

	assert_int_equal(view_resolve(view, VIEW_ROOT, &node), 0);
	return node;
}

struct view_dir enter(struct view *view, const struct view_node *node)
{
	struct test_waiter w;
	struct view_dir dir;

	test_waiter_init(&w);
	int r = view_enter(view, node, &dir, &w.waiter);

	if (r == -EINPROGRESS) {
		assert_int_equal(test_waiter_wait(&w), 0);
		r = view_enter(view, node, &dir, NULL);
	}
	assert_int_equal(r, 0);
	test_waiter_release(&w);
	return dir;
}

struct view_node walk(struct view *view, const char *path)
{
	struct view_node node = root_node(view);

	while (*path) {
		struct view_dir dir = enter(view, &node);
		size_t len = strcspn(path, "/");
		uint32_t i = catalog_lookup(dir.catalog, dir.index, path, len);

		assert_int_not_equal(i, CATALOG_NO_ENTRY);
		assert_int_equal(view_child(view, &dir, i, &node), 0);
		path += len + (path[len] == '/');
	}
	return node;
}
