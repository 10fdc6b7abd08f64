/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Content as a publish knows it: where each chunk of a file lies in the depot. Records live in
 * the publish's arenas; what was read now and what an older catalog says look alike.
 */
#pragma once

#include "cache/base/data/hash.h"
#include "cache/catalog/catalog_format.h"

#include <stdbool.h>
#include <stdint.h>

struct pack_ref {
	struct digest digest;
	uint64_t bytes;
	uint64_t row;	 /* its number in the chunk index, 0 = none */
	bool is_checked; /* its presence in the depot was looked at */
	bool is_present;
};

struct frame_ref {
	struct pack_ref *pack;
	uint64_t offset;
	uint32_t stored_bytes;
	uint32_t raw_bytes;
	uint32_t flags; /* enum catalog_frame_flags */
	uint64_t row;	/* its number in the chunk index, 0 = none */
};

struct chunk_ref {
	struct digest digest;
	uint32_t offset; /* in the decoded frame */
	uint32_t length;
	struct frame_ref *frame;
};

struct content_piece {
	uint64_t position;
	struct chunk_ref *chunk;
};

struct content {
	struct digest digest;
	uint64_t size;
	uint64_t data_bytes;
	uint32_t piece_count;
	struct content_piece pieces[];
};

/* Bytes with a length: a symlink's target, or an encoded set of extended attributes as the
 * catalog holds it. */
struct blob {
	uint32_t length;
	uint8_t bytes[];
};
