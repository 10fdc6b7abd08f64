/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/bounds/eviction.h"

#include "cache/base/disk/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_FLOOR_PERCENT 5
#define DEFAULT_FLOOR_MAX     (UINT64_C(1) << 30)

static int compare(const void *one, const void *other)
{
	const struct eviction_item *a = one;
	const struct eviction_item *b = other;

	if (a->is_kept != b->is_kept)
		return a->is_kept ? 1 : -1;
	if (a->class != b->class)
		return a->class < b->class ? -1 : 1;
	if (a->last_use_ns != b->last_use_ns)
		return a->last_use_ns < b->last_use_ns ? -1 : 1;
	return 0;
}

size_t eviction_plan(
	struct eviction_item *items, size_t count, uint64_t wanted, uint64_t *out_bytes)
{
	uint64_t bytes = 0;
	size_t n = 0;

	if (count)
		qsort(items, count, sizeof(*items), compare);
	while (n < count && !items[n].is_kept && bytes < wanted)
		bytes += items[n++].disk_bytes;
	*out_bytes = bytes;
	return n;
}

int eviction_parse_size(const char *text, uint64_t *out_bytes)
{
	static const char units[] = "KMGT";
	size_t digits = strspn(text, "0123456789");
	const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
	char number[24];
	unsigned long long value;

	if (digits == 0 || digits >= sizeof(number))
		return -EINVAL;
	if (text[digits] && (!unit || text[digits + 1]))
		return -EINVAL;
	memcpy(number, text, digits);
	number[digits] = '\0';
	int r = io_parse_u64(number, &value);

	if (r < 0)
		return r;
	unsigned int shift = unit ? 10 * (unsigned int)(unit - units + 1) : 0;

	if (value > UINT64_MAX >> shift)
		return -ERANGE;
	*out_bytes = (uint64_t)value << shift;
	return 0;
}

int eviction_parse_floor(const char *text, struct eviction_floor *out)
{
	struct eviction_floor floor = {.unit = EVICTION_FLOOR_BYTES};
	size_t len = strlen(text);
	char number[4];

	if (len == 0 || text[len - 1] != '%') {
		if (eviction_parse_size(text, &floor.amount) < 0)
			return -EINVAL;
	} else {
		unsigned long long percent;

		if (len - 1 >= sizeof(number))
			return -EINVAL;
		memcpy(number, text, len - 1);
		number[len - 1] = '\0';
		if (io_parse_u64(number, &percent) < 0 || percent > 99)
			return -EINVAL;
		floor.unit = EVICTION_FLOOR_PERCENT;
		floor.amount = percent;
	}
	*out = floor;
	return 0;
}

uint64_t eviction_floor_bytes(const struct eviction_floor *floor, uint64_t disk_bytes)
{
	uint64_t bytes = disk_bytes / 100 * DEFAULT_FLOOR_PERCENT;

	if (floor->unit == EVICTION_FLOOR_BYTES)
		return floor->amount;
	if (floor->unit == EVICTION_FLOOR_PERCENT)
		return disk_bytes / 100 * floor->amount;
	return bytes < DEFAULT_FLOOR_MAX ? bytes : DEFAULT_FLOOR_MAX;
}

uint64_t eviction_wanted(
	const struct eviction_bounds *bounds, uint64_t used_bytes, uint64_t free_bytes)
{
	uint64_t limit = bounds->limit_bytes;
	uint64_t floor = bounds->floor_bytes;
	uint64_t wanted = 0;

	if (limit && used_bytes > usage_high_water(limit))
		wanted = used_bytes - usage_low_water(limit);
	if (free_bytes < floor && floor + floor / 4 - free_bytes > wanted)
		wanted = floor + floor / 4 - free_bytes;
	return wanted;
}
