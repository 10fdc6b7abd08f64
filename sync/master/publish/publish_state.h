/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the parts of one publish share: publish_open.c prepares, publish.c walks and reads,
 * publish_commit.c makes it a revision. Private to them and to publish_policy.c; one thread. */
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
	struct policy_ref policy; /* what the channel's next head names */

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

#define PUBLISH_INIT(options)                                                            \
	{                                                                                \
		.o = (options), .publisher_fd = -1, .tmp_fd = -1, .lock_fd = -1,         \
		.tree = {                                                                \
			.fd = -1                                                         \
		}                                                                        \
	}

/* Opens the depot of the options, takes its lock, loads key, records and state; publish_release()
 * also when it fails. Returns 0 or -errno, logged. */
int publish_open(struct publish *p) WARN_UNUSED;
void publish_release(struct publish *p);

/* Finds out the channel's last sequence and its policy, once head, newest revision and state are
 * at hand. */
int publish_recall_channel(struct publish *p) WARN_UNUSED;

/* Signs a record like the one that will be written: what cannot be signed shows before anything
 * was read. Returns 0 or -errno, logged. */
int publish_try_signing(const struct publish *p) WARN_UNUSED;

/* True if the root catalog is that of the newest revision. */
bool publish_is_as_latest(const struct publish *p);

/* The channel's head when there is no new revision: made, renewed or left as it is. */
int publish_point_channel(struct publish *p) WARN_UNUSED;

/* Writes the channel's next head: `draft` says its revision, root, begin and end. Returns 0 or
 * -errno, logged. */
int publish_write_head(struct publish *p, const struct head *draft) WARN_UNUSED;

/* Installs the staged objects, writes revision and head, saves the state. Returns 0 or -errno,
 * logged. */
int publish_commit(struct publish *p) WARN_UNUSED;
