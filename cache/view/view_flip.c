/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A flip is built under view.lock, so that no slot is made meanwhile that it does not know of.
 * Opening catalogs takes long: it is done without the lock, and what was built begins anew.
 */
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/epoch.h"
#include "cache/view/flip.h"

#include <errno.h>

/* Takes back all that was built but the catalogs. */
static void undo(struct flip *flip) REQUIRES(flip->view->lock)
{
	for (size_t i = 0; i < flip->move_count; i++) {
		const struct view_place *place = flip->moves[i].place;

		if (place->holder)
			atomic_store(&place->holder->slots[place->index], NULL);
		flip->moves[i].slot->coming = NULL;
	}
	/* rooms go with the last place in them */
	for (size_t i = flip->move_count; i > 0; i--)
		place_unref(flip->view, flip->moves[i - 1].place);
	flip->move_count = 0;
	flip->pair_count = 0;
	flip->old_room_count = 0;
	flip->gone_count = 0;
	flip->is_lacking = false;
	flip->changes->count = 0;
	flip->changes->names.len = 0;
}

/* The one step: from the last store on everybody is shown the new tree. */
static void publish(struct flip *flip) REQUIRES(flip->view->lock)
{
	for (size_t i = 0; i < flip->move_count; i++) {
		struct view_slot *slot = flip->moves[i].slot;
		struct view_place *place = flip->moves[i].place;
		struct view_place *old = atomic_load(&slot->place);

		/* the table of the room it leaves still names it */
		if (old->holder && atomic_load(&old->holder->slots[old->index]) == slot)
			slot->pins++;
		place->older = old;
		slot->coming = NULL;
		atomic_store(&slot->place, place);
	}
	for (size_t i = 0; i < flip->gone_count; i++)
		slot_supersede(flip->view, flip->gone[i]);
	atomic_store(&flip->view->flip, flip->number);
}

/* Nobody is in the old places any more. */
static void drop_old_places(struct flip *flip)
{
	mutex_lock(&flip->view->lock);
	for (size_t i = 0; i < flip->move_count; i++) {
		struct view_place *place = flip->moves[i].place;

		place_unref(flip->view, place->older);
		place->older = NULL;
	}
	mutex_unlock(&flip->view->lock);
}

/* What the kernel does not know it need not forget. Every answer out of the old tree has been
 * given, so that the counts are final. */
static void leave_out_unknown(struct flip *flip)
{
	struct view_changes *changes = flip->changes;
	size_t kept = 0;

	for (size_t i = 0; i < changes->count; i++) {
		const struct view_slot *slot =
			slot_at(flip->view, (uint32_t)(changes->list[i].node >> 32));

		if (slot == flip->view->root || atomic_load(&slot->lookups) > 0)
			changes->list[kept++] = changes->list[i];
	}
	changes->count = kept;
}

static int open_catalogs(struct flip *flip)
{
	for (size_t i = 0; i < flip->catalog_count; i++) {
		struct flip_catalog *c = &flip->catalogs[i];

		if (c->catalog)
			continue;
		struct catalog *catalog;
		int r = catalog_store_get(flip->view->config.catalogs, &c->ref, &catalog);

		if (r < 0)
			return r == -ENOENT ? -EAGAIN : r;
		c->catalog = catalog;
		if (i == 0 && catalog->path_length != 0)
			return log_error_errno(
				-EBADMSG, "the view's new root catalog is not of a root");
	}
	return 0;
}

static int build_and_publish(
	struct flip *flip, const struct catalog_ref *root, uint64_t revision)
{
	int r;

	do {
		mutex_lock(&flip->view->lock);
		r = flip_compare(flip, root, revision);
		if (r < 0)
			undo(flip);
		else
			publish(flip);
		mutex_unlock(&flip->view->lock);
		if (r != -EAGAIN)
			return r;
		r = open_catalogs(flip);
	} while (r == 0);
	return r;
}

static void flip_release(struct flip *flip)
{
	for (size_t i = 0; i < flip->catalog_count; i++)
		catalog_close(flip->catalogs[i].catalog);
	free(flip->catalogs);
	free(flip->pairs);
	free(flip->old_rooms);
	free(flip->moves);
	free(flip->gone);
	view_changes_free(flip->changes);
}

int view_flip(struct view *view, const struct catalog_ref *root, uint64_t revision,
	struct view_changes **out)
{
	struct flip flip = {.view = view};
	int r = view_changes_new(&flip.changes);

	if (r < 0)
		return r;
	mutex_lock(&view->flip_lock);
	flip.number = atomic_load(&view->flip) + 1;
	r = build_and_publish(&flip, root, revision);
	if (r == 0) {
		epoch_wait();
		drop_old_places(&flip);
		leave_out_unknown(&flip);
		*out = TAKE_PTR(flip.changes);
	}
	mutex_unlock(&view->flip_lock);
	flip_release(&flip);
	return r;
}
