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

#include "sync/mirror/transport.h"

#include <curl/curl.h>

struct run_options {
	char *cafile;
	char *sshkey;
	char *knownhosts;
	int timeout_ms;
};

struct run {
	CURL *easy;		   /* of the running or the last transfer */
	struct transfer *transfer; /* NULL: free */

	bool is_http;
	bool is_judged;	  /* the status and the headers have been looked at */
	bool is_draining; /* reading an error's short body to keep the connection */
	bool is_paused;
	bool has_content_range;
	long status;
	uint64_t range_first;
	uint64_t range_last;

	uint64_t bytes;	  /* handed on */
	uint64_t drained; /* thrown away */
	size_t header_bytes;
	int64_t start_ns;
	int64_t first_byte_ns; /* 0: none yet */
	int64_t mark_ns;       /* when progress was last seen ... */
	uint64_t mark_bytes;   /* ... at this many bytes */
	int timeout_ms;
	uint64_t pace_bytes;
	bool is_slow;

	int error; /* ours; goes before curl's */
	char reason[TRANSFER_REASON_SIZE];
	char location[160];
	char curl_error[CURL_ERROR_SIZE];
};

/* Lets go of the handle of the last transfer. */
void run_release(struct run *run);

/* Sets the handle up for `t`. Returns 0 or -ENOMEM / -EINVAL. */
int run_start(struct run *run, struct transfer *t, const struct run_options *options,
	int64_t now_ns) WARN_UNUSED;

/* True once nothing has come for too long; the reason is then set. */
bool run_overdue(struct run *run, int64_t now_ns);

/* What became of it, in our words. */
void run_finish(struct run *run, CURLcode code, struct transfer_result *out);
