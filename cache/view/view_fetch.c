/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How the catalog behind a place comes: from this machine, else from the source. A flip may give
 * the slot another place meanwhile. Then what comes is kept in the catalog store and shown to
 * nobody, and who has waited for it looks again.
 */
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/view/slot.h"

#include <errno.h>

struct catalog_fetch {
	struct catalog_request rq;
	struct view *view;
	struct view_slot *slot;	  /* a pin */
	struct view_place *place; /* a reference */
};

/* Shows a catalog behind its place; closes it if another thread was first. -ERESTART if the place
 * counts no more. */
static int show(struct view *view, struct view_slot *slot, struct view_place *place,
	struct catalog *catalog)
{
	int r = 0;

	mutex_lock(&view->lock);
	if (atomic_load(&slot->place) != place) {
		r = -ERESTART;
	} else if (!atomic_load(&place->room)) {
		struct view_room *room =
			room_new(view, slot, catalog, atomic_load(&view->flip));

		if (room) {
			catalog = NULL;
			if (slot == view->root)
				room->revision = view->config.revision;
			room_ref(room);
			atomic_store(&place->room, room);
		} else {
			r = -ENOMEM;
		}
	}
	mutex_unlock(&view->lock);
	catalog_close(catalog);
	return r;
}

/* A catalog that is rightly signed for may hang where it does not belong. 0 with the catalog shown;
 * it is closed otherwise. */
static int show_sound(struct view *view, struct view_slot *slot, struct view_place *place,
	struct catalog *catalog)
{
	const struct view_room *holder = place->holder;

	if (holder) {
		const struct catalog *above = holder->catalog;
		int r = catalog_must_fit(
			catalog, above, above->entries[place->index].first);

		if (r < 0) {
			catalog_close(catalog);
			return r;
		}
	}
	return show(view, slot, place, catalog);
}

static int deliver_catalog(struct catalog_request *rq, const uint8_t *data)
{
	struct catalog_fetch *fetch = (struct catalog_fetch *)rq;
	struct catalog *catalog;
	int r = catalog_store_put(fetch->view->config.catalogs, &rq->ref, data, &catalog);

	if (r == 0)
		r = show_sound(fetch->view, fetch->slot, fetch->place, catalog);
	return r == -ERESTART ? 0 : r;
}

/* What those who waited are told. A flip may have overtaken them: they look again, at what counts now.
 * The catalog of a package that was replaced may be gone from the depot: its node is told to be
 * stale, so that the kernel asks for the name again. */
static int error_for_waiters(
	const struct view_slot *slot, const struct view_place *place, int error)
{
	if (atomic_load(&slot->place) != place)
		return 0;
	return error < 0 && error != -ECANCELED && atomic_load(&slot->is_superseded)
		       ? -ESTALE
		       : error;
}

static void catalog_done(struct catalog_request *rq, int error)
{
	struct catalog_fetch *fetch = (struct catalog_fetch *)rq;
	struct view *view = fetch->view;
	struct waiter *waiting;

	mutex_lock(&view->lock);
	fetch->place->fetch = NULL;
	waiting = fetch->place->waiters;
	fetch->place->waiters = NULL;
	error = error_for_waiters(fetch->slot, fetch->place, error);
	fetch->slot->pins--;
	place_unref(view, fetch->place);
	mutex_unlock(&view->lock);
	free(fetch);
	waiter_wake_all(waiting, error);
}

/* Queues `w`, if somebody waits, and starts the fetch unless one is under way. */
static int fetch_catalog(struct view *view, struct view_slot *slot,
	struct view_place *place, struct waiter *w, enum fetch_class class)
{
	if (!view->config.source)
		return -EHOSTUNREACH;
	struct catalog_fetch *fetch = mem_calloc(1, sizeof(*fetch));

	if (!fetch)
		return -ENOMEM;
	fetch->view = view;
	fetch->slot = slot;
	fetch->place = place;
	fetch->rq = (struct catalog_request){
		.ref = place_ref(view, place),
		.class = class,
		.deadline_ns = clock_mono_ns() + view->config.fetch_deadline_ns,
		.deliver = deliver_catalog,
		.done = catalog_done,
	};
	mutex_lock(&view->lock);
	if (atomic_load(&slot->place) != place || atomic_load(&place->room)) {
		/* it came in the meantime, or a flip did: the caller looks again */
		mutex_unlock(&view->lock);
		free(fetch);
		return -ERESTART;
	}
	bool is_first = !place->fetch;
	bool must_hurry = false;

	if (is_first) {
		place->fetch = fetch;
		place->refs++;
		slot->pins++;
	} else if (w && place->fetch->rq.class != FETCH_DEMAND) {
		must_hurry = !atomic_exchange(&place->fetch->rq.is_awaited, true);
	}
	if (w) {
		w->next = place->waiters;
		place->waiters = w;
	}
	mutex_unlock(&view->lock);
	if (is_first)
		source_fetch_catalog(view->config.source, &fetch->rq);
	else
		free(fetch);
	if (must_hurry)
		source_hurry(view->config.source);
	return -EINPROGRESS;
}

static int load(struct view *view, struct view_slot *slot, struct view_place *place)
{
	struct catalog_ref ref = place_ref(view, place);
	struct catalog *catalog;
	int r = catalog_store_get(view->config.catalogs, &ref, &catalog);

	return r < 0 ? r : show_sound(view, slot, place, catalog);
}

int place_room(struct view *view, struct view_slot *slot, struct view_place *place,
	struct waiter *w, struct view_room **out)
{
	struct view_room *room = atomic_load(&place->room);

	if (!room) {
		int r = load(view, slot, place);

		if (r == -ENOENT)
			r = w ? fetch_catalog(view, slot, place, w, FETCH_DEMAND)
			      : -EAGAIN;
		if (r < 0)
			return r;
		room = atomic_load(&place->room);
	}
	*out = room;
	return 0;
}

void place_fetch_ahead(
	struct view *view, struct view_slot *slot, struct view_place *place)
{
	if (!atomic_load(&place->room))
		(void)fetch_catalog(view, slot, place, NULL, FETCH_READ_AHEAD);
}

/* The start of a mount waits here for the root catalog; nothing else ever waits. It lives until it
 * was woken, which may be after the wait was given up. */
struct blocking_waiter {
	struct waiter waiter;
	struct mutex lock;
	struct condition changed;
	bool is_over;	   /* lock */
	bool is_abandoned; /* lock: the one who wakes frees it */
	int error;	   /* lock */
};

static void blocking_waiter_free(struct blocking_waiter *b)
{
	condition_release(&b->changed);
	mutex_release(&b->lock);
	free(b);
}

static void wake_blocking(struct waiter *w, int error)
{
	struct blocking_waiter *b = (struct blocking_waiter *)w;
	bool is_abandoned;

	mutex_lock(&b->lock);
	b->is_over = true;
	b->error = error;
	is_abandoned = b->is_abandoned;
	condition_signal(&b->changed);
	mutex_unlock(&b->lock);
	if (is_abandoned)
		blocking_waiter_free(b);
}

/* Waits for the wake-up; -ETIMEDOUT leaves the waiter to it. */
static int wait_blocking(struct blocking_waiter *b, int64_t deadline_ns)
{
	int r = 0;

	mutex_lock(&b->lock);
	while (!b->is_over && r == 0)
		r = condition_wait_until(&b->changed, &b->lock, deadline_ns);
	b->is_abandoned = !b->is_over;
	r = b->is_over ? b->error : -ETIMEDOUT;
	mutex_unlock(&b->lock);
	return r;
}

int view_load(struct view *view)
{
	int64_t deadline_ns = clock_mono_ns() + view->config.fetch_deadline_ns;
	struct view_place *place = slot_place(view, view->root);
	struct blocking_waiter *b = mem_calloc(1, sizeof(*b));
	struct view_room *room;
	int r;

	if (!b)
		return -ENOMEM;
	b->waiter.wake = wake_blocking;
	mutex_init(&b->lock);
	condition_init(&b->changed);
	do
		r = place_room(view, view->root, place, &b->waiter, &room);
	while (r == -ERESTART);
	if (r == -EINPROGRESS) {
		r = wait_blocking(b, deadline_ns);
		if (r == -ETIMEDOUT)
			return r;
		if (r == 0)
			r = place_room(view, view->root, place, NULL, &room);
	}
	blocking_waiter_free(b);
	if (r == 0 && room->catalog->path_length != 0)
		r = log_error_errno(-EBADMSG,
			"the root catalog of revision %llu is not of a root",
			(unsigned long long)view->config.revision);
	return r;
}
