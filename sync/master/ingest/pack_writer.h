/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writes frames into packs: plain concatenations of frames, at most about 64 MiB each, first
 * under temporary names. One thread at a time.
 *
 *	r = pack_writer_new(tmp_fd, &arena, &w);
 *	r = pack_writer_append(w, frame, data, len);	sets the frame's pack and offset
 *	r = pack_writer_cut(w);				the next frame begins a new pack
 *	pack_writer_finished(w, &count)			all complete ones, to be published
 */
#pragma once

#include "cache/base/data/arena.h"
#include "sync/master/ingest/content.h"

#define PACK_TARGET_BYTES (64 * 1024 * 1024)

struct pack_writer;

/* A complete pack: its name in the temporary directory is "pack-" and `number`. */
struct finished_pack {
	struct pack_ref *pack;
	uint64_t number;
};

#define PACK_TMP_NAME_SIZE 32
void pack_tmp_name(uint64_t number, char out[PACK_TMP_NAME_SIZE]);

/* `tmp_fd` and `arena` are borrowed. */
int pack_writer_new(
	int tmp_fd, struct arena *arena, struct pack_writer **out) WARN_UNUSED;
void pack_writer_free(struct pack_writer *w);

/* Returns 0, -ENOSPC, -ENOMEM or another -errno of write(2). */
int pack_writer_append(struct pack_writer *w, struct frame_ref *frame, const void *data,
	size_t len) WARN_UNUSED;
int pack_writer_cut(struct pack_writer *w) WARN_UNUSED;

/* Borrowed until the next call. */
const struct finished_pack *pack_writer_finished(
	const struct pack_writer *w, size_t *out_count);
