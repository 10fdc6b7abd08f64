/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What of some contents is not on this machine's disk: their missing pieces, by the frame that
 * brings them. A picture of one moment.
 *
 *	r = wants_collect(store, catalog, contents, count, &wants);
 *	for (i = 0; i < wants.frame_count; i++)
 *		... wants.frames[i] has wants.items[first .. first + count) ...
 *	wants_release(&wants);
 */
#pragma once

#include "cache/content/content.h"

struct want {
	uint32_t content; /* index into CONTENTS */
	uint32_t piece;	  /* index into PIECES */
};

struct wanted_frame {
	uint32_t frame; /* index into FRAMES */
	uint32_t first; /* of its items */
	uint32_t count;
};

struct wants {
	struct want *items; /* those of a frame stand together */
	uint32_t count;
	struct wanted_frame *frames; /* ascending, so in the order of packs */
	uint32_t frame_count;
};

/* `contents`: indexes, each once; NULL: all, whatever `count` says. Looks at the disk for each content.
 * Returns 0 or -ENOMEM. Any thread. */
int wants_collect(struct content_store *store, const struct catalog *catalog,
	const uint32_t *contents, size_t count, struct wants *out) WARN_UNUSED;
void wants_release(struct wants *wants);

/* The pieces (counted from the content's first) that are not here, in *out, which is the caller's; NULL
 * if all are. Returns their number or -ENOMEM. */
ssize_t wants_of_content(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, uint32_t **out) WARN_UNUSED;

/* Whether this one has been met since. */
bool want_is_met(struct content_store *store, const struct catalog *catalog,
	const struct want *want);
