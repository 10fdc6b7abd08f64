/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a mirror's daemon tells of itself over the control socket, and how the commands read
 * it. The JSON's fields are listed in docs/man/depotfs.1.scd.
 */
#pragma once

#include "cache/source.h"
#include "sync/watch/control_verbs.h"

#include <stdint.h>

/* Since the mount began. */
struct mirror_requests {
	uint64_t lookups; /* that the kernel asked for, by kind */
	uint64_t listings;
	uint64_t getattrs;
	uint64_t opens;
	uint64_t reads;
	uint64_t notifications; /* what it was told to forget */
	uint64_t pushes;	/* files put into its memory before it asked */
};

struct mirror_status {
	const char *mountpoint;
	const char *cache;
	const char *repository;
	const char *channel;
	uint64_t revision;	   /* of the view's root */
	uint64_t channel_revision; /* the newest that the channel names */
	int64_t published_ns;	   /* of that one */
	int64_t last_poll_ns;	   /* times are 0 for never */
	int64_t last_sync_ns;
	const char *last_error;
	const char *policy_error; /* why the master's policy is not taken up, "" */
	const char *state_error;  /* what became of state.db, "" */
	int64_t running;	  /* the run's number, 0: none */
	size_t waiting;
	uint64_t tree_entries;
	uint64_t tree_bytes;
	uint64_t cache_used;
	uint64_t cache_limit; /* 0: none */
	struct source_status source;
	struct mirror_requests requests;
};

/* Puts it into the answer to `status`. */
void mirror_status_fill(const struct mirror_status *status, cJSON *answer);
