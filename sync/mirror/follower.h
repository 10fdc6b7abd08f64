/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a mirror knows of its channel: takes the newest head that the sources offer and the keys
 * allow, and keeps it in the cache directory, so that the mirror can start without the sources.
 *
 *	struct follower_result result;
 *	r = follower_open(cache_dirfd, &key_ring, "stable", fetcher, &result);
 *	... result.head.root names the tree to show
 *
 * Saved below the cache directory, each after it was checked, each durably:
 *	trust		the trust document, byte for byte as it was signed
 *	trust-first	the first one that was accepted: what ties the chain to the key file
 *	head/<channel>	the head, likewise
 */
#pragma once

#include "cache/base/cleanup.h"
#include "sync/mirror/fetcher.h"
#include "sync/trust/key.h"
#include "sync/trust/record.h"

#include <stdbool.h>
#include <stdint.h>

/* What sources offered and was refused, by kind (docs/formats/records.md). */
struct follower_refusals {
	uint64_t forged;     /* not signed by the keys, or not such a record at all */
	uint64_t rollback;   /* older than what this mirror has seen */
	uint64_t frozen;     /* expired: somebody keeps newer ones from us */
	uint64_t mismatched; /* another channel, or two heads of one sequence */
	uint64_t wrong_repository;
};

struct follower_result {
	struct trust trust;
	struct head head;
	bool is_online;	 /* the head came from a source just now */
	bool is_changed; /* it is newer than the saved one, or the first */
	struct follower_refusals refusals;
};

/* Asks the sources in turn until one offers a trust document and a head that can be accepted,
 * and saves them; else takes the saved ones, with a warning. Every refusal is logged with its
 * source and its own words. Waits for the network: for the thread that starts a mount. Returns
 * 0, or with *out holding only the counters
 *   -EHOSTUNREACH	nothing is saved and no source answers
 *   -ENOENT		nothing is saved and the depot has no such channel
 *   -EKEYREJECTED, -EBADMSG, -ESTALE, ...
 *			nothing is saved and this is what the last source's offer was refused for
 *   -EXDEV		the cache directory belongs to another repository than the keys, or than
 *			what the sources offer
 *   -EINVAL		a channel name that cannot be
 * or what reading and writing the cache directory returned. */
int follower_open(int cache_dirfd, const struct key_ring *ring, const char *channel,
	struct fetcher *fetcher, struct follower_result *out) WARN_UNUSED;
