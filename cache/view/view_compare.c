/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What stays under a flip. Two trees of rooms are walked side by side: directories of the skeleton
 * stay, and what is below is compared; files, links and devices stay when all that stat and read
 * show of them is the same; a package stays when its catalog is the same one, or when both are
 * skeleton. Rooms that were never entered have nobody to notice. Whatever has a slot in a replaced
 * room and did not stay is superseded, with all that is below.
 */
#include "cache/base/memory.h"
#include "cache/view/flip.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* The catalog, if it was opened for this flip; NULL: it will be. */
static int find_catalog(
	struct flip *flip, const struct catalog_ref *ref, struct catalog **out)
{
	for (size_t i = 0; i < flip->catalog_count; i++) {
		struct flip_catalog *c = &flip->catalogs[i];

		if (!digest_equal(&c->ref.digest, &ref->digest))
			continue;
		*out = c->catalog;
		return 0;
	}
	int r = mem_grow((void **)&flip->catalogs, &flip->catalog_capacity,
		flip->catalog_count, sizeof(*flip->catalogs));

	if (r < 0)
		return r;
	flip->catalogs[flip->catalog_count++] = (struct flip_catalog){.ref = *ref};
	flip->is_lacking = true;
	*out = NULL;
	return 0;
}

static int push_pair(struct flip *flip, const struct flip_pair *pair)
{
	int r = mem_grow((void **)&flip->pairs, &flip->pair_capacity, flip->pair_count,
		sizeof(*flip->pairs));

	if (r == 0)
		flip->pairs[flip->pair_count++] = *pair;
	return r;
}

/* The slot stays: at entry `index` of `holder`, with `room` behind it. */
static int move(struct flip *flip, struct view_slot *slot, struct view_room *holder,
	uint32_t index, struct view_room *room)
{
	const struct view_place *old = atomic_load(&slot->place);
	int r = mem_grow((void **)&flip->moves, &flip->move_capacity, flip->move_count,
		sizeof(*flip->moves));
	struct view_place *place = r == 0 ? place_new(holder, index, flip->number) : NULL;

	if (!place)
		return -ENOMEM;
	if (room) {
		room_ref(room);
		atomic_store(&place->room, room);
	}
	atomic_store(&place->was_entered, atomic_load(&old->was_entered));
	if (holder)
		atomic_store(&holder->slots[index], slot);
	slot->coming = place;
	flip->moves[flip->move_count++] = (struct flip_move){slot, place};
	return 0;
}

/* What the listings of the room have begun with: the old room's catalog, and those before it. */
static int remember_past(struct view_room *room, const struct view_room *old)
{
	unsigned int kept = old->past_count < VIEW_PAST ? old->past_count : VIEW_PAST - 1;

	room->past = mem_calloc(kept + 1, sizeof(*room->past));
	if (!room->past)
		return -ENOMEM;
	room->past[0] = (struct view_past){.since = old->since, .catalog = old->catalog};
	for (unsigned int i = 0; i < kept; i++)
		room->past[i + 1] = old->past[i];
	room->past_count = kept + 1;
	for (unsigned int i = 0; i < room->past_count; i++)
		catalog_ref(room->past[i].catalog);
	return 0;
}

/* Puts the catalog in the place of `old`, and both up for comparison. */
static int replace_room(struct flip *flip, struct view_room *old, struct catalog *catalog,
	struct view_room *holder, uint32_t index, bool is_changed, struct view_room **out)
	REQUIRES(flip->view->lock)
{
	struct view_slot *owner = old->owner;
	int r = mem_grow((void **)&flip->old_rooms, &flip->old_room_capacity,
		flip->old_room_count, sizeof(struct view_room *));

	if (r < 0)
		return r;
	catalog_ref(catalog);
	struct view_room *room = room_new(flip->view, owner, catalog, flip->number);

	if (!room) {
		catalog_unref(catalog);
		return -ENOMEM;
	}
	r = remember_past(room, old);
	if (r == 0)
		r = move(flip, owner, holder, index, room);
	if (r < 0) {
		room_free(flip->view, room);
		return r;
	}
	flip->old_rooms[flip->old_room_count++] = old;
	*out = room;
	return push_pair(flip, &(struct flip_pair){.old_room = old,
				       .new_room = room,
				       .slot = owner,
				       .is_changed = is_changed});
}

static bool same_xattrs(const struct catalog *a, const struct catalog_entry *ea,
	const struct catalog *b, const struct catalog_entry *eb)
{
	if (!ea->xattrs || !eb->xattrs)
		return ea->xattrs == eb->xattrs;
	const struct catalog_xattr_set *sa = &a->xattrs[ea->xattrs - 1];
	const struct catalog_xattr_set *sb = &b->xattrs[eb->xattrs - 1];

	return sa->length == sb->length &&
	       memcmp(a->xattr_data + sa->offset, b->xattr_data + sb->offset,
		       sa->length) == 0;
}

static bool same_attributes(const struct catalog *a, const struct catalog_entry *ea,
	const struct catalog *b, const struct catalog_entry *eb)
{
	return ea->mode == eb->mode && ea->uid == eb->uid && ea->gid == eb->gid &&
	       ea->nlink == eb->nlink && ea->size == eb->size && ea->ino == eb->ino &&
	       ea->mtime_sec == eb->mtime_sec && ea->mtime_nsec == eb->mtime_nsec &&
	       same_xattrs(a, ea, b, eb);
}

/* All that stat, read and readlink show. */
static bool same_file(const struct catalog *a, const struct catalog_entry *ea,
	const struct catalog *b, const struct catalog_entry *eb)
{
	if (!same_attributes(a, ea, b, eb))
		return false;
	if (S_ISLNK(ea->mode))
		return memcmp(a->targets + ea->first, b->targets + eb->first,
			       ea->count) == 0;
	if (!S_ISREG(ea->mode))
		return ea->first == eb->first && ea->count == eb->count;
	const struct catalog_content *ca = catalog_content_of(a, ea);
	const struct catalog_content *cb = catalog_content_of(b, eb);

	return !ca || (digest_equal(&ca->digest, &cb->digest) &&
			      ca->data_bytes == cb->data_bytes);
}

/* A package in both. Whether its directory stays. */
static int compare_package(struct flip *flip, const struct flip_pair *pair, uint32_t i,
	uint32_t j, bool is_changed, bool *out_stays) REQUIRES(flip->view->lock)
{
	const struct catalog *a = pair->old_room->catalog;
	const struct catalog *b = pair->new_room->catalog;
	const struct catalog_nested *na = &a->nested[a->entries[i].first];
	const struct catalog_nested *nb = &b->nested[b->entries[j].first];
	struct view_slot *slot = atomic_load(&pair->old_room->slots[i]);
	struct view_room *room =
		slot ? atomic_load(&atomic_load(&slot->place)->room) : NULL;
	bool is_same = digest_equal(&na->digest, &nb->digest);
	struct catalog *fresh;
	int r = 0;

	*out_stays = true;
	if (!slot)
		return 0;
	if (is_same || !room) {
		r = move(flip, slot, pair->new_room, j, is_same ? room : NULL);
		if (r == 0 && is_changed)
			r = view_changes_add_node(flip->changes,
				slot_node_id(slot, CATALOG_ROOT), VIEW_CHANGE_ATTRIBUTES);
		return r;
	}
	*out_stays = false;
	if (!room->slots)
		return 0;
	struct catalog_ref ref = catalog_nested_ref(nb);

	r = find_catalog(flip, &ref, &fresh);
	if (r < 0 || !fresh || fresh->nested_count == 0)
		return r;
	*out_stays = true;
	return replace_room(flip, room, fresh, pair->new_room, j, is_changed,
		&(struct view_room *){0});
}

static int compare_file(struct flip *flip, const struct flip_pair *pair, uint32_t i,
	uint32_t j, bool *out_stays)
{
	const struct catalog *a = pair->old_room->catalog;
	const struct catalog *b = pair->new_room->catalog;
	uint32_t link = b->entries[j].link;
	struct view_slot *slot = atomic_load(&pair->old_room->slots[a->entries[i].link]);

	*out_stays = false;
	if (!same_file(a, &a->entries[a->entries[i].link], b, &b->entries[link]))
		return 0;
	/* one slot for all names of a file: the first that stays decides where */
	if (slot && slot->coming) {
		*out_stays = slot->coming->index == link;
		return 0;
	}
	if (slot && atomic_load(&pair->new_room->slots[link]))
		return 0;
	*out_stays = true;
	return slot ? move(flip, slot, pair->new_room, link, NULL) : 0;
}

/* The same name in both. */
static int compare_entry(struct flip *flip, const struct flip_pair *pair, uint32_t i,
	uint32_t j, bool *out_stays) REQUIRES(flip->view->lock)
{
	const struct catalog *a = pair->old_room->catalog;
	const struct catalog *b = pair->new_room->catalog;
	const struct catalog_entry *ea = &a->entries[i];
	const struct catalog_entry *eb = &b->entries[j];

	if (!S_ISDIR(ea->mode) || !S_ISDIR(eb->mode))
		return compare_file(flip, pair, i, j, out_stays);
	bool is_changed = !same_attributes(a, ea, b, eb);

	*out_stays = false;
	if (catalog_entry_is_nested(ea) != catalog_entry_is_nested(eb))
		return 0;
	if (catalog_entry_is_nested(ea))
		return compare_package(flip, pair, i, j, is_changed, out_stays);
	struct view_slot *slot = atomic_load(&pair->old_room->slots[i]);
	int r = slot ? move(flip, slot, pair->new_room, j, NULL) : 0;

	*out_stays = true;
	if (r < 0)
		return r;
	return push_pair(flip, &(struct flip_pair){.old_room = pair->old_room,
				       .new_room = pair->new_room,
				       .old_dir = i,
				       .new_dir = j,
				       .slot = slot,
				       .is_changed = is_changed});
}

/* Notes that a name of the pair's directory is not what it was. */
static int note_name(struct flip *flip, const struct flip_pair *pair,
	const struct catalog *c, const struct catalog_entry *e)
{
	if (!pair->slot)
		return 0;
	return view_changes_add_name(flip->changes,
		slot_node_id(pair->slot, CATALOG_ROOT), catalog_name(c, e),
		e->name_length);
}

static int compare_dir(struct flip *flip, const struct flip_pair *pair)
	REQUIRES(flip->view->lock)
{
	const struct catalog *a = pair->old_room->catalog;
	const struct catalog *b = pair->new_room->catalog;
	uint32_t i = a->entries[pair->old_dir].first;
	uint32_t j = b->entries[pair->new_dir].first;
	uint32_t i_end = i + a->entries[pair->old_dir].count;
	uint32_t j_end = j + b->entries[pair->new_dir].count;
	bool is_listing = false;
	int r = 0;

	while (r == 0 && (i < i_end || j < j_end)) {
		const struct catalog_entry *ea = &a->entries[i];
		const struct catalog_entry *eb = &b->entries[j];
		bool stays = false;
		int order = i == i_end	 ? 1
			    : j == j_end ? -1
					 : catalog_compare_names(catalog_name(a, ea),
						   ea->name_length, catalog_name(b, eb),
						   eb->name_length);

		if (order == 0) {
			r = compare_entry(flip, pair, i, j, &stays);
			/* a listing shows this number, too */
			stays = stays && ea->ino == eb->ino;
		}
		if (r == 0 && !stays) {
			is_listing = true;
			r = order <= 0 ? note_name(flip, pair, a, ea)
				       : note_name(flip, pair, b, eb);
		}
		i += order <= 0;
		j += order >= 0;
	}
	if (r == 0 && pair->slot && (is_listing || pair->is_changed))
		r = view_changes_add_node(flip->changes,
			slot_node_id(pair->slot, CATALOG_ROOT),
			is_listing ? VIEW_CHANGE_LISTING : VIEW_CHANGE_ATTRIBUTES);
	return r;
}

/* Everything in the room that has a slot and no place to come. */
static int list_gone_in(struct flip *flip, const struct view_room *room)
{
	for (uint32_t i = 0; room->slots && i < room->catalog->entry_count; i++) {
		struct view_slot *slot = atomic_load(&room->slots[i]);

		if (!slot || slot->coming || atomic_load(&slot->is_superseded))
			continue;
		int r = mem_grow((void **)&flip->gone, &flip->gone_capacity,
			flip->gone_count, sizeof(struct view_slot *));

		if (r < 0)
			return r;
		flip->gone[flip->gone_count++] = slot;
	}
	return 0;
}

/* What is gone, and what is below it: the list grows while it is read. */
static int list_gone(struct flip *flip)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < flip->old_room_count; i++)
		r = list_gone_in(flip, flip->old_rooms[i]);
	for (size_t i = 0; r == 0 && i < flip->gone_count; i++) {
		const struct view_room *room =
			atomic_load(&atomic_load(&flip->gone[i]->place)->room);

		if (room)
			r = list_gone_in(flip, room);
	}
	return r;
}

int flip_compare(struct flip *flip, const struct catalog_ref *root, uint64_t revision)
{
	struct view_slot *top = flip->view->root;
	struct view_room *old = atomic_load(&atomic_load(&top->place)->room);
	struct view_room *fresh_room;
	struct catalog *fresh;
	int r = find_catalog(flip, root, &fresh);

	if (r < 0)
		return r;
	if (!fresh)
		return -EAGAIN;
	bool is_changed = !same_attributes(
		old->catalog, old->catalog->entries, fresh, fresh->entries);

	r = replace_room(flip, old, fresh, NULL, CATALOG_ROOT, is_changed, &fresh_room);
	if (r == 0)
		fresh_room->revision = revision;
	while (r == 0 && flip->pair_count) {
		struct flip_pair pair = flip->pairs[--flip->pair_count];

		r = compare_dir(flip, &pair);
	}
	if (r == 0 && flip->is_lacking)
		return -EAGAIN;
	return r < 0 ? r : list_gone(flip);
}
