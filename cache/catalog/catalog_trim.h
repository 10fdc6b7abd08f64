/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Keeps the mapped catalogs' share of the process's memory small. The kernel could take these
 * pages back whenever it wants to, but they count as the daemon's; so while there are too many they
 * are taken out of its page table, when nobody is likely to miss them. A page that is used again
 * comes back by a minor fault, or from the disk if the kernel has dropped it meanwhile, which it
 * does not do while it is mapped. That is why a walk is not disturbed.
 *
 * Lookups write no stamp: whoever asks makes the process use CPU, and that the kernel counts.
 *
 *	r = catalog_trim_start(CATALOG_TRIM_BYTES, &trim);
 *	catalog_trim_add(trim, catalog);	(catalog_close() takes it out again)
 *	...
 *	catalog_trim_stop(trim);
 */
#pragma once

#include "cache/base/threads/clock.h"
#include "cache/catalog/catalog.h"

/* The daemon's own code and its libraries count, too: about 10 MiB. */
#define CATALOG_TRIM_BYTES (24 << 20)

/* How often it looks, while more than the budget is mapped. */
#define TRIM_LOOK_NS (5 * NS_PER_SEC)

/* The process has had next to nothing to do for so long: 1 % of a core is 400 lookups a second. */
#define TRIM_QUIET_NS	  (20 * NS_PER_SEC)
#define TRIM_BUSY_PERCENT 1

/* One that always has something to do gives memory back this often all the same. */
#define TRIM_BUSY_NS (300 * NS_PER_SEC)

struct catalog_trim;

/* When it looked last, since when it is quiet, when it trimmed last, CPU time at the last look. */
struct trim_rhythm {
	int64_t look_ns;
	int64_t quiet_ns;
	int64_t last_ns;
	int64_t cpu_ns;
};

/* Whether to trim now; for a process that has used `cpu_ns` until `now_ns`. Pure but for
 * `rhythm`, which starts with the time of the start in its first three. */
bool trim_rhythm_is_due(
	struct trim_rhythm *rhythm, int64_t now_ns, int64_t cpu_ns) WARN_UNUSED;

/* Starts the thread, which sleeps until that much is mapped. `budget_bytes`: of all file pages
 * the process has resident. 0 or -errno. */
int catalog_trim_start(size_t budget_bytes, struct catalog_trim **out) WARN_UNUSED;

/* Ends the thread and forgets the catalogs, which may live on. Nobody may open or close one
 * meanwhile. Takes NULL. */
void catalog_trim_stop(struct catalog_trim *trim);

/* Watches over a mapped catalog until it is closed. Any thread. */
void catalog_trim_add(struct catalog_trim *trim, struct catalog *catalog);

/* For catalog_close(), before it unmaps. Any thread. */
void catalog_trim_remove(struct catalog *catalog);

/* What the thread does when it is due. Returns the bytes of the catalogs it went through. */
size_t catalog_trim_now(struct catalog_trim *trim);
