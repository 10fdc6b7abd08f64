/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/bounds/usage.h"

#include "cache/base/cli.h"

#include <stdio.h>
#include <sys/eventfd.h>

/* Asking the file system for its free room costs a system call: once in this many bytes. */
#define LOOK_EVERY_BYTES (INT64_C(16) * 1024 * 1024)

void usage_init(struct usage *usage)
{
	*usage = (struct usage){0};
	atomic_store(&usage->wake_fd, -1);
}

uint64_t usage_total(const struct usage *usage)
{
	int64_t total = 0;

	for (int i = 0; i < USAGE_KINDS; i++)
		total += atomic_load(&usage->bytes[i]);
	/* what was there before this session may be removed before it was counted */
	return total > 0 ? (uint64_t)total : 0;
}

void usage_wake(const struct usage *usage)
{
	int fd = atomic_load(&usage->wake_fd);

	if (fd >= 0)
		(void)eventfd_write(fd, 1);
}

void usage_move(struct usage *usage, enum usage_kind kind, int64_t delta)
{
	uint64_t limit = atomic_load(&usage->limit_bytes);

	atomic_fetch_add(&usage->bytes[kind], delta);
	if (delta <= 0)
		return;
	int64_t landed = atomic_fetch_add(&usage->landed_bytes, delta) + delta;

	if ((limit && usage_total(usage) > usage_high_water(limit)) ||
		landed / LOOK_EVERY_BYTES != (landed - delta) / LOOK_EVERY_BYTES)
		usage_wake(usage);
}

enum usage_bound usage_bound_of(const struct usage *usage, uint64_t bytes)
{
	uint64_t limit = atomic_load(&usage->limit_bytes);

	if (atomic_load(&usage->is_closed))
		return USAGE_FLOOR;
	return !limit || (bytes <= limit && usage_total(usage) <= limit - bytes)
		       ? USAGE_UNBOUND
		       : USAGE_LIMIT;
}

bool usage_admits(struct usage *usage, uint64_t bytes)
{
	enum usage_bound bound = usage_bound_of(usage, bytes);

	if (bound == USAGE_UNBOUND)
		return true;
	if (bound == USAGE_LIMIT)
		atomic_store(&usage->refused_at_bytes, usage_total(usage));
	atomic_fetch_add(&usage->refused[bound], 1);
	return false;
}

struct usage_refusals usage_refusals(const struct usage *usage)
{
	struct usage_refusals refusals;

	for (int i = 0; i < USAGE_BOUNDS; i++)
		refusals.count[i] = atomic_load(&usage->refused[i]);
	return refusals;
}

enum usage_bound usage_refused_since(
	const struct usage *usage, const struct usage_refusals *before)
{
	if (atomic_load(&usage->refused[USAGE_LIMIT]) != before->count[USAGE_LIMIT])
		return USAGE_LIMIT;
	return atomic_load(&usage->refused[USAGE_FLOOR]) != before->count[USAGE_FLOOR]
		       ? USAGE_FLOOR
		       : USAGE_UNBOUND;
}

void usage_describe(
	const struct usage *usage, enum usage_bound bound, char out[USAGE_TEXT_SIZE])
{
	/* room may have been made since */
	uint64_t then = atomic_load(&usage->refused_at_bytes);
	uint64_t now = usage_total(usage);
	double limit = (double)atomic_load(&usage->limit_bytes);
	double floor = (double)atomic_load(&usage->floor_bytes);

	out[0] = '\0';
	if (bound == USAGE_LIMIT)
		(void)snprintf(out, USAGE_TEXT_SIZE,
			"the mount's cache_limit is reached: %s of %s are in use",
			cli_bytes((double)(then > now ? then : now)).text,
			cli_bytes(limit).text);
	else if (bound == USAGE_FLOOR)
		(void)snprintf(out, USAGE_TEXT_SIZE,
			"the mount's cache_free wants %s free on the cache's disk, and "
			"nothing is left to let go",
			cli_bytes(floor).text);
}

void usage_call_for_room(struct usage *usage)
{
	uint64_t limit = atomic_load(&usage->limit_bytes);

	/* what the limit or the floor has refused is no news */
	if (!atomic_load(&usage->is_closed) &&
		(!limit || usage_total(usage) <= usage_high_water(limit)))
		atomic_store(&usage->is_refused, true);
	usage_wake(usage);
}

uint64_t usage_high_water(uint64_t limit_bytes)
{
	return limit_bytes - limit_bytes / 20;
}

uint64_t usage_low_water(uint64_t limit_bytes)
{
	return limit_bytes - limit_bytes / 10;
}
