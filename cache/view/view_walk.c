/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/view/slot.h"

#include <errno.h>
#include <string.h>

/* Catalogs fetched ahead of a walk: enough to fill a long line with small files. */
#define WALK_WINDOW_MAX 128

/* Notes that nested catalog `nth` of `parent` is entered and says which ones a walk in order
 * will enter next: [*out_first, the result). */
static uint32_t walk_next(struct view *view, struct view_room *parent, uint32_t nth,
	uint32_t total, uint32_t *out_first)
{
	uint32_t end = 0;

	mutex_lock(&view->lock);
	if (nth >= parent->walk_at && nth <= parent->walk_end) {
		uint32_t window = parent->walk_window ? parent->walk_window * 2 : 2;

		/* more is asked for when half of the window is used up */
		if (nth + parent->walk_window / 2 >= parent->walk_end) {
			parent->walk_window =
				window < WALK_WINDOW_MAX ? window : WALK_WINDOW_MAX;
			*out_first =
				parent->walk_end > nth + 1 ? parent->walk_end : nth + 1;
			end = total - nth - 1 < parent->walk_window
				      ? total
				      : nth + 1 + parent->walk_window;
			parent->walk_end = end;
		}
	} else {
		parent->walk_window = 0;
		parent->walk_end = nth + 1;
	}
	parent->walk_at = nth;
	mutex_unlock(&view->lock);
	return end;
}

/* A directory walk (find, du, a backup) enters one package after the other: their catalogs are
 * fetched ahead, so that a thousand packages are not a thousand round trips. */
void walk_ahead(struct view *view, const struct view_place *place)
{
	struct view_room *parent = place->holder;
	const struct catalog *c = parent->catalog;
	uint32_t first = 0;
	uint32_t end = walk_next(
		view, parent, c->entries[place->index].first, c->nested_count, &first);

	for (uint32_t i = first; i < end; i++) {
		struct view_slot *next;

		if (catalog_store_has(view->config.catalogs, &c->nested[i].digest) ||
			room_slot(view, parent, c->nested[i].entry, parent->owner,
				&next) < 0)
			continue;
		place_fetch_ahead(view, next, slot_place(view, next));
	}
}

int view_find_package(
	struct view *view, const char *path, size_t len, struct view_package *out)
{
	const char *end = path + len;
	struct view_node node;
	struct view_dir dir;
	int r = len ? view_resolve(view, VIEW_ROOT, &node) : -ENOENT;

	while (r == 0 && path < end) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		const char *stop = slash ? slash : end;

		r = view_enter_local(view, &node, &dir);
		if (r < 0)
			break;
		uint32_t i = catalog_lookup(
			dir.catalog, dir.index, path, (size_t)(stop - path));

		r = i == CATALOG_NO_ENTRY ? -ENOENT : view_child(view, &dir, i, &node);
		path = slash ? slash + 1 : end;
	}
	if (r < 0 || !catalog_entry_is_nested(node.entry))
		return -ENOENT;
	*out = (struct view_package){.holder = node.room, .index = node.index};
	return 0;
}

bool view_next_package(struct view_package *package)
{
	uint32_t next = catalog_next_nested(package->holder->catalog, package->index);

	if (next != CATALOG_NO_ENTRY)
		package->index = next;
	return next != CATALOG_NO_ENTRY;
}

const struct catalog_nested *view_package_ref(const struct view_package *package)
{
	const struct catalog *c = package->holder->catalog;

	return &c->nested[c->entries[package->index].first];
}

int view_package_catalog(struct view *view, const struct view_package *package,
	bool may_fetch, const struct catalog **out)
{
	struct view_slot *slot;
	struct view_room *room;
	int r = room_slot(
		view, package->holder, package->index, package->holder->owner, &slot);

	if (r < 0)
		return r;
	struct view_place *place = slot_place(view, slot);

	r = place_room(view, slot, place, NULL, &room);
	if (r == -EAGAIN && may_fetch)
		place_fetch_ahead(view, slot, place);
	if (r == 0)
		*out = room->catalog;
	return r;
}
