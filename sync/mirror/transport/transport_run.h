/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One transfer under way: a curl easy handle, and the judgement of what the server answers.
 * Private to the transport; all of it on its thread.
 *
 *	run_start(run, transfer, &options, now);
 *	curl_multi_add_handle(multi, run->easy);
 *	... run_overdue(run, now) now and then
 *	run_finish(run, code, &result);
 */
#pragma once

#include "sync/mirror/polite/throttle.h"
#include "sync/mirror/transport/transport.h"

#include <curl/curl.h>
#include <stdatomic.h>

/* What the background transfers of a transport share. */
struct background {
	struct throttle throttle;
	atomic_bool is_yielding; /* set by any thread; the throttle learns of it later */
	uint64_t in_flight;	 /* bytes asked for that have not come yet */
	size_t running;
	int64_t hold_ns;
};

struct run_options {
	char *cafile;
	char *sshkey;
	char *knownhosts;
	int timeout_ms;
	struct background *background; /* NULL: this transport has none */
};

struct run {
	CURL *easy;		       /* of the running or the last transfer */
	struct curl_slist *headers;    /* of its request */
	struct transfer *transfer;     /* NULL: free */
	struct background *background; /* NULL: a reader's, or not in such a transport */

	bool is_http;
	bool is_file;
	bool is_polite;	  /* of a transport for background transfers */
	bool is_judged;	  /* the status and the headers have been looked at */
	bool is_draining; /* reading an error's short body to keep the connection */
	bool is_paused;	  /* by the receiver */
	bool is_held;	  /* gives way, or keeps to its rate */
	bool has_content_range;
	bool is_unchanged;
	long status;
	uint64_t range_first;
	uint64_t range_last;

	uint64_t bytes;	  /* handed on */
	uint64_t drained; /* thrown away */
	size_t header_bytes;
	int64_t start_ns;
	int64_t first_byte_ns; /* 0: none yet */
	int64_t held_ns;       /* since when not a byte was let through; 0: one was */
	unsigned int late_segments; /* of its connection, at the first byte */
	int64_t mark_ns;	    /* when progress was last seen ... */
	uint64_t mark_bytes;	    /* ... at this many bytes */
	int timeout_ms;
	uint64_t pace_bytes;
	bool is_slow;

	int error; /* ours; goes before curl's */
	char reason[TRANSFER_REASON_SIZE];
	char location[160];
	char date[40];
	struct transfer_version version;
	char curl_error[CURL_ERROR_SIZE];
};

/* FETCH_DEMAND if a reader has joined it. */
enum fetch_class transfer_class(const struct transfer *t);

/* Lets go of the handle of the last transfer. */
void run_release(struct run *run);

/* Sets the handle up for `t`. Returns 0 or -ENOMEM / -EINVAL. */
int run_start(struct run *run, struct transfer *t, const struct run_options *options,
	int64_t now_ns) WARN_UNUSED;

/* A reader's from now on: no longer counted, nor held by any throttle. */
void run_leave_background(struct run *run);

/* Reads on after is_held or is_paused. */
void run_continue(struct run *run, int64_t now_ns);

/* True once nothing has come for too long; the reason is then set. */
bool run_overdue(struct run *run, int64_t now_ns);

/* What became of it, in our words. */
void run_finish(struct run *run, CURLcode code, struct transfer_result *out);
