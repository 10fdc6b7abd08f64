/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a mirror knows of its channel: takes the newest head that the sources offer and the keys
 * allow, and keeps it in the cache directory, so that the mirror can start without the sources.
 *
 *	r = follower_new(cache_dirfd, &key_ring, "stable", fetcher, &follower);
 *	r = follower_open(follower, &result);
 *	... result.head.root names the tree to show
 *	r = follower_poll(follower, &result);	(every minute)
 *	... result.outcome == FOLLOWER_CHANGED: result.head is a newer one
 *	follower_free(follower);
 *
 * Saved below the cache directory, each after it was checked, each durably:
 *	trust		the trust document, byte for byte as it was signed
 *	trust-first	the first one that was accepted: what ties the chain to the key file
 *	head/<channel>	the head, likewise
 *
 * One thread at a time, which waits for the network: not for callbacks. fetcher_stop() ends the
 * waiting.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "sync/mirror/fetcher.h"
#include "sync/mirror/follow/offer.h"
#include "sync/trust/key.h"
#include "sync/trust/record.h"

#include <stdbool.h>
#include <stdint.h>

enum follower_outcome {
	FOLLOWER_UNCHANGED,   /* a source says that the head we have is its newest */
	FOLLOWER_CHANGED,     /* a newer head was accepted and saved, or the first */
	FOLLOWER_REFUSED,     /* sources answered, with nothing that can be accepted */
	FOLLOWER_UNREACHABLE, /* none answered */
};

struct follower_result {
	enum follower_outcome outcome;
	struct trust trust;
	struct head head; /* the newest that was ever accepted, whatever the outcome */
	bool is_online;	  /* UNCHANGED or CHANGED: some source vouches for it just now */
	bool is_changed;  /* CHANGED */
	int error; /* of REFUSED and UNREACHABLE, as follower_open() says; else 0 */
	char reason[OFFER_REASON_SIZE];	   /* likewise, for people; else "" */
	struct follower_refusals refusals; /* since follower_new() */
};

struct follower;

/* Reads what is saved; asks nobody yet. `ring` and `fetcher` must outlive it. Returns 0, or
 *   -EXDEV	the cache directory belongs to another repository than the keys
 *   -EINVAL	a channel name that cannot be
 * both logged, or -ENOMEM, or what reading the cache directory returned. */
int follower_new(int cache_dirfd, const struct key_ring *ring, const char *channel,
	struct fetcher *fetcher, struct follower **out) WARN_UNUSED;
void follower_free(struct follower *follower);

/* Asks the sources in turn, for trust and head at once, until one offers what can be accepted, and
 * saves that; else takes the saved ones, with a warning. Every refusal is logged with its
 * source and its own words. For the start of a mount. Returns 0, or with *out holding only
 * outcome, error, reason and counters
 *   -EHOSTUNREACH	nothing is saved and no source answers
 *   -ENOENT		nothing is saved and the depot has no such channel
 *   -EKEYREJECTED, -EBADMSG, -ESTALE, ...
 *			nothing is saved and this is what the last source's offer was refused for
 *   -EXDEV		the sources offer another repository than the cache directory's
 *   -ECANCELED		fetcher_stop()
 * or what writing the cache directory returned. */
int follower_open(struct follower *follower, struct follower_result *out) WARN_UNUSED;

/* Asks the best source whether there is a newer head: one request, less than 1 KiB both ways and
 * nothing written if there is not. If it fails, or what it has is refused, the next one is asked.
 * Trust is asked for when a head needs a newer one, and once an hour; and one poll in ten begins
 * with another source, in turn: one that is stuck at an old head is not believed for ever. A
 * refusal is logged when it is news. For after follower_open() has returned 0. Returns 0 with
 * *out filled, or -ENOMEM, -ECANCELED, or what writing the cache directory returned: then it is to be
 * tried again as if it had not been called. */
int follower_poll(struct follower *follower, struct follower_result *out) WARN_UNUSED;
