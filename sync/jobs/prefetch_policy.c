/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/prefetch_policy.h"

#include "cache/base/memory.h"
#include "sync/jobs/policy/prefetch_text.h"

#include <errno.h>
#include <string.h>

int prefetch_policy_parse(
	const char *text, struct prefetch_policy *out, char reason[TEXT_REASON_SIZE])
{
	*out = (struct prefetch_policy){.kind = PREFETCH_CACHED};
	if (!text || !*text || strcmp(text, "cached") == 0)
		return 0;
	if (strcmp(text, "none") == 0 || strcmp(text, "all") == 0) {
		out->kind = *text == 'n' ? PREFETCH_NONE : PREFETCH_ALL;
		return 0;
	}
	int r = prefetch_globs_check(text, reason);

	if (r < 0)
		return r;
	AUTO_FREE char *lines = mem_strdup(text);

	if (!lines)
		return -ENOMEM;
	for (char *c = lines; *c; c++)
		if (*c == ' ' || *c == '\t')
			*c = '\n';
	out->kind = PREFETCH_GLOBS;
	return glob_list_parse(lines, &out->globs);
}

void prefetch_policy_release(struct prefetch_policy *policy)
{
	if (policy->kind == PREFETCH_GLOBS)
		glob_list_release(&policy->globs);
	*policy = (struct prefetch_policy){0};
}
