/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/walk/links.h"

#include "cache/base/data/buffer.h"
#include "cache/base/memory.h"

#include <errno.h>

#define PATH_TEXT_MAX (64 * 1024 * 1024)

/* Open addressing, at most half full. */
struct table {
	struct link_group **slots;
	size_t count;
};

/* Where the file's group is or belongs. */
static struct link_group **find(const struct table *t, const struct link_group *file)
{
	const uint64_t id[2] = {file->device, file->number};
	size_t i = (size_t)hash64(id, sizeof(id), 0) & (t->count - 1);

	while (t->slots[i] && (t->slots[i]->device != file->device ||
				      t->slots[i]->number != file->number))
		i = (i + 1) & (t->count - 1);
	return &t->slots[i];
}

static int join_group(const struct table *t, const struct tree_dir *dir,
	struct tree_entry *e, struct buffer *path)
{
	struct link_group **group = find(t, e->links);

	if (!*group) {
		path->len = 0;
		if (tree_path(dir, e, path) < 0)
			return -ENOMEM;
		*group = e->links;
		(*group)->ino = hash64(path->data, path->len, 0);
		if (!(*group)->ino)
			(*group)->ino = 1;
	}
	/* it changed between two of its names: none of them is what it was */
	if ((*group)->seen != e->fingerprint)
		(*group)->seen = 0;
	(*group)->count++;
	e->links = *group;
	return 0;
}

static void settle(struct tree_entry *e)
{
	if (e->links->count == 1) {
		e->flags &= (uint16_t)~TREE_ENTRY_LINKED;
		e->links = NULL;
		return;
	}
	e->ino = e->links->ino;
	e->nlink = e->links->count;
	e->fingerprint = e->links->seen;
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
	AUTO_FREE struct link_group **slots =
		mem_calloc(t.count, sizeof(struct link_group *));

	if (!slots)
		return -ENOMEM;
	t.slots = slots;
	for (size_t i = 0; i < tree->dir_count; i++) {
		struct tree_dir *dir = tree->dirs[i];

		for (uint32_t k = 0; k < dir->count; k++) {
			if (!(dir->entries[k].flags & TREE_ENTRY_LINKED))
				continue;
			int r = join_group(&t, dir, &dir->entries[k], &path);

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
