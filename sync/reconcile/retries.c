/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/retries.h"

#include "cache/base/data/hash.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"

#include <string.h>

void retry_release(struct run_record *record)
{
	free((char *)(uintptr_t)record->job);
	free((char *)(uintptr_t)record->selection);
	free((char *)(uintptr_t)record->prefetch);
	record->job = record->selection = record->prefetch = NULL;
}

/* What is needed to run it again. */
static bool copy_record(const struct run_record *from, struct run_record *out)
{
	AUTO_FREE char *job = mem_strdup(from->job);
	AUTO_FREE char *selection = mem_strdup(from->selection ? from->selection : "");
	AUTO_FREE char *prefetch = mem_strdup(from->prefetch ? from->prefetch : "");

	if (!job || !selection || !prefetch)
		return false;
	*out = (struct run_record){.id = from->id,
		.job = TAKE_PTR(job),
		.selection = TAKE_PTR(selection),
		.prefetch = TAKE_PTR(prefetch),
		.trigger = from->trigger,
		.is_full = from->is_full,
		.is_deep = from->is_deep};
	return true;
}

void retries_release(struct retries *retries)
{
	for (size_t i = 0; i < retries->count; i++)
		retry_release(&retries->items[i].record);
	retries->count = 0;
}

static size_t find(const struct retries *retries, const char *job)
{
	size_t i = 0;

	while (i < retries->count && strcmp(retries->items[i].record.job, job) != 0)
		i++;
	return i;
}

static int64_t wait_ns(
	const struct retries *retries, const char *job, unsigned int failures)
{
	int64_t seconds = RETRY_FIRST_SEC;

	for (unsigned int i = 0; i < failures && seconds < RETRY_LONGEST_SEC; i++)
		seconds *= 2;
	if (seconds > RETRY_LONGEST_SEC)
		seconds = RETRY_LONGEST_SEC;
	int64_t ns = seconds * NS_PER_SEC;

	if (retries->seed)
		ns += (int64_t)(hash64(job, strlen(job), retries->seed + failures) %
				((uint64_t)ns / 4));
	return ns;
}

int64_t retries_after(const struct retries *retries, const char *job, int64_t now_ns)
{
	size_t i = find(retries, job);

	return now_ns +
	       wait_ns(retries, job, i < retries->count ? retries->items[i].failures : 0);
}

static struct retry *make(struct retries *retries, const struct run_record *record)
{
	if (retries->count == RETRIES_MAX)
		return NULL;
	struct retry *item = &retries->items[retries->count];

	*item = (struct retry){0};
	if (!copy_record(record, &item->record))
		return NULL;
	retries->count++;
	return item;
}

int64_t retries_add(
	struct retries *retries, const struct run_record *record, int64_t now_ns)
{
	size_t i = find(retries, record->job);
	struct retry *item =
		i < retries->count ? &retries->items[i] : make(retries, record);

	if (!item)
		return 0;
	item->record.id = record->id;
	item->at_ns = now_ns + wait_ns(retries, record->job, item->failures++);
	return item->at_ns;
}

void retries_forget(struct retries *retries, const char *job)
{
	size_t i = find(retries, job);

	if (i == retries->count)
		return;
	retry_release(&retries->items[i].record);
	retries->items[i] = retries->items[--retries->count];
}

bool retries_take(struct retries *retries, int64_t now_ns, struct run_record *out)
{
	for (size_t i = 0; i < retries->count; i++) {
		struct retry *item = &retries->items[i];

		/* the clock was put back */
		if (item->at_ns != RETRY_NEVER &&
			item->at_ns - now_ns > 2 * RETRY_LONGEST_SEC * NS_PER_SEC)
			item->at_ns = now_ns + RETRY_LONGEST_SEC * NS_PER_SEC;
		if (item->at_ns > now_ns || !copy_record(&item->record, out))
			continue;
		/* how often it failed stays known */
		item->at_ns = RETRY_NEVER;
		return true;
	}
	return false;
}

int64_t retries_next_ns(const struct retries *retries)
{
	int64_t next_ns = RETRY_NEVER;

	for (size_t i = 0; i < retries->count; i++)
		if (retries->items[i].at_ns < next_ns)
			next_ns = retries->items[i].at_ns;
	return next_ns;
}

int64_t retries_of(const struct retries *retries, int64_t run)
{
	for (size_t i = 0; i < retries->count; i++)
		if (retries->items[i].record.id == run &&
			retries->items[i].at_ns != RETRY_NEVER)
			return retries->items[i].at_ns;
	return 0;
}
