/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Schedules and windows as an INI text says them (docs/schedules.md): the policy that a master
 * publishes, and the same sections of a mirror's own configuration. Pure.
 *
 *	AUTO_POLICY struct policy policy = {0};
 *	r = policy_parse(text, len, &policy, reason);
 *	for each policy.schedules[i]
 *		if (policy_applies(&policy.schedules[i].labels, my_labels, my_label_count))
 *			...
 *
 * Any thread; a policy does not change once it is made.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/threads/rate_limit.h"
#include "sync/jobs/calendar/schedule.h"
#include "sync/jobs/calendar/window.h"

#include <stdbool.h>
#include <stddef.h>

#define POLICY_NAME_SIZE    40 /* a schedule's or windows' own name: [a-z0-9][a-z0-9._-]* */
#define POLICY_LABEL_SIZE   64	/* [a-z0-9][a-z0-9._:-]* */
#define POLICY_SECTIONS_MAX 256 /* of each kind */
#define POLICY_WORDS_MAX    1000

enum policy_mode { POLICY_FULL, POLICY_INCREMENTAL };

enum policy_prefetch {
	POLICY_PREFETCH_CACHED, /* what the mirror holds of the old version */
	POLICY_PREFETCH_NONE,
	POLICY_PREFETCH_ALL,
	POLICY_PREFETCH_GLOBS, /* paths that match prefetch_globs */
};

/* Labels or globs; none of them: all. */
struct policy_words {
	char **items;
	size_t count;
};

struct policy_schedule {
	char name[POLICY_NAME_SIZE];
	struct policy_words labels;
	char *when;		  /* as written */
	struct schedule schedule; /* its zone and splay, too */
	enum policy_mode mode;
	struct policy_words packages;
	enum policy_prefetch prefetch;
	struct policy_words prefetch_globs;
	struct rate_limit rate;
};

struct policy_windows {
	char name[POLICY_NAME_SIZE];
	struct policy_words labels;
	char zone[TIME_ZONE_NAME_SIZE]; /* "": the machine's own */
	struct window_list windows;
};

/* In the order of the text; names are unique among their kind. */
struct policy {
	struct policy_schedule *schedules;
	size_t schedule_count;
	struct policy_windows *windows;
	size_t windows_count;
};

void policy_release(struct policy *policy);
#define AUTO_POLICY CLEANUP(policy_release)

/* Reads the text of a published policy: nothing but [schedule NAME] and [windows NAME] may be in
 * it. Returns 0; -EINVAL with the first mistake and its line in `reason`; -ENOMEM. */
int policy_parse(const char *text, size_t len, struct policy *out,
	char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* A line of another section, "" before the first; a line that goes on with the one above it comes
 * with that one's key again. Returns 0, -EINVAL with the reason, or another error, which ends
 * the reading. */
typedef int (*policy_other_fn)(void *context, const char *section, const char *key,
	const char *value, char reason[TEXT_REASON_SIZE]);

/* The same for a mirror's configuration, whose other sections go to `other`. */
int policy_parse_config(const char *text, size_t len, policy_other_fn other,
	void *context, struct policy *out, char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* True if one of the section's labels is one of the mirror's, or the section names none. */
bool policy_applies(
	const struct policy_words *section, char *const *labels, size_t label_count);

/* True for what may stand behind `label =`, a mirror's own label too. */
bool policy_label_is_valid(const char *label);
