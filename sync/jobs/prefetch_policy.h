/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a job fetches ahead, as the admin writes it: "none", "cached", "all", or globs over paths
 * separated by blanks, in which '*' matches '/' too (sync/jobs/policy/prefetch_text.h).
 *
 *	r = prefetch_policy_parse("npm/typescript/5.4* deb/?", &policy, reason);
 *	prefetch_policy_release(&policy);
 */
#pragma once

#include "sync/jobs/calendar/words.h"
#include "sync/jobs/glob_list.h"

struct prefetch_policy {
	enum {
		PREFETCH_NONE,
		PREFETCH_CACHED, /* what is here of the old version, by path */
		PREFETCH_ALL,
		PREFETCH_GLOBS,
	} kind;
	struct glob_list globs;
};

/* NULL and "" are as "cached". 0, -EINVAL with the reason, or -ENOMEM. */
int prefetch_policy_parse(const char *text, struct prefetch_policy *out,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;
void prefetch_policy_release(struct prefetch_policy *policy);
#define AUTO_PREFETCH_POLICY CLEANUP(prefetch_policy_release)
