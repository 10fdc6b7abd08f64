/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The only read path: a content's bytes from its object, else from its partial file, else from
 * the source. One record per open content, however many opens and catalogs share it, so that
 * many readers cause one download.
 *
 *	r = content_open(store, catalog, content, &file);
 *	n = content_read(file, offset, len, &span, &waiter);
 *		n >= 0: the bytes are at span.fd/span.offset, or in span.memory
 *		-EINPROGRESS: waiter.wake() will say when to ask again
 *	content_span_release(&span);
 *	content_close(file);
 *
 * Any thread. None of this waits for the network. Two things may take long: the first open of a
 * large object that a crash left in doubt, which is hashed then, and content_state() for many
 * files. A catalog given here must be held by
 * the caller for the call; the store keeps a reference of its own where it needs one for longer.
 */
#pragma once

#include "cache/catalog/catalog.h"
#include "cache/objects/object_store.h"
#include "cache/source.h"
#include "cache/waiter.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct content_store;
struct content_file;

struct content_config {
	int cache_dirfd;
	struct checkpoint *checkpoint;
	struct object_store *objects;
	struct source *source;	   /* NULL: nothing can be fetched */
	int64_t fetch_deadline_ns; /* how long after a miss the fetch may be retried */
};

int content_store_new(
	const struct content_config *config, struct content_store **out) WARN_UNUSED;

/* Only after the source has finished all requests. Files still open are closed. */
void content_store_free(struct content_store *store);

/* Opens a content of `catalog`. Returns 0 or -errno. */
int content_open(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, struct content_file **out) WARN_UNUSED;
void content_close(struct content_file *file);

/* A view has let go of catalogs: what is kept in memory in case somebody asks for them again goes
 * as well. */
void content_store_let_go(struct content_store *store);

struct content_span {
	int fd; /* borrowed while the file is open; -1: use memory */
	off_t offset;
	uint8_t *memory; /* owned by the span */
};

/* Makes up to `len` bytes from `offset` readable. Returns their number (0 at the end),
 * -EINPROGRESS when `w` was queued, -EAGAIN when it would have been but is NULL (nothing is
 * asked for then), or -errno. */
ssize_t content_read(struct content_file *file, uint64_t offset, size_t len,
	struct content_span *out, struct waiter *w) WARN_UNUSED;
void content_span_release(struct content_span *span);

/*
 * Small files that have just come are in memory for some time. Who wants to hand them on before they
 * are read (fs/session/pusher.h) is told that some have come, on the thread that has verified them;
 * no lock is held. Once, before anything is read; NULL: nobody.
 */
void content_on_recent(struct content_store *store, void (*came)(void *arg), void *arg);
bool content_has_recent(struct content_store *store);

/* Lets it go when nobody has wanted any for some seconds. When to look again; 0: nothing is held. */
int64_t content_expire_recent(struct content_store *store);

/* Copies a small file that has just come to `out`: true, with all its bytes there. False if it is not
 * in memory, or larger than `size`, or has holes. */
bool content_copy_recent(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, uint8_t *out, size_t size);

/*
 * Who reads package after package in the order of the tree need not wait at the beginning of each. Once
 * all of a catalog is asked for by one who goes through it, `through` is told, on his thread, with no
 * lock held; the catalog is his. Before anything is read; NULL: nobody.
 */
void content_on_through(struct content_store *store,
	void (*through)(void *arg, const struct catalog *catalog), void *arg);

/* A reader will come to this catalog: reads it ahead from its first frame on, for `most_bytes` as stored
 * or a frame more; not while the background is paused or limited. *out_bytes were asked for. Returns
 * whether all of it was, or is here. Any thread. */
bool content_expect(struct content_store *store, const struct catalog *catalog,
	uint64_t most_bytes, uint64_t *out_bytes);

/* Whether it may be done now. */
bool content_may_expect(struct content_store *store);

/* Somebody reads a content without a content_open(): where he is, the read-ahead goes on. */
void content_touch(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content);

enum content_state { CONTENT_REMOTE, CONTENT_PARTIAL, CONTENT_CACHED };

struct content_info {
	enum content_state state;
	uint64_t cached_bytes;
	uint32_t chunks_cached;
	uint32_t chunks;
	int64_t landed_ns;   /* real time; 0 unless CONTENT_CACHED */
	int64_t accessed_ns; /* likewise: when it was last used, to an hour */
};

/* What of a content is on this machine's disk. NULL content: an empty file. */
void content_state(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, struct content_info *out);

/* Whether somebody has this content open, to read or to write. */
bool content_is_open(struct content_store *store, const struct digest *digest);

/* Whether the disk holds a content, wholly or in part. */
bool content_is_here(
	struct content_store *store, const struct digest *digest, uint64_t size);
