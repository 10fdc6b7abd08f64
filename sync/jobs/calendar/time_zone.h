/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Named time zones, from the system's tzdata: local clock readings to instants and back. The
 * only user of GLib (GTimeZone: immutable once made, where setenv("TZ") would be the whole
 * process's).
 *
 *	struct time_zone *zone;
 *	r = time_zone_open("Europe/Oslo", &zone);
 *	local_s = time_zone_local(zone, utc_s);
 *	utc_s = time_zone_instant(zone, local_s);
 *	time_zone_close(zone);
 *
 * A local time is a count of seconds as if the clock on the wall showed UTC: a day of it has
 * 86,400, and reading 02:00 on 2 January 1970 it is 93,600. Any thread.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define TIME_ZONE_NAME_SIZE 48 /* tzdata's longest has 32 */

struct time_zone;

/* `name`: as below /usr/share/zoneinfo, "UTC" among them; "" is the machine's own zone as it
 * is set now. -EINVAL for what cannot be a name, -ENOENT when tzdata has no such zone (or is
 * not installed), -ENOMEM. */
int time_zone_open(const char *name, struct time_zone **out) WARN_UNUSED;
void time_zone_close(struct time_zone *zone);

static inline void cleanup_time_zone(struct time_zone **zone)
{
	time_zone_close(*zone);
}
#define AUTO_TIME_ZONE CLEANUP(cleanup_time_zone)

/* Seconds that the zone's clocks are ahead of UTC at an instant. */
int64_t time_zone_offset(const struct time_zone *zone, int64_t utc_s);

/* What the clocks show. */
int64_t time_zone_local(const struct time_zone *zone, int64_t utc_s);

/* The first instant at which the clocks show `local_s` or later. So a time that occurs twice
 * is its first occurrence, and one that is skipped is the instant after the gap. */
int64_t time_zone_instant(const struct time_zone *zone, int64_t local_s);

/* The first instant in (from, to] whose offset is no longer that of `from`; `to` + 1 when
 * there is none. At most a day and a half may lie between them: no zone changes twice. */
int64_t time_zone_change(const struct time_zone *zone, int64_t from_s, int64_t to_s);
