/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The sources of a mirror and how they have been doing. A source that fails is put aside for
 * 0.25 s, twice as long after each further failure, at most 30 s; one that serves wrong bytes for
 * 60 s; one that is too slow comes after the others for as long. One source's trouble is never
 * another's.
 *
 *	r = upstream_new("https://a/depot,file:///srv/depot", &upstream);
 *	r = upstream_pick(upstream, avoid, &index, &from_ns);
 *	... upstream_succeeded() or upstream_failed()
 *	upstream_free(upstream);
 *
 * Any thread; takes only its own lock.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UPSTREAM_MAX 16

enum upstream_fault {
	UPSTREAM_FAILS, /* no answer, or none that can be used */
	UPSTREAM_LIES,	/* answers with bytes that are not what the catalogs say */
	UPSTREAM_SLOW,	/* answers, but a reader would wait in vain */
};

struct upstream;

/* `urls`: separated by commas; "none" or "": no source at all. -EINVAL, after a line in
 * the log, for an address that is not one of file, http, https, sftp. */
int upstream_new(const char *urls, struct upstream **out) WARN_UNUSED;
void upstream_free(struct upstream *upstream);

size_t upstream_count(const struct upstream *upstream);

/* The address; it lives as long as `upstream`. `shown`: without user and password. */
const char *upstream_url(const struct upstream *upstream, size_t index);
const char *upstream_shown(const struct upstream *upstream, size_t index);

/* The best source whose bit in `avoid` is not set: the quickest of those not put aside,
 * else the one whose time comes first, which is then *out_from_ns (monotonic; 0: at
 * once). A source that is aside for lying about other things is taken at once if there is
 * no better. -ENOENT if every source is to be avoided. */
int upstream_pick(struct upstream *upstream, uint32_t avoid, size_t *out_index,
	int64_t *out_from_ns) WARN_UNUSED;

/* A try that began at `start_ns` brought what was asked for. */
void upstream_succeeded(
	struct upstream *upstream, size_t index, int64_t latency_ns, uint64_t bytes);

/* A try that began at `start_ns` did not. Tries that fail together count once. Logs one
 * line, unless the same source has been saying too much: "cannot fetch OBJECT from
 * SOURCE: REASON". */
void upstream_failed(struct upstream *upstream, size_t index, enum upstream_fault fault,
	int64_t start_ns, const char *object, const char *reason);

/* The source answered that it has no such object: no fault, but worth a line; upstream_status() tells
 * the last. */
void upstream_missing(
	struct upstream *upstream, size_t index, const char *object, const char *reason);

/* The source's offer was refused: no fault, but worth a line, `reason`, unless the same source has been
 * saying too much. Whether it was logged. */
bool upstream_refused(struct upstream *upstream, size_t index, const char *reason);

/* True if no source has brought anything, and each has failed at least once, for
 * `longer_than_ns`. */
bool upstream_is_dead(struct upstream *upstream, int64_t longer_than_ns);

/* True if this source has failed, and not succeeded again, after `since_ns`, or has been
 * too slow. */
bool upstream_failed_since(struct upstream *upstream, size_t index, int64_t since_ns);

/* When the last failure was (monotonic; 0: none since the last success). */
int64_t upstream_last_failure_ns(struct upstream *upstream);

/* Counts a request that is sent out. */
void upstream_count_request(struct upstream *upstream);

void upstream_status(struct upstream *upstream, struct source_status *out);
