/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What depotfs says of itself in user.depotfs.* attributes: one file's, a directory's summed
 * over all below, the mount's on its root. The list stands in docs/xattrs.md.
 */
#pragma once

#include "cache/base/data/buffer.h"
#include "cache/content/content.h"
#include "cache/pins.h"
#include "cache/sync_state.h"
#include "cache/view/view.h"

#define XATTR_VIRTUAL_PREFIX "user.depotfs."
#define XATTR_VIRTUAL_MAX    (64 * 1024)

struct xattr_virtual_context {
	struct view *view;
	struct content_store *contents;
	struct object_store *objects;
	struct pins *pins; /* NULL: none */
	struct source *source;
	const char *channel;
	struct sync_teller sync; /* tell NULL: nobody syncs */
};

/* Appends the value of attribute `name` (without the prefix), text without a NUL. -ENODATA for
 * one that this node does not have. A directory's sum takes time with its number of files: it enters
 * an epoch for each directory and must not be asked for within one. */
int xattr_virtual_get(const struct xattr_virtual_context *context, uint64_t node,
	const char *name, struct buffer *out) WARN_UNUSED;

/* Whether the attribute is a sum over all below the node: for a thread that may take its time. */
bool xattr_virtual_is_slow(const struct view_node *node, const char *name);
