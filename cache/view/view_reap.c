/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A superseded slot goes in two steps, each followed by the end of an epoch: first nobody finds it
 * by a name any more, then nobody by its number. Whoever had found it may have told the kernel of
 * it meanwhile; then it stays.
 */
#include "cache/base/threads/epoch.h"
#include "cache/view/slot.h"

#include <sys/stat.h>

static bool is_unused(const struct view_slot *slot)
{
	return slot->pins == 0 && atomic_load(&slot->lookups) == 0;
}

static void unlink_superseded(struct view *view, struct view_slot *slot)
	REQUIRES(view->lock)
{
	*(slot->prev ? &slot->prev->next : &view->superseded) = slot->next;
	if (slot->next)
		slot->next->prev = slot->prev;
	view->usage.superseded--;
}

/* Takes the unused ones off the list, and out of the tables in which they stand. */
static struct view_slot *take_unused(struct view *view)
{
	struct view_slot *taken = NULL;

	mutex_lock(&view->lock);
	for (struct view_slot *slot = view->superseded, *next; slot; slot = next) {
		next = slot->next;
		if (!is_unused(slot))
			continue;
		const struct view_place *place = atomic_load(&slot->place);
		_Atomic(struct view_slot *) *named = &place->holder->slots[place->index];

		if (atomic_load(named) == slot)
			atomic_store(named, NULL);
		unlink_superseded(view, slot);
		slot->next = taken;
		taken = slot;
	}
	mutex_unlock(&view->lock);
	return taken;
}

/* Puts those back that are used after all; the others are found by nobody from now on. */
static struct view_slot *hide(struct view *view, struct view_slot *list)
{
	struct view_slot *hidden = NULL;

	mutex_lock(&view->lock);
	for (struct view_slot *slot = list, *next; slot; slot = next) {
		next = slot->next;
		if (is_unused(slot)) {
			slot_hide(view, slot, true);
			slot->next = hidden;
			hidden = slot;
		} else {
			slot_supersede(view, slot);
		}
	}
	mutex_unlock(&view->lock);
	return hidden;
}

static void free_hidden(struct view *view, struct view_slot *list)
{
	mutex_lock(&view->lock);
	for (struct view_slot *slot = list, *next; slot; slot = next) {
		next = slot->next;
		if (is_unused(slot)) {
			slot_free(view, slot);
		} else {
			slot_hide(view, slot, false);
			slot_supersede(view, slot);
		}
	}
	mutex_unlock(&view->lock);
}

void view_reap(struct view *view)
{
	mutex_lock(&view->flip_lock);
	/* those that owned what went may go in their turn */
	for (struct view_slot *list; (list = take_unused(view));) {
		epoch_wait();
		list = hide(view, list);
		epoch_wait();
		free_hidden(view, list);
	}
	mutex_unlock(&view->flip_lock);
}

/* The names in directory `dir` of the catalog, whose node is `id`. */
static int add_names(
	struct view_changes *changes, const struct catalog *c, uint32_t dir, uint64_t id)
{
	const struct catalog_entry *top = catalog_entry(c, dir);
	int r = 0;

	for (uint32_t i = top->first; r == 0 && i < top->first + top->count; i++) {
		const struct catalog_entry *e = catalog_entry(c, i);

		r = view_changes_add_name(
			changes, id, catalog_name(c, e), e->name_length);
	}
	return r;
}

/* What is below a slot in numbers of its own; skeleton directories below have slots themselves. */
static int add_below(struct view_changes *changes, const struct view_slot *slot)
{
	const struct view_place *place = atomic_load(&slot->place);
	const struct view_room *room = atomic_load(&place->room);
	const struct catalog *c = place->holder->catalog;
	const struct catalog_entry *e = catalog_entry(c, place->index);
	int r = 0;

	if (!S_ISDIR(e->mode))
		return 0;
	if (!catalog_entry_is_nested(e))
		return add_names(
			changes, c, place->index, slot_node_id(slot, CATALOG_ROOT));
	for (uint32_t i = 0; room && r == 0 && i < room->catalog->entry_count; i++)
		if (S_ISDIR(catalog_entry(room->catalog, i)->mode) &&
			!catalog_entry_is_nested(catalog_entry(room->catalog, i)) &&
			(i == CATALOG_ROOT || !room->slots))
			r = add_names(changes, room->catalog, i, slot_node_id(slot, i));
	return r;
}

/*
 * Who tells the kernel a name notes it before he answers, and the kernel lets nobody forget a
 * name in a directory until every lookup and listing in it that has begun is answered. So what
 * was noted before this looks is forgotten with what is listed here; what is noted later is for
 * the next time.
 */
int view_list_superseded(struct view *view, struct view_changes **out)
{
	struct view_changes *changes;
	int r = view_changes_new(&changes);

	if (r < 0)
		return r;
	mutex_lock(&view->lock);
	for (struct view_slot *slot = view->superseded; slot && r == 0; slot = slot->next)
		if (atomic_load(&slot->lookups) &&
			atomic_exchange(&slot->has_unlisted, false))
			r = add_below(changes, slot);
	/* nothing comes of this list: all of it is for the next */
	for (struct view_slot *slot = view->superseded; slot && r < 0; slot = slot->next)
		atomic_store(&slot->has_unlisted, true);
	mutex_unlock(&view->lock);
	if (r < 0)
		view_changes_free(changes);
	else
		*out = changes;
	return r;
}
