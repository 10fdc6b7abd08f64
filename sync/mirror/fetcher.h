/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The source (cache/source.h) of a real mirror: gets frames and catalogs from the depot's
 * URLs, tries the next one when one fails or lies, decodes and checks on worker threads.
 *
 *	struct fetcher_config config = {.urls = "https://a/depot,https://b/depot", ...};
 *	r = fetcher_new(&config, &fetcher);
 *	source_fetch_frames(fetcher_source(fetcher), request);
 *	...
 *	fetcher_stop(fetcher);	(if other threads may be waiting in here: then join them)
 *	fetcher_free(fetcher);	(every request's done() has been called when it returns)
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/data/buffer.h"
#include "cache/source.h"
#include "sync/mirror/transport/transport.h"

#include <stddef.h>

struct fetcher_config {
	const char *urls;   /* separated by commas; "none": no source */
	const char *cafile; /* as in struct transport_config, and so are these: */
	const char *sshkey;
	const char *knownhosts;
	int timeout_ms;	      /* 0: TRANSPORT_TIMEOUT_MS */
	int hold_ms;	      /* of background transfers; 0: TRANSPORT_HOLD_MS */
	unsigned int workers; /* 0: one per core, at least two */
};

struct fetcher;

/* Copies what `config` points to and starts the threads; nothing is fetched yet. -EINVAL,
 * after a line in the log, for an address that cannot be a source; -ENOMEM. */
int fetcher_new(const struct fetcher_config *config, struct fetcher **out) WARN_UNUSED;

/* Whoever waits below, or comes to, gets -ECANCELED; so do all requests, at the latest in
 * fetcher_free(). Not from a callback. */
void fetcher_stop(struct fetcher *fetcher);

/* Ends every request with -ECANCELED and waits for the threads. Not from a callback. */
void fetcher_free(struct fetcher *fetcher);

/* The interface that the cache uses. Lives as long as the fetcher. */
struct source *fetcher_source(struct fetcher *fetcher);

/* The sources by number, in the order they were given; the name is without credentials. */
size_t fetcher_site_count(const struct fetcher *fetcher);
const char *fetcher_site_name(const struct fetcher *fetcher, size_t site);

/* What the source offers was refused: a line in the log, `reason`, unless the source has been saying too
 * much there. Whether it was logged. */
bool fetcher_site_refused(struct fetcher *fetcher, size_t site, const char *reason);

/* The source to be asked next, one of those whose bit in `avoid` is not set. -ENOENT: none. */
int fetcher_best_site(struct fetcher *fetcher, uint32_t avoid, size_t *out) WARN_UNUSED;

/* A small object (trust, a head) to be fetched whole. */
struct small_object {
	const char *path;
	size_t max_bytes;
	const struct transfer_version *known; /* NULL: to be sent in any case */
	struct buffer *out; /* it is appended to this, unless it is_unchanged */

	/* what came of it */
	int error; /* 0 or transport_start()'s errors, -EPROTO also if it is too large */
	bool is_unchanged; /* the source still has what is `known` */
	struct transfer_version
		version; /* of what came; empty if the source names none */
	char reason[TRANSFER_REASON_SIZE]; /* of an error, for people */
};

#define SMALL_OBJECTS_MAX 2

/* Fetches up to that many objects from one source at the same time, and waits for all of them:
 * for the thread that starts a mount or polls, not for callbacks. `timeout_ms` 0: the
 * fetcher's. Failures are logged. */
void fetcher_fetch_together(struct fetcher *fetcher, size_t site, int timeout_ms,
	struct small_object *objects, size_t count);

/* The same for one, in any case. Returns its error. */
int fetcher_fetch_small_from(struct fetcher *fetcher, size_t site, const char *path,
	size_t max_bytes, int timeout_ms, struct buffer *out,
	char reason[TRANSFER_REASON_SIZE]) WARN_UNUSED;

/* The same from the first source that has it. -ENOENT if all say that they have not,
 * -EHOSTUNREACH if any other failure was among theirs, or there is no source. */
int fetcher_fetch_small(struct fetcher *fetcher, const char *path, size_t max_bytes,
	int timeout_ms, struct buffer *out,
	char reason[TRANSFER_REASON_SIZE]) WARN_UNUSED;
