/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which objects were used lately. An object's access time is the file's own, set by us at most
 * once an hour; who opens an object only leaves a note here, and a thread that may wait for the
 * disk takes the notes off and sets the times.
 *
 *	if (recency_is_old(accessed_ns)) recency_note(recency, &digest);
 *	while (recency_take(recency, &at, &digest)) ...utimensat...
 */
#pragma once

#include "cache/base/data/hash.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"

#include <stdbool.h>
#include <stdint.h>

#define RECENCY_SLOTS	 2048
#define RECENCY_GRAIN_NS (3600 * NS_PER_SEC)

/* One slot for each value of a digest's first bits: an object in great demand is noted once, and
 * one whose slot is taken is noted by a later open. */
struct recency {
	struct mutex lock;
	struct digest slots[RECENCY_SLOTS]; /* lock */
	bool is_noted[RECENCY_SLOTS];	    /* lock */
	unsigned int count;		    /* lock */
};

void recency_init(struct recency *r);
void recency_release(struct recency *r);

/* Whether an access time is old enough (or far enough in the future) to be set anew. */
bool recency_is_old(int64_t accessed_ns);

/* Notes a use. True when so many notes wait that they should be taken soon. Any thread. */
bool recency_note(struct recency *r, const struct digest *digest);

/* Takes the next note at or behind slot *at, which begins at 0; false at the end. Any thread. */
bool recency_take(struct recency *r, unsigned int *at, struct digest *out);
