/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the halves of one publish share: publish.c prepares, walks and reads, publish_commit.c
 * makes it a revision. Private to them; one thread. */
#pragma once

#include "sync/master/depot/staging.h"
#include "sync/master/ingest/work_list.h"
#include "sync/master/publish/publish.h"

#define GLOBS_MAX_BYTES (1024 * 1024)

struct publish {
	const struct publish_options *o;
	struct publish_report *report;
	struct depot *depot;
	int publisher_fd;
	int tmp_fd;
	int lock_fd;
	struct signing_key *key;
	struct trust trust;
	struct scan_state *state;
	bool state_is_new;
	struct revision latest; /* number 0: none yet */
	struct digest latest_digest;
	struct head head;	/* the channel's, sequence 0: none */
	uint64_t last_sequence; /* the highest that the channel had, as far as is known */

	char *globs_text; /* one a line, as remembered */
	char **globs;	  /* into globs_text */
	size_t glob_count;

	struct tree tree;
	struct packages packages;
	struct arena arena;
	struct history *history;
	struct work_list work;
	struct chunk_table *chunks;
	struct pack_writer *packs;
	struct staging *staging;
	size_t *level_list; /* packages of one height */
};

/* Finds out the channel's last sequence, once head, newest revision and state are at hand. */
int publish_recall_sequence(struct publish *p) WARN_UNUSED;

/* Signs a record like the one that will be written: what cannot be signed shows before anything
 * was read. Returns 0 or -errno, logged. */
int publish_try_signing(const struct publish *p) WARN_UNUSED;

/* True if the root catalog is that of the newest revision. */
bool publish_is_as_latest(const struct publish *p);

/* The channel's head when there is no new revision: made, renewed or left as it is. */
int publish_point_channel(struct publish *p) WARN_UNUSED;

/* Installs the staged objects, writes revision and head, saves the state. Returns 0 or -errno,
 * logged. */
int publish_commit(struct publish *p) WARN_UNUSED;
