/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bytes from an URL: the only user of libcurl. One thread owns curl's multi handle; anybody may
 * hand it transfers, which it runs by class (demand first) within a limit of connections. A
 * server is taken at its word only where it does exactly what was asked: docs/transport.md.
 *
 *	r = transport_new(&config, &transport);
 *	transfer->on_data = ...; transfer->on_done = ...;
 *	r = transport_start(transport, transfer);	(the caller's again at on_done)
 *	...
 *	transport_free(transport);			(ends what runs with -ECANCELED)
 *
 * Background transfers get a transport of their own, so that one which is held up shares no
 * connection with a reader's: docs/transport.md, "Giving way". The other one tells it by
 * transport_yield() when to be silent.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/threads/rate_limit.h"
#include "cache/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRANSPORT_TIMEOUT_MS	     15000
#define TRANSPORT_CONNECT_TIMEOUT_MS 5000
#define TRANSPORT_HOLD_MS	     10000

struct transport_config {
	const char *cafile;	/* PEM; NULL: the system's authorities */
	const char *sshkey;	/* private key file for sftp; NULL: ssh's defaults */
	const char *knownhosts; /* for sftp; NULL: ~/.ssh/known_hosts */
	int timeout_ms; /* for the first byte and for a stall; 0: TRANSPORT_TIMEOUT_MS */

	/* Transfers of FETCH_BACKGROUND obey transport_set_background() and transport_yield();
	 * one that was held up for hold_ms (0: TRANSPORT_HOLD_MS) lets its connection go and
	 * ends with -EAGAIN. HTTP/1.1 only: a stream that does not read would hold up all
	 * others of its connection. */
	bool is_background;
	int hold_ms;

	/* Something runs now, or nothing any more. On the transport's thread; may be NULL. */
	void (*on_busy)(void *arg, bool is_busy);
	void *arg;
};

/* How a server names a version of an object; empty strings: not at all. */
struct transfer_version {
	char etag[128];		/* as it was sent, with its quotes */
	char last_modified[40]; /* likewise */
};

#define TRANSFER_REASON_SIZE 256

struct transfer_result {
	int error;			   /* 0, or as transport_start() says */
	long status;			   /* of HTTP, else 0 */
	char reason[TRANSFER_REASON_SIZE]; /* for people: what the server did; "" on
					      success */
	uint64_t bytes;			   /* handed to on_data */
	int64_t latency_ns;		   /* from the start to the first byte */
	bool is_slow;	   /* -ETIMEDOUT although bytes were still coming */
	bool is_unchanged; /* the object is what the transfer says is known; no bytes came */
	struct transfer_version version; /* of what came */
};

/* What on_data returns to be given the same bytes again after transport_resume(). */
#define TRANSFER_PAUSE 1

struct transfer {
	const char *url; /* valid until on_done */
	bool is_range;	 /* the bytes [offset, offset + length), else the whole object */
	bool is_exact;	 /* the whole object is `length` bytes long, else at most */
	uint64_t offset;
	uint64_t length;
	const struct transfer_version
		*known; /* to be sent only if it is another one; NULL, or
						 empty: in any case. Valid until on_done */
	enum fetch_class class;
	const atomic_bool *is_awaited; /* may be NULL; true: its class is FETCH_DEMAND */
	int timeout_ms;		       /* 0: the transport's */
	uint64_t pace_bytes;   /* so much must come in each time-out; 0: a token */
	int64_t not_before_ns; /* monotonic; 0: at once */
	size_t site; /* the source: its transfers are counted, its delays compared */
	void *arg;   /* the caller's */

	/* Its turn has come, once more if it was one too many for its source; may be NULL. A
	 * negative return ends it with that error before
	 * anything is sent. On the transport's thread: must not wait. */
	int (*on_start)(struct transfer *t);

	/* Some bytes, in order. On the transport's thread: must not wait. Returns 0,
	 * TRANSFER_PAUSE, or -errno, which ends the transfer with that error. */
	int (*on_data)(struct transfer *t, const uint8_t *data, size_t len);

	/* It is over and belongs to the caller again. Once, on the transport's thread. */
	void (*on_done)(struct transfer *t, const struct transfer_result *result);

	struct transfer *next; /* the transport's own */
};

struct transport;

/* Starts the thread. Copies what `config` points to. Returns 0, -ENOMEM or -errno. */
int transport_new(
	const struct transport_config *config, struct transport **out) WARN_UNUSED;

/* Cancels everything, waits for the last on_done, ends the thread. Not from a callback. */
void transport_free(struct transport *transport);

/* Cancels everything and ends the thread, but leaves the object, so that others may go on
 * calling transport_start() (and be refused) until transport_free(). Not from a callback. */
void transport_stop(struct transport *transport);

/* Queues a transfer. Any thread. Returns 0, or -ECANCELED, without any callback, after
 * transport_stop(). The result's error is one of
 *   -ENOENT     the server says that there is no such object
 *   -EACCES     it, or we, refuse(d) to let us in
 *   -EPROTO     it answered something else than what was asked
 *   -ETIMEDOUT  it did not connect, answer or go on in time
 *   -ECONNREFUSED, -ECONNRESET, -EHOSTUNREACH, -EIO: the connection
 *   -EAGAIN     it was held up for long and has let its connection go; background only
 *   -ECANCELED  at shutdown
 * or what on_data returned. */
int transport_start(struct transport *transport, struct transfer *t) WARN_UNUSED;

/* Continues what on_data has paused. Any thread. */
void transport_resume(struct transport *transport);

/* Some transfer's is_awaited has become true: it waits with the demands now. Any thread. */
void transport_hurry(struct transport *transport);

/* What background transfers have to keep to. Any thread. */
void transport_set_background(
	struct transport *transport, const struct rate_limit *limit, bool is_paused);

/* While true, background transfers do not read, nor for a moment after. Any thread. */
void transport_yield(struct transport *transport, bool is_yielding);

/* How much a background transfer should ask for, so that it can give way soon: more than that is
 * for another transfer. Any thread. */
uint64_t transport_piece_bytes(struct transport *transport);
