/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the publisher remembers between two publishes, in .publisher/state.db: of every package
 * the hash of its names and fingerprints and the catalog that came of it; and where each chunk
 * of the depot lies. All of it can be found again at the price of reading, so a state that is
 * lost or damaged is started afresh. Settings: what --packages said, the newest revision, the
 * channels' last sequences. The only user of SQLite in sync/master.
 *
 *	r = scan_state_open(publisher_dir, repository_id, &state);
 *	r = scan_state_package(state, path, len, &known);
 *	...
 *	r = scan_state_begin(state); scan_state_put_package(...); scan_state_commit(state);
 *
 * Any thread; calls take turns.
 */
#pragma once

#include "sync/master/ingest/content.h"

#include <stddef.h>

struct scan_state;

/* What is known of one package. */
struct known_package {
	uint64_t hash;
	struct catalog_ref ref;
	uint64_t tree_entries;
	uint64_t tree_bytes;
};

/* Opens or makes dir/state.db. A state of another repository or a damaged one is removed and
 * made anew, with a warning. *out_is_new tells. */
int scan_state_open(const char *dir, const char *repository_id, struct scan_state **out,
	bool *out_is_new) WARN_UNUSED;
void scan_state_close(struct scan_state *s);

/* Returns 0, -ENOENT, or -EIO. */
int scan_state_package(struct scan_state *s, const char *path, size_t len,
	struct known_package *out) WARN_UNUSED;

/* The fingerprints of a package's catalog by entry index, if the state's are those of this
 * very catalog and `count` long; from mem_alloc(). Returns 0, -ENOENT, -ENOMEM or -EIO. */
int scan_state_fingerprints(struct scan_state *s, const char *path, size_t len,
	const struct digest *catalog, size_t count, uint64_t **out) WARN_UNUSED;

/* A remembered setting; from mem_alloc(). Returns 0, -ENOENT, -ENOMEM or -EIO. */
int scan_state_setting(struct scan_state *s, const char *key, char **out) WARN_UNUSED;

/* Changes come in one transaction; closing without a commit drops them. */
int scan_state_begin(struct scan_state *s) WARN_UNUSED;
int scan_state_put_setting(
	struct scan_state *s, const char *key, const char *value) WARN_UNUSED;
int scan_state_put_package(struct scan_state *s, const char *path, size_t len,
	const struct known_package *known, const uint64_t *fingerprints,
	size_t count) WARN_UNUSED;

/* Forgets the packages that were not put or kept since scan_state_begin(). */
int scan_state_keep_package(
	struct scan_state *s, const char *path, size_t len) WARN_UNUSED;
int scan_state_drop_others(struct scan_state *s) WARN_UNUSED;
int scan_state_commit(struct scan_state *s) WARN_UNUSED;

/* The chunk index. A chunk's frame and pack get row numbers when first put. */
bool scan_state_has_chunks(struct scan_state *s);
int scan_state_put_chunk(struct scan_state *s, struct chunk_ref *chunk) WARN_UNUSED;

/* Where an equal chunk lies. `out_frame` and `out_pack` are filled but for their pointers.
 * Returns 0, -ENOENT or -EIO. */
int scan_state_find_chunk(struct scan_state *s, const struct digest *digest,
	uint32_t length, uint32_t *out_offset, struct frame_ref *out_frame,
	struct pack_ref *out_pack) WARN_UNUSED;
