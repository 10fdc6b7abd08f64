/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/view/view_changes.h"

#include "cache/base/memory.h"

#include <errno.h>

#define NAMES_MAX (SIZE_MAX / 4)

int view_changes_new(struct view_changes **out)
{
	struct view_changes *changes = mem_calloc(1, sizeof(*changes));

	if (!changes)
		return -ENOMEM;
	changes->names.max = NAMES_MAX;
	*out = changes;
	return 0;
}

void view_changes_free(struct view_changes *changes)
{
	if (!changes)
		return;
	buffer_release(&changes->names);
	free(changes->list);
	free(changes);
}

static int add(struct view_changes *changes, const struct view_change *change)
{
	int r = mem_grow((void **)&changes->list, &changes->capacity, changes->count,
		sizeof(*changes->list));

	if (r == 0)
		changes->list[changes->count++] = *change;
	return r;
}

int view_changes_add_name(
	struct view_changes *changes, uint64_t dir, const char *name, size_t len)
{
	struct view_change change = {.kind = VIEW_CHANGE_NAME,
		.node = dir,
		.name = changes->names.len,
		.name_length = len};
	int r = buffer_add(&changes->names, name, len);

	if (r == 0)
		r = buffer_add_zero(&changes->names, 1);
	return r < 0 ? -ENOMEM : add(changes, &change);
}

int view_changes_add_node(
	struct view_changes *changes, uint64_t node, enum view_change_kind kind)
{
	return add(changes, &(struct view_change){.kind = kind, .node = node});
}

const char *view_change_name(const struct view_changes *changes, size_t i)
{
	return (const char *)changes->names.data + changes->list[i].name;
}
