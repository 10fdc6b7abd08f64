/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/view/slot.h"

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
