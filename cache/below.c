/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/below.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct numbers {
	uint32_t *items;
	size_t count;
	size_t capacity;
};

struct walk {
	struct below *below;
	struct catalog_ref *pending;
	size_t pending_count;
	size_t pending_capacity;
	struct numbers contents; /* of the catalog at hand */
	struct numbers dirs;	 /* to be looked into */
};

bool below_is_path(const char *path)
{
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 0 || (len == 1 && path[0] == '.') ||
			(len == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += len;
		if (*path == '/' && *++path == '\0')
			return false;
	}
	return true;
}

static int add_number(struct numbers *n, uint32_t number)
{
	int r = mem_grow((void **)&n->items, &n->capacity, n->count, sizeof(*n->items));

	if (r == 0)
		n->items[n->count++] = number;
	return r;
}

static int compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_once_each(struct numbers *n)
{
	size_t kept = 0;

	if (n->count)
		qsort(n->items, n->count, sizeof(*n->items), compare_numbers);
	for (size_t i = 0; i < n->count; i++)
		if (i == 0 || n->items[i] != n->items[i - 1])
			n->items[kept++] = n->items[i];
	n->count = kept;
}

/* A catalog of its own below: for later. */
static int add_pending(struct walk *walk, const struct catalog_ref *ref)
{
	int r = mem_grow((void **)&walk->pending, &walk->pending_capacity,
		walk->pending_count, sizeof(*walk->pending));

	if (r < 0)
		return r;
	walk->pending[walk->pending_count++] = *ref;
	if (walk->below->soon)
		walk->below->soon(walk->below->arg, ref);
	return 0;
}

static int add_entry(struct walk *walk, const struct catalog *c, uint32_t i)
{
	const struct catalog_entry *e = catalog_entry(c, i);

	if (catalog_entry_is_nested(e)) {
		struct catalog_ref ref = catalog_nested_ref(&c->nested[e->first]);

		return add_pending(walk, &ref);
	}
	if (S_ISDIR(e->mode))
		return add_number(&walk->dirs, i);
	if (!catalog_content_of(c, e))
		return 0;
	return add_number(&walk->contents, e->first);
}

/* Everything below an entry of this catalog, as far as it goes. */
static int visit_entry(struct walk *walk, struct catalog *c, uint32_t entry)
{
	struct below *below = walk->below;
	int r = add_entry(walk, c, entry);

	while (r == 0 && walk->dirs.count) {
		const struct catalog_entry *dir =
			catalog_entry(c, walk->dirs.items[--walk->dirs.count]);

		for (uint32_t i = dir->first; r == 0 && i < dir->first + dir->count; i++)
			r = add_entry(walk, c, i);
	}
	sort_once_each(&walk->contents);
	if (r == 0 && walk->contents.count)
		r = below->visit(
			below->arg, c, walk->contents.items, walk->contents.count);
	walk->contents.count = 0;
	walk->dirs.count = 0;
	return r;
}

/* Goes down along the path: the catalog that holds its last component, and the entry there. The
 * caller closes it. */
static int find(
	struct below *below, const char *path, struct catalog **out, uint32_t *entry)
{
	struct catalog_ref ref = below->root;
	struct catalog *c;
	uint32_t at = CATALOG_ROOT;
	int r = below->get(below->arg, &ref, &c);

	while (r == 0 && *path) {
		const struct catalog_entry *e = catalog_entry(c, at);
		size_t len = strcspn(path, "/");

		if (catalog_entry_is_nested(e)) {
			ref = catalog_nested_ref(&c->nested[e->first]);
			catalog_close(c);
			r = below->get(below->arg, &ref, &c);
			at = CATALOG_ROOT;
			continue;
		}
		at = S_ISDIR(e->mode) ? catalog_lookup(c, at, path, len)
				      : CATALOG_NO_ENTRY;
		if (at == CATALOG_NO_ENTRY) {
			r = S_ISDIR(e->mode) ? -ENXIO : -ENOTDIR;
			catalog_close(c);
			break;
		}
		path += len;
		path += *path == '/';
	}
	/* -ENOENT is the catalogs' here, and no name's */
	if (r < 0)
		return r == -ENOENT ? -EAGAIN : r == -ENXIO ? -ENOENT : r;
	*out = c;
	*entry = at;
	return 0;
}

static int visit_pending(struct walk *walk)
{
	struct below *below = walk->below;
	int r = 0;

	while (r == 0 && walk->pending_count) {
		struct catalog_ref ref = walk->pending[--walk->pending_count];
		struct catalog *c;

		if (below->is_cancelled && atomic_load(below->is_cancelled))
			return -ECANCELED;
		r = below->get(below->arg, &ref, &c);
		if (r == -ENOENT) {
			below->missing++;
			r = 0;
			continue;
		}
		if (r < 0)
			return r;
		r = visit_entry(walk, c, CATALOG_ROOT);
		catalog_close(c);
	}
	return r;
}

int below_walk(struct below *below, const char *path)
{
	struct walk walk = {.below = below};
	struct catalog *c;
	uint32_t entry;

	below->missing = 0;
	int r = find(below, path, &c, &entry);

	if (r < 0)
		return r;
	r = visit_entry(&walk, c, entry);
	catalog_close(c);
	if (r == 0)
		r = visit_pending(&walk);
	free(walk.pending);
	free(walk.contents.items);
	free(walk.dirs.items);
	return r;
}
