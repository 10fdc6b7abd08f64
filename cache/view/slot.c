/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/view/slot.h"

#include "cache/base/memory.h"

#include <errno.h>

/* The cell of a number that was taken once: its page is there, and stays. */
static struct view_cell *cell_of(const struct view *view, uint32_t number)
{
	struct view_cell *page = atomic_load(&view->pages[number / SLOT_PAGE_SIZE]);

	return &page[number % SLOT_PAGE_SIZE];
}

/* The cell of any number, or NULL. */
static struct view_cell *cell_at(const struct view *view, uint32_t number)
{
	if (number / SLOT_PAGE_SIZE >= SLOT_PAGES)
		return NULL;
	struct view_cell *page = atomic_load(&view->pages[number / SLOT_PAGE_SIZE]);

	return page ? &page[number % SLOT_PAGE_SIZE] : NULL;
}

struct view_slot *slot_at(const struct view *view, uint32_t number)
{
	struct view_cell *cell = cell_at(view, number);

	return cell ? atomic_load(&cell->slot) : NULL;
}

struct view_place *slot_place(const struct view *view, const struct view_slot *slot)
{
	struct view_place *place = atomic_load(&slot->place);

	/* a flip puts its places here before they count */
	if (place->since > atomic_load(&view->flip))
		place = place->older;
	return place;
}

struct catalog_ref place_ref(const struct view *view, const struct view_place *place)
{
	if (!place->holder)
		return view->config.root;
	const struct catalog *c = place->holder->catalog;

	return catalog_nested_ref(&c->nested[c->entries[place->index].first]);
}

struct view_place *place_new(struct view_room *holder, uint32_t index, uint64_t since)
{
	struct view_place *place = mem_calloc(1, sizeof(*place));

	if (!place)
		return NULL;
	place->refs = 1;
	place->since = since;
	place->holder = holder;
	place->index = index;
	if (holder) {
		room_ref(holder);
		holder->owner->pins++;
	}
	return place;
}

void place_unref(struct view *view, struct view_place *place)
{
	if (!place || --place->refs)
		return;
	struct view_room *room = atomic_load(&place->room);

	if (room)
		room_unref(view, room);
	if (place->holder) {
		place->holder->owner->pins--;
		room_unref(view, place->holder);
	}
	free(place);
}

/* A number that nobody has; makes room for more of them when there is none. */
static int take_cell(struct view *view, uint32_t *out) REQUIRES(view->lock)
{
	if (view->free_cell != SLOT_NONE) {
		*out = view->free_cell;
		view->free_cell = cell_of(view, *out)->next_free;
		return 0;
	}
	uint32_t number = view->cell_count;

	if (number / SLOT_PAGE_SIZE >= SLOT_PAGES)
		return -ENOMEM;
	if (!cell_at(view, number)) {
		struct view_cell *page =
			mem_calloc(SLOT_PAGE_SIZE, sizeof(struct view_cell));

		if (!page)
			return -ENOMEM;
		atomic_store(&view->pages[number / SLOT_PAGE_SIZE], page);
	}
	view->cell_count++;
	*out = number;
	return 0;
}

int slot_new(struct view *view, struct view_room *holder, uint32_t index,
	struct view_slot **out)
{
	struct view_slot *slot = mem_calloc(1, sizeof(*slot));
	struct view_place *place =
		slot ? place_new(holder, index, holder ? holder->since : 0) : NULL;
	int r = place ? take_cell(view, &slot->number) : -ENOMEM;

	if (r < 0) {
		place_unref(view, place);
		free(slot);
		return r;
	}
	struct view_cell *cell = cell_of(view, slot->number);

	slot->generation = ++cell->generation;
	atomic_store(&slot->place, place);
	atomic_store(&slot->has_unlisted, true);
	atomic_store(&cell->slot, slot);
	view->usage.slots++;
	*out = slot;
	return 0;
}

void slot_supersede(struct view *view, struct view_slot *slot)
{
	atomic_store(&slot->is_superseded, true);
	slot->prev = NULL;
	slot->next = view->superseded;
	if (slot->next)
		slot->next->prev = slot;
	view->superseded = slot;
	view->usage.superseded++;
}

void slot_hide(struct view *view, struct view_slot *slot, bool is_hidden)
{
	atomic_store(&cell_of(view, slot->number)->slot, is_hidden ? NULL : slot);
}

void slot_free(struct view *view, struct view_slot *slot)
{
	struct view_cell *cell = cell_of(view, slot->number);

	cell->next_free = view->free_cell;
	view->free_cell = slot->number;
	place_unref(view, atomic_load(&slot->place));
	view->usage.slots--;
	free(slot);
}

struct view_room *room_new(struct view *view, struct view_slot *owner,
	struct catalog *catalog, uint64_t since)
{
	struct view_room *room = mem_calloc(1, sizeof(*room));

	if (!room)
		return NULL;
	if (catalog->nested_count || owner == view->root) {
		room->slots = mem_calloc(catalog->entry_count, sizeof(*room->slots));
		if (!room->slots) {
			free(room);
			return NULL;
		}
	}
	room->owner = owner;
	room->catalog = catalog;
	room->since = since;
	view->usage.catalogs++;
	return room;
}

void room_ref(struct view_room *room)
{
	room->refs++;
}

void room_unref(struct view *view, struct view_room *room)
{
	if (--room->refs == 0)
		room_free(view, room);
}

void room_free(struct view *view, struct view_room *room)
{
	/* what still stands in the table has gone on from here, to newer rooms */
	for (uint32_t i = 0;
		room->slots && !view->is_ending && i < room->catalog->entry_count; i++) {
		struct view_slot *slot = atomic_load(&room->slots[i]);

		if (slot)
			slot->pins--;
	}
	for (unsigned int i = 0; i < room->past_count; i++)
		catalog_unref(room->past[i].catalog);
	view->usage.catalogs--;
	catalog_close(room->catalog);
	free(atomic_load(&room->opened));
	free(room->past);
	free(room->slots);
	free(room);
}

/* Whether one who came through this slot sees the room as it is, and not as it was before a flip. */
static bool stands_in(const struct view_slot *via, const struct view_room *room)
{
	const struct view_place *place = atomic_load(&via->place);

	return place->holder == room || atomic_load(&place->room) == room;
}

int room_slot(struct view *view, struct view_room *room, uint32_t index,
	const struct view_slot *via, struct view_slot **out)
{
	struct view_slot *slot = atomic_load(&room->slots[index]);
	int r = 0;

	if (!slot) {
		mutex_lock(&view->lock);
		slot = atomic_load(&room->slots[index]);
		if (!slot)
			r = stands_in(via, room) ? slot_new(view, room, index, &slot)
						 : -ERESTART;
		if (slot && !atomic_load(&room->slots[index])) {
			if (atomic_load(&via->is_superseded))
				slot_supersede(view, slot);
			atomic_store(&room->slots[index], slot);
		}
		mutex_unlock(&view->lock);
	}
	if (r == 0)
		*out = slot;
	return r;
}
