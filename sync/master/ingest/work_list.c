/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/ingest/work_list.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <string.h>

int work_list_compare(
	struct packages *packages, struct scan_state *state, const struct depot *depot)
{
	for (size_t i = packages->count; i-- > 0;) {
		struct package *p = packages->list[i];
		struct known_package known;
		int r = scan_state_package(state, p->path, p->path_length, &known);

		if (r < 0 && r != -ENOENT)
			return r;
		if (r == -ENOENT || !p->hash || known.hash != p->hash ||
			depot_has_object(depot, "catalog", &known.ref.digest,
				known.ref.stored_bytes) < 0)
			p->is_dirty = true;
		if (p->is_dirty && p->parent)
			p->parent->is_dirty = true;
		if (p->is_dirty)
			continue;
		p->ref = known.ref;
		p->tree_entries = known.tree_entries;
		p->tree_bytes = known.tree_bytes;
	}
	return 0;
}

static int recall(
	struct history *h, struct previous *p, uint32_t index, struct tree_entry *e)
{
	int r = p ? history_recall(h, p, index, e) : -ENOENT;

	if (r == -ENOENT) {
		e->flags |= TREE_ENTRY_CHANGED;
		return 0;
	}
	return r;
}

static int compare_dir(struct history *h, struct tree_dir *dir)
{
	for (uint32_t k = 0; k < dir->count; k++) {
		struct tree_entry *e = &dir->entries[k];
		uint32_t index = 0;
		struct previous *p = NULL;
		int r = 0;

		if (dir->previous && history_find(dir->previous, dir->previous_index,
					     e->name, e->name_length, &index) == 0)
			p = dir->previous;
		r = recall(h, p, index, e);
		if (r == 0 && p && S_ISDIR(e->mode) && e->dir->package->is_dirty) {
			r = history_enter(
				h, p, index, &e->dir->previous, &e->dir->previous_index);
			if (r == -ENOENT || r == -ENOTDIR) {
				e->dir->previous = NULL;
				r = 0;
			}
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_item(struct work_list *w, size_t *capacity, size_t *follower_capacity,
	struct tree_dir *dir, struct tree_entry *e)
{
	struct link_group *links = e->links;
	int r;

	if (links)
		links->read_count++;
	if (links && links->reader) {
		r = mem_grow((void **)&w->followers, follower_capacity, w->follower_count,
			sizeof(struct tree_entry *));
		if (r == 0)
			w->followers[w->follower_count++] = e;
		return r;
	}
	if (links)
		links->reader = e;
	r = mem_grow((void **)&w->items, capacity, w->count, sizeof(*w->items));
	if (r < 0)
		return r;
	w->items[w->count++] =
		(struct ingest_item){.dir = dir, .entry = e, .package = dir->package};
	dir->package->item_count++;
	if (S_ISREG(e->mode)) {
		w->files++;
		w->bytes += e->size;
	}
	return 0;
}

struct frame_of_walk {
	struct tree_dir *dir;
	uint32_t next;
};

/* Depth first by name, as `cp -r` and most readers go. */
static int collect(struct tree *tree, struct work_list *w)
{
	AUTO_FREE struct frame_of_walk *stack = NULL;
	size_t stack_capacity = 0;
	size_t capacity = 0;
	size_t follower_capacity = 0;
	size_t depth = 0;
	int r = mem_grow((void **)&stack, &stack_capacity, 0, sizeof(*stack));

	if (r < 0)
		return r;
	stack[depth++] = (struct frame_of_walk){.dir = tree->root.dir};
	if (tree->root.flags & TREE_ENTRY_CHANGED)
		r = add_item(
			w, &capacity, &follower_capacity, tree->root.dir, &tree->root);
	while (r == 0 && depth) {
		struct frame_of_walk *f = &stack[depth - 1];

		if (f->next == f->dir->count) {
			depth--;
			continue;
		}
		struct tree_dir *dir = f->dir;
		struct tree_entry *e = &dir->entries[f->next++];

		if (e->flags & TREE_ENTRY_CHANGED)
			r = add_item(w, &capacity, &follower_capacity, dir, e);
		if (r < 0 || !S_ISDIR(e->mode) || !e->dir->package->is_dirty)
			continue;
		r = mem_grow((void **)&stack, &stack_capacity, depth, sizeof(*stack));
		if (r == 0)
			stack[depth++] = (struct frame_of_walk){.dir = e->dir};
	}
	return r;
}

/* A stable sort by package: their item counts say where each begins. */
static int group(struct packages *packages, struct work_list *w)
{
	struct ingest_item *sorted = mem_alloc(w->count * sizeof(*sorted));
	size_t at = 0;

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < packages->count; i++) {
		size_t n = packages->list[i]->item_count;

		packages->list[i]->item_count = at;
		at += n;
	}
	for (size_t i = 0; i < w->count; i++)
		sorted[w->items[i].dir->package->item_count++] = w->items[i];
	free(w->items);
	w->items = sorted;
	return 0;
}

int work_list_make(struct tree *tree, struct packages *packages, struct history *history,
	struct work_list *out)
{
	struct work_list w = {0};
	struct tree_dir *top = tree->root.dir;
	int r = history_root(history, &top->previous, &top->previous_index);

	if (r == -ENOENT) {
		top->previous = NULL;
		r = 0;
	}
	if (r == 0)
		r = recall(history, top->previous, top->previous_index, &tree->root);
	for (size_t i = 0; r == 0 && i < tree->dir_count; i++) {
		if (tree->dirs[i]->package->is_dirty)
			r = compare_dir(history, tree->dirs[i]);
	}
	if (r == 0)
		r = collect(tree, &w);
	if (r == 0)
		r = group(packages, &w);
	if (r < 0) {
		work_list_release(&w);
		return r;
	}
	*out = w;
	return 0;
}

void work_list_share(struct work_list *w)
{
	for (size_t i = 0; i < w->follower_count; i++) {
		struct tree_entry *e = w->followers[i];
		const struct tree_entry *from = e->links->reader;
		struct tree_entry copy = *from;

		copy.name = e->name;
		copy.name_length = e->name_length;
		*e = copy;
	}
}

void work_list_release(struct work_list *w)
{
	free(w->items);
	free(w->followers);
	*w = (struct work_list){0};
}
