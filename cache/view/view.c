/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/view/view.h"

#include "cache/base/memory.h"
#include "cache/view/slot.h"

#include <errno.h>
#include <sys/stat.h>

/* The flip's number in a cookie: an offset of a directory must not become negative. */
#define COOKIE_SHIFT 32
#define COOKIE_FLIPS UINT64_C(0x3fffffff)

/* Of a word in view_room.opened. */
#define BITS 64

int view_new(const struct view_config *config, struct view **out)
{
	struct view *view = mem_calloc(1, sizeof(*view));

	if (!view)
		return -ENOMEM;
	view->config = *config;
	view->free_cell = SLOT_NONE;
	mutex_init(&view->flip_lock);
	mutex_init(&view->lock);
	mutex_lock(&view->lock);
	int r = slot_new(view, NULL, CATALOG_ROOT, &view->root);

	mutex_unlock(&view->lock);
	if (r < 0) {
		view_free(view);
		return r;
	}
	*out = view;
	return 0;
}

/* Rooms look at their owners when they go: first all places, then the slots. */
void view_free(struct view *view)
{
	if (!view)
		return;
	mutex_lock(&view->lock);
	view->is_ending = true;
	for (uint32_t i = 0; i < view->cell_count; i++) {
		struct view_slot *slot = slot_at(view, i);

		if (slot)
			place_unref(view, atomic_load(&slot->place));
	}
	for (uint32_t i = 0; i < view->cell_count; i++)
		free(slot_at(view, i));
	for (size_t i = 0; i < SLOT_PAGES; i++)
		free(atomic_load(&view->pages[i]));
	mutex_unlock(&view->lock);
	mutex_release(&view->lock);
	mutex_release(&view->flip_lock);
	free(view);
}

static void set_node(struct view_node *out, struct view_room *room, uint32_t index,
	struct view_slot *slot, uint64_t id)
{
	*out = (struct view_node){.catalog = room->catalog,
		.entry = catalog_entry(room->catalog, index),
		.room = room,
		.slot = slot,
		.index = index,
		.generation = slot->generation,
		.id = id};
}

/* The slot's own node: the entry it stands on. The root has none above it. */
static int node_of_slot(
	const struct view *view, struct view_slot *slot, struct view_node *out)
{
	const struct view_place *place = slot_place(view, slot);
	struct view_room *room =
		place->holder ? place->holder : atomic_load(&place->room);

	if (!room)
		return -ESTALE; /* the root, before it was loaded */
	set_node(out, room, place->index, slot, slot_node_id(slot, CATALOG_ROOT));
	return 0;
}

int view_resolve(struct view *view, uint64_t id, struct view_node *out)
{
	uint32_t index = (uint32_t)(id - 1);
	struct view_slot *slot = id ? slot_at(view, (uint32_t)((id - 1) >> 32)) : NULL;

	if (!slot)
		return -ESTALE;
	if (index == CATALOG_ROOT)
		return node_of_slot(view, slot, out);
	struct view_room *room = atomic_load(&slot_place(view, slot)->room);

	/* entries of the skeleton have numbers of their own: a forged NFS handle must not enter
	 * the wrong slot by it */
	if (!room || room->slots || index >= room->catalog->entry_count)
		return -ESTALE;
	set_node(out, room, index, slot, id);
	return 0;
}

static int enter(struct view *view, const struct view_node *node, struct view_dir *out,
	struct waiter *w, bool is_walk)
{
	struct view_room *room;
	int r;

	if (!S_ISDIR(node->entry->mode))
		return -ENOTDIR;
	if (!catalog_entry_is_nested(node->entry)) {
		*out = (struct view_dir){.catalog = node->catalog,
			.room = node->room,
			.slot = node->slot,
			.index = node->index};
		return 0;
	}
	do {
		struct view_place *place = slot_place(view, node->slot);

		if (is_walk && (w || atomic_load(&place->room)) &&
			!atomic_load_explicit(
				&place->was_entered, memory_order_relaxed) &&
			!atomic_exchange(&place->was_entered, true))
			walk_ahead(view, place);
		r = place_room(view, node->slot, place, w, &room);
	} while (r == -ERESTART);
	if (r == 0)
		*out = (struct view_dir){.catalog = room->catalog,
			.room = room,
			.slot = node->slot,
			.index = CATALOG_ROOT};
	return r;
}

int view_enter(struct view *view, const struct view_node *node, struct view_dir *out,
	struct waiter *w)
{
	return enter(view, node, out, w, view->config.source);
}

int view_enter_local(
	struct view *view, const struct view_node *node, struct view_dir *out)
{
	return enter(view, node, out, NULL, false);
}

void view_note_names(const struct view_dir *dir)
{
	if (!atomic_load_explicit(&dir->slot->has_unlisted, memory_order_relaxed))
		atomic_store(&dir->slot->has_unlisted, true);
}

int view_child(struct view *view, const struct view_dir *dir, uint32_t index,
	struct view_node *out)
{
	/* whichever name of a file asks: one node, and so one entry */
	uint32_t at = catalog_entry(dir->catalog, index)->link;
	struct view_slot *slot = dir->room->owner;

	if (!dir->room->slots) {
		set_node(out, dir->room, at, slot, slot_node_id(slot, at));
		return 0;
	}
	int r = room_slot(view, dir->room, at, dir->slot, &slot);

	if (r == 0)
		set_node(out, dir->room, at, slot, slot_node_id(slot, CATALOG_ROOT));
	return r;
}

int view_parent(struct view *view, const struct view_node *node, struct view_node *out)
{
	struct view_room *room = node->room;
	struct view_slot *slot = room->owner;
	uint32_t parent = node->entry->parent;

	if (node->id == VIEW_ROOT) {
		*out = *node;
		return 0;
	}
	if (parent == CATALOG_ROOT)
		return node_of_slot(view, slot, out);
	if (!room->slots) {
		set_node(out, room, parent, slot, slot_node_id(slot, parent));
		return 0;
	}
	int r = room_slot(view, room, parent, node->slot, &slot);

	if (r == 0)
		set_node(out, room, parent, slot, slot_node_id(slot, CATALOG_ROOT));
	return r;
}

uint64_t view_cookie(const struct view_dir *dir, uint32_t listed)
{
	if (!dir->room->slots)
		return listed;
	return (dir->room->since & COOKIE_FLIPS) << COOKIE_SHIFT | listed;
}

/* The directory of `past` with the path that directory `index` has in `c`. */
static uint32_t find_dir(
	const struct catalog *past, const struct catalog *c, uint32_t index)
{
	if (index == CATALOG_ROOT)
		return CATALOG_ROOT;
	const struct catalog_entry *e = catalog_entry(c, index);
	uint32_t parent = find_dir(past, c, e->parent);

	if (parent == CATALOG_NO_ENTRY)
		return CATALOG_NO_ENTRY;
	uint32_t found = catalog_lookup(past, parent, catalog_name(c, e), e->name_length);

	if (found == CATALOG_NO_ENTRY || !S_ISDIR(catalog_entry(past, found)->mode) ||
		catalog_entry_is_nested(catalog_entry(past, found)))
		return CATALOG_NO_ENTRY;
	return found;
}

/* How many children of the directory are at or before child `listed` - 1 of the past one. */
static uint32_t position_of(
	const struct view_dir *dir, const struct catalog *past, uint32_t listed)
{
	const struct catalog_entry *top = catalog_entry(dir->catalog, dir->index);
	uint32_t past_dir = find_dir(past, dir->catalog, dir->index);

	if (past_dir == CATALOG_NO_ENTRY)
		return listed;
	const struct catalog_entry *past_top = catalog_entry(past, past_dir);

	if (listed > past_top->count)
		listed = past_top->count;
	if (listed == 0)
		return 0;
	const struct catalog_entry *last =
		catalog_entry(past, past_top->first + listed - 1);

	return catalog_lower_bound(dir->catalog, dir->index, catalog_name(past, last),
		       last->name_length, true) -
	       top->first;
}

uint32_t view_position(const struct view_dir *dir, uint64_t cookie)
{
	uint32_t listed = (uint32_t)cookie;
	uint64_t since = cookie >> COOKIE_SHIFT;

	if (!dir->room->slots)
		return since ? UINT32_MAX : listed;
	if (since == (dir->room->since & COOKIE_FLIPS))
		return listed;
	for (unsigned int i = 0; i < dir->room->past_count; i++)
		if ((dir->room->past[i].since & COOKIE_FLIPS) == since)
			return position_of(dir, dir->room->past[i].catalog, listed);
	return listed;
}

void view_remember(const struct view_node *node)
{
	atomic_fetch_add_explicit(&node->slot->lookups, 1, memory_order_relaxed);
}

bool view_forget(struct view *view, uint64_t id, uint64_t count)
{
	struct view_slot *slot = id ? slot_at(view, (uint32_t)((id - 1) >> 32)) : NULL;

	if (!slot || slot == view->root)
		return false;
	return atomic_fetch_sub(&slot->lookups, count) == count &&
	       atomic_load(&slot->is_superseded);
}

static atomic_uint_fast64_t *make_opened_bits(struct view_room *room)
{
	atomic_uint_fast64_t *bits = NULL;
	atomic_uint_fast64_t *fresh =
		mem_calloc(room->catalog->entry_count / BITS + 1, sizeof(*fresh));

	if (fresh && atomic_compare_exchange_strong(&room->opened, &bits, fresh))
		return fresh;
	free(fresh);
	if (!bits)
		bits = atomic_load(&room->opened);
	return bits;
}

bool view_keeps_notes(const struct view_node *node)
{
	return !node->room->slots;
}

bool view_note_open(const struct view_node *node)
{
	struct view_room *room = node->room;

	if (room->slots)
		return true;
	atomic_uint_fast64_t *bits = atomic_load(&room->opened);
	uint64_t bit = UINT64_C(1) << node->index % BITS;

	if (!bits)
		bits = make_opened_bits(room);
	if (!bits) {
		atomic_store(&room->is_note_lost, true);
		return true;
	}
	return atomic_fetch_or(&bits[node->index / BITS], bit) & bit;
}

bool view_is_noted_open(const struct view_node *node)
{
	const struct view_room *room = node->room;

	if (room->slots || atomic_load(&room->is_note_lost))
		return true;
	const atomic_uint_fast64_t *bits = atomic_load(&room->opened);

	return bits && atomic_load(&bits[node->index / BITS]) >> node->index % BITS & 1;
}

/* The entry of the package that owns a room, in the room that holds it; NULL for the root's. */
static const struct catalog_entry *owner_entry(
	const struct view *view, const struct view_room *room, struct view_room **out)
{
	const struct view_place *place = slot_place(view, room->owner);

	*out = place->holder;
	return place->holder ? catalog_entry(place->holder->catalog, place->index) : NULL;
}

static uint64_t local_revision(
	const struct view_room *room, const struct catalog_entry *e)
{
	const struct catalog_local *local = room->catalog->local;

	return local && catalog_entry_is_nested(e) ? local[e->first].revision : 0;
}

uint64_t view_revision(const struct view *view, const struct view_node *node)
{
	struct view_room *room = node->room;
	uint64_t revision = local_revision(room, node->entry);

	while (!revision) {
		struct view_room *holder;
		const struct catalog_entry *e = owner_entry(view, room, &holder);

		if (!e)
			return room->revision;
		revision = local_revision(holder, e);
		room = holder;
	}
	return revision;
}

bool view_is_stale(const struct view *view, const struct view_node *node)
{
	const struct catalog_entry *e = node->entry;
	struct view_room *room = node->room;

	while (e && !catalog_entry_is_stale(e))
		e = owner_entry(view, room, &room);
	return e;
}

const struct catalog *view_root_catalog(const struct view *view)
{
	return atomic_load(&slot_place(view, view->root)->room)->catalog;
}

void view_usage(struct view *view, struct view_usage *out)
{
	mutex_lock(&view->lock);
	*out = view->usage;
	mutex_unlock(&view->lock);
}
