/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Publishes a directory tree as the next revision of a depot. docs/publish.md tells the steps
 * and what a crash leaves after each.
 *
 *	struct publish_options options = {.depot = ..., .tree = ..., ...};
 *	r = publish(&options, &report);
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct publish_options {
	const char *depot;
	const char *tree;
	const char *channel;
	char *const *globs; /* of packages; none: those remembered */
	size_t glob_count;
	const char *message;
	bool is_dry_run;
	int level;
	const char *key;       /* NULL: key_dir/NAME.key */
	const char *key_dir;   /* NULL: the one init was given */
	uint64_t expires_days; /* 0: never */
	unsigned int threads;
};

enum publish_outcome {
	PUBLISH_REVISION, /* a new revision, and the channel points at it */
	PUBLISH_HEAD,	  /* no new revision; the channel now points at the newest */
	PUBLISH_RENEWED,  /* no change; the head's life was prolonged */
	PUBLISH_NOTHING,  /* no change */
	PUBLISH_DRY_RUN,
};

struct publish_report {
	enum publish_outcome outcome;
	uint64_t revision; /* that the channel points at; in a dry run, would be made */
	uint64_t entries;
	uint64_t tree_bytes; /* 0 in a dry run */
	uint64_t packages;
	uint64_t changed_packages;
	uint64_t files_read;
	uint64_t bytes_read;
	uint64_t bytes_stored;
	uint64_t sockets;
	bool has_changes; /* dry run */
	double seconds;
};

/* Returns 0 or -errno; errors are logged with the remedy. */
int publish(
	const struct publish_options *options, struct publish_report *out) WARN_UNUSED;

/* Gives the channel a policy, or takes it away (`len` 0): a new head for the same revision, which
 * names `text`, at most POLICY_MAX_BYTES that were checked before. Of the options depot, channel
 * and the keys count. *out_is_changed: there is a new head. Returns 0; -ENOENT when nothing was
 * published to the channel, -ESTALE when its head is not the last one; -errno; all logged. */
int publish_policy(const struct publish_options *options, const void *text, size_t len,
	bool *out_is_changed) WARN_UNUSED;
