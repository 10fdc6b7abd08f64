/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/calendar/time_zone.h"

#include "cache/base/memory.h"

#include <ctype.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

/* Clocks are between 12 hours behind UTC and 14 ahead, and were up to 16 in the past. */
#define BEHIND_MAX_S (16 * 3600)
#define AHEAD_MAX_S  (16 * 3600)

struct time_zone {
	GTimeZone *glib;
};

/* A relative path of tzdata, and none of the offsets and rules that GLib reads besides. */
static bool name_is_valid(const char *name)
{
	size_t len = strlen(name);
	bool is_first = true; /* of a component */

	if (len >= TIME_ZONE_NAME_SIZE || !isalpha((unsigned char)name[0]))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (is_first ? !isalpha((unsigned char)name[i])
			     : !isalnum((unsigned char)name[i]) &&
					!strchr("/_+-", name[i]))
			return false;
		is_first = name[i] == '/';
	}
	return !is_first;
}

int time_zone_open(const char *name, struct time_zone **out)
{
	if (*name && !name_is_valid(name))
		return -EINVAL;
	struct time_zone *zone = mem_calloc(1, sizeof(*zone));

	if (!zone)
		return -ENOMEM;
	zone->glib = *name ? g_time_zone_new_identifier(name) : g_time_zone_new_local();
	if (!zone->glib) {
		free(zone);
		return -ENOENT;
	}
	*out = zone;
	return 0;
}

void time_zone_close(struct time_zone *zone)
{
	if (!zone)
		return;
	g_time_zone_unref(zone->glib);
	free(zone);
}

int64_t time_zone_offset(const struct time_zone *zone, int64_t utc_s)
{
	gint interval = g_time_zone_find_interval(
		zone->glib, G_TIME_TYPE_UNIVERSAL, (gint64)utc_s);

	return g_time_zone_get_offset(zone->glib, interval);
}

int64_t time_zone_local(const struct time_zone *zone, int64_t utc_s)
{
	return utc_s + time_zone_offset(zone, utc_s);
}

int64_t time_zone_change(const struct time_zone *zone, int64_t from_s, int64_t to_s)
{
	int64_t offset = time_zone_offset(zone, from_s);

	if (to_s <= from_s || time_zone_offset(zone, to_s) == offset)
		return to_s + 1;
	while (to_s - from_s > 1) {
		int64_t middle = from_s + (to_s - from_s) / 2;

		if (time_zone_offset(zone, middle) == offset)
			from_s = middle;
		else
			to_s = middle;
	}
	return to_s;
}

int64_t time_zone_instant(const struct time_zone *zone, int64_t local_s)
{
	int64_t from = local_s - AHEAD_MAX_S;
	int64_t to = local_s + BEHIND_MAX_S;
	int64_t change = time_zone_change(zone, from, to);
	int64_t before = local_s - time_zone_offset(zone, from);
	int64_t after = local_s - time_zone_offset(zone, to);

	if (before < change)
		return before;
	return after > change ? after : change;
}
