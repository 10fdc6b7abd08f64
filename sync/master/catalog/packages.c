/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/catalog/packages.h"

#include "cache/base/data/buffer.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#define PATH_TEXT_MAX (64 * 1024 * 1024)
#define SPLIT_MIN     (CATALOG_SPLIT_ENTRIES / CATALOG_SPLIT_SHARE)

/* Marks a directory as a package's top until the packages are made. */
static struct package marked;

static size_t depth_of_glob(const char *glob)
{
	size_t depth = 1;

	for (; *glob; glob++)
		depth += *glob == '/';
	return depth;
}

static bool matches(const struct tree_dir *dir, size_t depth, char *const *globs,
	size_t glob_count, struct buffer *path, int *error)
{
	path->len = 0;
	for (size_t i = 0; i < glob_count; i++) {
		/* FNM_PATHNAME: a slash is matched by a slash only */
		if (depth_of_glob(globs[i]) != depth)
			continue;
		if (path->len == 0) {
			*error = tree_path(dir, dir->self, path);
			if (*error == 0)
				*error = buffer_add(path, "", 1);
			if (*error < 0)
				return false;
		}
		if (fnmatch(globs[i], (const char *)path->data, FNM_PATHNAME) == 0)
			return true;
	}
	return false;
}

static int mark_globs(struct tree *tree, char *const *globs, size_t glob_count)
{
	struct buffer path AUTO_BUFFER = BUFFER_INIT(PATH_TEXT_MAX);
	int error = 0;

	for (size_t i = 0; i < tree->dir_count; i++) {
		struct tree_dir *dir = tree->dirs[i];

		/* `weight` holds the depth on the way down; weigh() gives it its meaning */
		dir->weight = dir->parent ? dir->parent->weight + 1 : 0;
		dir->package = NULL;
		if (!dir->parent || (glob_count && matches(dir, dir->weight, globs,
							   glob_count, &path, &error)))
			dir->package = &marked;
		if (error < 0)
			return error;
	}
	return 0;
}

/* Children before parents: what would grow too heavy gives up its heavy children. */
static void weigh(struct tree *tree)
{
	for (size_t i = tree->dir_count; i-- > 0;) {
		struct tree_dir *dir = tree->dirs[i];
		uint64_t weight = 1;

		for (uint32_t k = 0; k < dir->count; k++) {
			const struct tree_entry *e = &dir->entries[k];
			bool is_inside = S_ISDIR(e->mode) && !e->dir->package;

			weight += is_inside ? e->dir->weight : 1;
		}
		for (uint32_t k = 0; weight > CATALOG_SPLIT_ENTRIES && k < dir->count;
			k++) {
			const struct tree_entry *e = &dir->entries[k];

			if (!S_ISDIR(e->mode) || e->dir->package ||
				e->dir->weight < SPLIT_MIN)
				continue;
			e->dir->package = &marked;
			/* all heavy children go, so that one more file moves nothing else */
		}
		if (weight > CATALOG_SPLIT_ENTRIES) {
			weight = 1;
			for (uint32_t k = 0; k < dir->count; k++) {
				const struct tree_entry *e = &dir->entries[k];
				bool is_inside = S_ISDIR(e->mode) && !e->dir->package;

				weight += is_inside ? e->dir->weight : 1;
			}
		}
		dir->weight = (uint32_t)weight;
	}
}

static int add_package(struct packages *p, size_t *capacity, struct tree_dir *top)
{
	int r = mem_grow((void **)&p->list, capacity, p->count, sizeof(struct package *));

	if (r < 0)
		return r;
	struct package *pkg = arena_zalloc(&p->arena, sizeof(*pkg));
	struct buffer path AUTO_BUFFER = BUFFER_INIT(PATH_TEXT_MAX);

	if (!pkg || tree_path(top, top->self, &path) < 0 || buffer_add(&path, "", 1) < 0)
		return -ENOMEM;
	pkg->path = arena_dup(&p->arena, path.data, path.len);
	if (!pkg->path)
		return -ENOMEM;
	pkg->path_length = path.len - 1;
	pkg->top = top;
	pkg->parent = top->parent ? top->parent->package : NULL;
	pkg->entry_count = 1;
	top->package = pkg;
	p->list[p->count++] = pkg;
	return 0;
}

static uint64_t mix(uint64_t hash, const struct tree_entry *e, uint64_t kind)
{
	if (!hash || !e->fingerprint)
		return 0;
	hash = hash64(e->name, e->name_length, hash + kind) ^ e->fingerprint;
	return hash ? hash : 1;
}

static void hash_dir(const struct tree_dir *dir)
{
	struct package *p = dir->package;
	uint64_t hash = dir == p->top ? mix(1, dir->self, 0) : p->hash;

	if (hash)
		hash = hash64(&dir->count, sizeof(dir->count), hash);
	for (uint32_t k = 0; k < dir->count; k++) {
		const struct tree_entry *e = &dir->entries[k];

		hash = mix(hash, e, S_ISDIR(e->mode) && e->dir->package != p);
	}
	p->hash = hash;
}

void packages_hash(const struct tree *tree)
{
	for (size_t i = 0; i < tree->dir_count; i++)
		hash_dir(tree->dirs[i]);
}

int packages_divide(
	struct tree *tree, char *const *globs, size_t glob_count, struct packages *out)
{
	struct packages p = {0};
	size_t capacity = 0;
	int r = mark_globs(tree, globs, glob_count);

	if (r < 0)
		return r;
	weigh(tree);
	for (size_t i = 0; i < tree->dir_count && r == 0; i++) {
		struct tree_dir *dir = tree->dirs[i];

		if (dir->package == &marked)
			r = add_package(&p, &capacity, dir);
		else
			dir->package = dir->parent->package;
		if (r == 0)
			dir->package->entry_count += dir->count;
	}
	if (r < 0) {
		packages_release(&p);
		return r;
	}
	for (size_t i = p.count; i-- > 1;) {
		struct package *up = p.list[i]->parent;

		if (!up)
			continue;
		up->nested_count++;
		if (up->height <= p.list[i]->height)
			up->height = p.list[i]->height + 1;
	}
	*out = p;
	return 0;
}

void packages_release(struct packages *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->list[i]->fingerprints);
	free(p->list);
	arena_release(&p->arena);
	*p = (struct packages){0};
}
