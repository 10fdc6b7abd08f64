/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where content comes from, as the cache sees it: "get me these frames", "get me this
 * catalog". Asynchronous: the request is queued and answered from the source's worker threads.
 * The implementation for real depots is sync/mirror/fetcher.h; tests have one in memory
 * (tests/support/fake_source.h).
 *
 *	struct frame_request *rq = ...;	(owned by the caller until `done`)
 *	source_fetch_frames(source, rq);
 *		... a reader joins: set rq->is_awaited, then source_hurry(source)
 *		... rq->deliver() once a frame, any order, any worker thread
 *		... rq->done() once, after the last deliver(); the request may be freed there
 */
#pragma once

#include "cache/base/data/hash.h"
#include "cache/base/threads/rate_limit.h"
#include "cache/catalog/catalog_format.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who waits for it; lower numbers go first. */
enum fetch_class {
	FETCH_DEMAND,	  /* a reader is blocked on it */
	FETCH_READ_AHEAD, /* a reader will probably want it */
	FETCH_BACKGROUND, /* nobody waits: gives way to the others, see source_set_background() */
};

/* One or more frames of one pack that follow each other without a gap. */
struct frame_request {
	struct digest pack;
	uint64_t pack_bytes; /* the pack's size: bounds every offset */
	const struct catalog_frame
		*frames; /* in the mapped catalog, which outlives the request */
	size_t frame_count;
	enum fetch_class class;
	int64_t deadline_ns; /* monotonic: no new try is started after it. In the background,
				only time without a byte counts in which it might read */

	/* Set by the owner, before or after the request is queued: a reader has joined, so
	 * that it is FETCH_DEMAND now, whatever `class` says. */
	atomic_bool is_awaited;

	/* A decoded frame: frames[index].raw_bytes bytes at `data`, borrowed for the call.
	 * Returns 0 when the content was what the catalog says, -EBADMSG when it was not (the
	 * source is put aside and the frame is fetched from another one, then delivered
	 * again); any other error is the receiver's own (disk full) and ends the request. */
	int (*deliver)(struct frame_request *rq, size_t index, const uint8_t *data);

	/* The request is over: 0 when every frame was delivered and accepted, -EHOSTUNREACH
	 * when no source answered in time, -EBADMSG when all sources served wrong bytes,
	 * -ENOENT when no source has the pack, -ECANCELED at shutdown. */
	void (*done)(struct frame_request *rq, int error);
};

struct catalog_request {
	struct catalog_ref ref;
	enum fetch_class class;
	int64_t deadline_ns;
	atomic_bool is_awaited; /* as above */

	/* The decoded catalog, ref.raw_bytes long, its SHA-256 checked. Borrowed for the call. */
	int (*deliver)(struct catalog_request *rq, const uint8_t *data);
	void (*done)(struct catalog_request *rq, int error);
};

struct source_status {
	bool is_online;		/* the last exchange with some source succeeded */
	char url[512];		/* the source in use, without credentials */
	int64_t last_contact;	/* real time in ns of the last success, 0 = never */
	uint64_t fetched_bytes; /* payload bytes received since start */
	uint64_t requests;
	uint64_t missing;	/* times that a source said that it has no such object */
	char missing_last[512]; /* the last of them: "URL: HTTP 404" */
};

struct source;

struct source_ops {
	void (*fetch_frames)(struct source *source, struct frame_request *rq);
	void (*fetch_catalog)(struct source *source, struct catalog_request *rq);
	void (*status)(struct source *source, struct source_status *out);
	void (*hurry)(struct source *source); /* may be NULL */
	void (*set_background)(struct source *source, const struct rate_limit *limit,
		bool is_paused);			   /* may be NULL */
	bool (*is_background_free)(struct source *source); /* may be NULL: yes */
};

/* Embedded as the first member of an implementation. */
struct source {
	const struct source_ops *ops;
};

/* All: any thread, no lock held; callbacks never run on the calling thread. */
static inline void source_fetch_frames(struct source *source, struct frame_request *rq)
{
	source->ops->fetch_frames(source, rq);
}

static inline void source_fetch_catalog(struct source *source, struct catalog_request *rq)
{
	source->ops->fetch_catalog(source, rq);
}

static inline void source_status(struct source *source, struct source_status *out)
{
	source->ops->status(source, out);
}

/* Some request's is_awaited has been set: looks for it among those that wait. */
static inline void source_hurry(struct source *source)
{
	if (source->ops->hurry)
		source->ops->hurry(source);
}

/* What requests of FETCH_BACKGROUND have to keep to from now on, all of them together; at first
 * there is no limit. Paused: none is begun, and those under way stop in the middle within moments
 * and are continued there later, be it in hours. A reader who joins one (is_awaited) is not held
 * by either. */
static inline void source_set_background(
	struct source *source, const struct rate_limit *limit, bool is_paused)
{
	if (source->ops->set_background)
		source->ops->set_background(source, limit, is_paused);
}

/* Whether it is neither paused nor limited: then what nobody has asked for yet may be fetched as well. */
static inline bool source_is_background_free(struct source *source)
{
	return !source->ops->is_background_free ||
	       source->ops->is_background_free(source);
}
