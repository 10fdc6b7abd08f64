/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The policy that a head names, fetched and kept in the cache directory, so that a mirror that
 * starts without its sources still knows its hours.
 *
 *	AUTO_POLICY struct policy policy = {0};
 *	r = policy_fetch(fetcher, &head, cache_dirfd, &policy);
 *
 * Kept as policy/<channel>, byte for byte as the head's digest says. For one thread at a time.
 */
#pragma once

#include "sync/jobs/policy/policy.h"
#include "sync/mirror/fetcher.h"
#include "sync/trust/record.h"

#define POLICY_FETCH_REASON_SIZE 512

/* Takes the kept one if it is the head's, else asks the sources in turn until one has the bytes of
 * that size and digest; an empty policy if the head names none. Waits for the network. Errors,
 * with their words in `reason` and *out untouched:
 *   -EHOSTUNREACH, -ENOENT	no source has it
 *   -EBADMSG			all that have it have other bytes
 *   -EINVAL			this mirror cannot read it: a word that is too new for it, or a
 *				time zone that it does not have
 *   -ENOMEM
 * That it cannot be kept is a warning. */
int policy_fetch(struct fetcher *fetcher, const struct head *head, int cache_dirfd,
	struct policy *out, char reason[POLICY_FETCH_REASON_SIZE]) WARN_UNUSED;
