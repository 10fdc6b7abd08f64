/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A superseded slot goes in two steps, each followed by the end of an epoch: first nobody finds it
 * by a name any more, then nobody by its number. Whoever had found it may have told the kernel of
 * it meanwhile; then it stays.
 */
#include "cache/base/epoch.h"
#include "cache/view/slot.h"

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
