/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/content/fetch/reasons.h"

#include "cache/base/log.h"

#include <errno.h>
#include <stdio.h>

void fetch_reasons_begin(struct fetch_reasons *reasons, struct source *source,
	struct object_store *objects)
{
	struct source_status status = {0};

	*reasons = (struct fetch_reasons){.source = source};
	if (source)
		source_status(source, &status);
	reasons->missing = status.missing;
	if (!objects)
		return;
	reasons->usage = object_store_usage(objects);
	reasons->refusals = usage_refusals(reasons->usage);
}

/* The cache's own files may be missing, too. */
static bool describe_missing(
	const struct fetch_reasons *reasons, char out[FETCH_REASON_SIZE])
{
	struct source_status status = {0};

	if (reasons->source)
		source_status(reasons->source, &status);
	if (status.missing == reasons->missing)
		return false;
	(void)snprintf(
		out, FETCH_REASON_SIZE, "no source has it (%.480s)", status.missing_last);
	return true;
}

static bool describe_bound(
	const struct fetch_reasons *reasons, char out[FETCH_REASON_SIZE])
{
	const struct usage *usage = reasons->usage;
	char text[USAGE_TEXT_SIZE];

	if (!usage)
		return false;
	usage_describe(usage, usage_refused_since(usage, &reasons->refusals), text);
	if (!*text)
		return false;
	(void)snprintf(out, FETCH_REASON_SIZE,
		"%s; change that option, or unpin or evict something", text);
	return true;
}

void fetch_reasons_text(
	const struct fetch_reasons *reasons, int error, char out[FETCH_REASON_SIZE])
{
	if ((error == -ENOENT && describe_missing(reasons, out)) ||
		(error == -ENOSPC && describe_bound(reasons, out)))
		return;
	(void)snprintf(out, FETCH_REASON_SIZE, "%s", log_strerror(error));
}
