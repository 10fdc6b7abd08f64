/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A flip while it is built, shared by view_flip.c (which makes it count) and view_compare.c (which
 * finds what stays). For these two only.
 */
#pragma once

#include "cache/view/slot.h"

/* A catalog that the new view needs, opened for the flip. */
struct flip_catalog {
	struct catalog_ref ref;
	struct catalog *catalog; /* a reference; NULL: still to be opened */
};

/* Directories of the same path, in an old and a new room. */
struct flip_pair {
	struct view_room *old_room;
	struct view_room *new_room;
	uint32_t old_dir;
	uint32_t new_dir;
	struct view_slot *slot; /* of both; NULL: nobody has seen it */
	bool is_changed;	/* in its attributes */
};

/* A slot that stays; its new place is slot->coming. */
struct flip_move {
	struct view_slot *slot;
	struct view_place *place;
};

struct flip {
	struct view *view;
	uint64_t number;

	struct flip_catalog *catalogs; /* they stay when the rest begins anew */
	size_t catalog_count;
	size_t catalog_capacity;
	bool is_lacking; /* one of them is still to be opened */

	struct flip_pair *pairs; /* to be compared */
	size_t pair_count;
	size_t pair_capacity;
	struct view_room **old_rooms; /* that are replaced */
	size_t old_room_count;
	size_t old_room_capacity;
	struct flip_move *moves;
	size_t move_count;
	size_t move_capacity;
	struct view_slot **gone; /* superseded by this flip */
	size_t gone_count;
	size_t gone_capacity;
	struct view_changes *changes;
};

/* Gives all that stays below the root a new place in rooms of the new tree, and lists what else
 * there is to do. 0, -EAGAIN when catalogs of the list must be opened first, or -ENOMEM. Changes
 * nothing that a reader sees. view.lock held. */
int flip_compare(struct flip *flip, const struct catalog_ref *root, uint64_t revision)
	REQUIRES(flip->view->lock) WARN_UNUSED;
