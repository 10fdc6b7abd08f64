/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/links.h"

#include "cache/base/buffer.h"
#include "cache/base/memory.h"

#include <errno.h>

#define PATH_TEXT_MAX (64 * 1024 * 1024)

struct slot {
	uint64_t id;
	struct link_group *group;
};

struct table {
	struct slot *slots;
	size_t count;
};

static struct link_group **find(struct table *t, uint64_t id)
{
	size_t i = (size_t)id & (t->count - 1);

	while (t->slots[i].group && t->slots[i].id != id)
		i = (i + 1) & (t->count - 1);
	t->slots[i].id = id;
	return &t->slots[i].group;
}

static int join_group(struct tree *tree, struct table *t, const struct tree_dir *dir,
	struct tree_entry *e, struct buffer *path)
{
	struct link_group **group = find(t, e->ino);

	if (!*group) {
		path->len = 0;
		*group = arena_zalloc(&tree->arena, sizeof(**group));
		if (!*group || tree_path(dir, e, path) < 0)
			return -ENOMEM;
		(*group)->ino = hash64(path->data, path->len, 0);
		if (!(*group)->ino)
			(*group)->ino = 1;
	}
	(*group)->count++;
	e->links = *group;
	return 0;
}

static void settle(struct tree_entry *e)
{
	if (e->links->count == 1) {
		e->flags &= (uint16_t)~TREE_ENTRY_LINKED;
		e->links = NULL;
		e->ino = 0;
		return;
	}
	e->ino = e->links->ino;
	e->nlink = e->links->count;
	e->fingerprint = tree_linked_fingerprint(e);
}

int links_resolve(struct tree *tree)
{
	struct buffer path AUTO_BUFFER = BUFFER_INIT(PATH_TEXT_MAX);
	struct table t = {.count = 16};
	size_t linked = 0;

	for (size_t i = 0; i < tree->dir_count; i++) {
		for (uint32_t k = 0; k < tree->dirs[i]->count; k++)
			linked += (tree->dirs[i]->entries[k].flags & TREE_ENTRY_LINKED) !=
				  0;
	}
	if (!linked)
		return 0;
	while (t.count < linked * 2)
		t.count *= 2;
	AUTO_FREE struct slot *slots = mem_calloc(t.count, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	t.slots = slots;
	for (size_t i = 0; i < tree->dir_count; i++) {
		struct tree_dir *dir = tree->dirs[i];

		for (uint32_t k = 0; k < dir->count; k++) {
			if (!(dir->entries[k].flags & TREE_ENTRY_LINKED))
				continue;
			int r = join_group(tree, &t, dir, &dir->entries[k], &path);

			if (r < 0)
				return r;
		}
	}
	for (size_t i = 0; i < tree->dir_count; i++) {
		for (uint32_t k = 0; k < tree->dirs[i]->count; k++) {
			if (tree->dirs[i]->entries[k].flags & TREE_ENTRY_LINKED)
				settle(&tree->dirs[i]->entries[k]);
		}
	}
	return 0;
}
