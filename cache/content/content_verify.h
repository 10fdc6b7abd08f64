/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whether what is here of a content is what it should be. For whoever may take his time.
 *
 *	r = content_verify(store, catalog, content, true, &stop);
 */
#pragma once

#include "cache/content/content.h"

#include <stdatomic.h>

/* Looks at a content's object, or at the landed pieces of its partial: the size, and whether a crash
 * left it in doubt; with `is_deep` every byte is compared with its digest. Returns 0 if it is sound,
 * -ENOENT if nothing of it is here, -EBADMSG if it was damaged and has been removed (who has it
 * open keeps what he has), -ECANCELED when *stop becomes true, or -errno. Any thread. */
int content_verify(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, bool is_deep,
	const atomic_bool *stop) WARN_UNUSED;

/* Whether a decoded frame has the chunk in it, or all that the catalog lists of it. */
bool content_is_chunk_sound(const struct catalog_chunk *chunk, const uint8_t *data);
bool content_is_frame_sound(const struct catalog *c, uint32_t frame, const uint8_t *data);
