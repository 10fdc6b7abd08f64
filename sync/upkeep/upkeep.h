/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an admin asks of a running mirror's cache: pin, unpin, prefetch, evict and verify paths. Each
 * request but unpin is a task; tasks run one after the other on a thread of their own, which may
 * wait for the network and the disk.
 *
 *	r = upkeep_start(&config, &upkeep);
 *	... upkeep_verbs(upkeep) answers the control socket
 *	upkeep_stop(upkeep);
 */
#pragma once

#include "cache/judge.h"
#include "cache/source.h"
#include "sync/watch/control_verbs.h"

struct upkeep_config {
	int cache_dirfd;
	struct content_store *contents;
	struct object_store *objects;
	struct catalog_store *catalogs;
	struct source *source; /* NULL: offline */
	struct pins *pins;
	/* As for a judge: the first is what is shown. */
	size_t (*roots)(void *arg, struct catalog_ref out[JUDGE_ROOTS_MAX]);
	void *arg;
	int64_t timeout_ns; /* how long a catalog is waited for */
};

struct upkeep;

/* Borrows what `config` names. 0 or -errno. */
int upkeep_start(const struct upkeep_config *config, struct upkeep **out) WARN_UNUSED;

/* Cancels what runs and forgets what waits; before the source ends. Takes NULL. */
void upkeep_stop(struct upkeep *upkeep);

/* Answers pin, unpin, pins, prefetch, evict, verify, task, task-cancel. Lives as long as `upkeep`. */
struct control_verbs upkeep_verbs(struct upkeep *upkeep);
