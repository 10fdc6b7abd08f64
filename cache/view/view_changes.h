/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a flip made wrong in the kernel's memory: names, each with the directory it is in, and nodes.
 * The names of a directory come before it: who makes the kernel forget them in this order has
 * waited out every listing of the old directory before its pages go.
 *
 *	r = view_flip(view, &root, revision, &changes);
 *	for (i = 0; i < changes->count; i++)
 *		... changes->list[i], view_change_name(changes, i) ...
 *	view_changes_free(changes);
 */
#pragma once

#include "cache/base/data/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum view_change_kind {
	VIEW_CHANGE_NAME,	/* added, removed, or of another node */
	VIEW_CHANGE_LISTING,	/* the node's names; and its attributes */
	VIEW_CHANGE_ATTRIBUTES, /* the node's own */
};

struct view_change {
	enum view_change_kind kind;
	uint64_t node; /* of a name: the directory */
	size_t name;   /* in `names` */
	size_t name_length;
};

struct view_changes {
	struct view_change *list;
	size_t count;
	size_t capacity;
	struct buffer names; /* each with its NUL */
};

int view_changes_new(struct view_changes **out) WARN_UNUSED;
void view_changes_free(struct view_changes *changes);

int view_changes_add_name(struct view_changes *changes, uint64_t dir, const char *name,
	size_t len) WARN_UNUSED;
int view_changes_add_node(struct view_changes *changes, uint64_t node,
	enum view_change_kind kind) WARN_UNUSED;

/* The name of change `i`, which is a VIEW_CHANGE_NAME. */
const char *view_change_name(const struct view_changes *changes, size_t i);
