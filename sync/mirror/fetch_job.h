/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One request of the cache on its way through the fetcher: tries, until one try has
 * brought everything, or no more are allowed. Private to the fetcher.
 *
 * A try is one transfer: of all that is missing, or in the background of a piece of it. Its bytes arrive on the transport's thread, complete frames go
 * to the workers, and whoever finishes last (transfer or worker) takes the job's next
 * step, always on a worker. So a job's own fields need no lock: between steps only
 * `outstanding`, `fatal` and `has_lied` are shared.
 */
#pragma once

#include "cache/source.h"
#include "sync/mirror/transport/transport.h"
#include "sync/mirror/upstream.h"
#include "sync/mirror/worker_pool.h"

#include <stdatomic.h>

struct fetcher {
	struct source source; /* first: the cache's view of it */
	struct upstream *upstream;
	struct transport *transport;
	struct transport *background; /* for FETCH_BACKGROUND */
	struct worker_pool *pool;
	int timeout_ms;
	atomic_bool is_stopping;
	atomic_bool is_background_held; /* paused, or limited */
};

#define OBJECT_PATH_SIZE 96

/* "pack/<aa>/<digest>" and the like. */
void object_path(
	const char *kind, const struct digest *digest, char out[OBJECT_PATH_SIZE]);

/* Take over the request and call its done() in the end, never on this thread. Any thread. */
void fetch_job_frames(struct fetcher *fetcher, struct frame_request *rq);
void fetch_job_catalog(struct fetcher *fetcher, struct catalog_request *rq);
