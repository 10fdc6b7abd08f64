/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The record of one open content, shared by cache/content/content.c (which opens and reads it) and
 * cache/content/fetch/flight.c (which lands what arrives). Not for others.
 *
 * Locks: content_store.lock guards the table and the reference counts; content_file.lock
 * guards the file's own state. The store's lock is never taken while a file's is held.
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/content/content.h"
#include "cache/content/fetch/ahead.h"
#include "cache/content/fetch/flight.h"
#include "cache/content/partial.h"
#include "cache/content/recent.h"
#include "cache/content/reuse.h"

#include <stdatomic.h>

#define CONTENT_BUCKETS 4096

/* A verified piece that could not be written to disk, kept while the file is open. */
struct loose_piece {
	struct loose_piece *next;
	uint32_t piece;
	uint32_t length;
	uint8_t data[];
};

struct content_file {
	struct content_file *next; /* in its bucket; content_store.lock */
	struct content_store *store;
	unsigned int refs;	       /* content_store.lock */
	const struct catalog *catalog; /* a reference */
	const struct catalog_content *content;
	atomic_int object_fd; /* >= 0: complete */
	bool is_detached;     /* content_store.lock; in no bucket any more */

	atomic_bool is_attached; /* what is on disk has been looked for */

	struct mutex lock;
	struct partial *partial;   /* lock */
	struct loose_piece *loose; /* lock */
	int64_t loose_retry_ns; /* lock; when the disk may be asked again to take them */
	struct waiter *waiters; /* lock */
};

struct content_store {
	struct content_config config;
	int partial_dirfd;
	struct flight_table flights;
	struct ahead_table ahead;
	struct reuse_table reuse;
	struct recent_table recent;
	void (*recent_came)(void *arg); /* set before anything is fetched, both */
	void *recent_arg;
	void (*through)(void *arg, const struct catalog *catalog); /* likewise */
	void *through_arg;
	_Atomic int64_t warned_ns; /* when landing last failed loudly */

	struct mutex lock;
	struct content_file *buckets[CONTENT_BUCKETS]; /* lock */
};

/* The record of this digest with one more reference, NULL if it is not open. */
struct content_file *content_find(
	struct content_store *store, const struct digest *digest);

void content_ref(struct content_file *file);

/* Takes a complete record, whose object has been removed, out of the table: who has it reads on,
 * who comes finds what lands afresh. Never one with a partial: two records would write one file. */
void content_detach(struct content_file *file);

/* As content_open(), for one who reads nothing: the read-ahead hears nothing of it, and nobody has
 * looked at the disk yet. */
int content_open_record(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, struct content_file **out) WARN_UNUSED;

/* Finds what is on disk of it, if nobody has. 0 or -errno. */
int content_file_attach(struct content_file *file) WARN_UNUSED REQUIRES(file->lock);

/* Whether the content is one chunk from its first to its last byte. */
bool content_is_single(const struct catalog *c, const struct catalog_content *content);

/* Whether a piece of this content is here already, in its partial or in memory. A content of one piece
 * has neither while nobody has it open. */
bool content_has_piece(struct content_store *store, const struct catalog *c,
	const struct catalog_content *content, uint32_t piece);

/* Whether the record's pieces are cut as those of `content` in `c`: an open record may be of
 * another version's catalog, or of another publisher's chunks. */
bool content_file_fits(const struct content_file *file, const struct catalog *c,
	const struct catalog_content *content);

/* Lands a verified piece (counted from the content's first) and wakes who waited for it. A
 * disk that cannot take it costs the cache, not the reader. `origin` (NULL: none) is where this
 * machine has the same bytes already. Returns 0 if the piece is on disk
 * now, else why it is not. */
int content_file_land(struct content_file *file, uint32_t piece, const uint8_t *data,
	const struct piece_origin *origin);

/* As content_file_land() for a content that may be open or not; -EBUSY for one that is open and
 * cut in another way. */
int content_land_piece(struct content_store *store, const struct catalog *c,
	const struct catalog_content *content, uint32_t piece, const uint8_t *data,
	const struct piece_origin *origin);

/* Lands what the disk did not take before, if there is room now; some pieces, at most once a
 * second. */
void content_file_land_loose(struct content_file *file) REQUIRES(file->lock);

/* Wakes those who wait for a piece that will not come. */
void content_file_fail(struct content_file *file, uint32_t piece, int error);

/* Says once a minute that nothing can be cached. */
void content_warn_not_cached(struct content_store *store, int error);
