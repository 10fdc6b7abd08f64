/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How much of the disk the cache takes, and how much it may. Who lands something asks first and
 * tells afterwards; when room runs short, whoever makes room (cache/objects/bounds/evictor.h) is woken.
 *
 *	if (!usage_admits(usage, len)) return -ENOSPC;
 *	...write...
 *	usage_move(usage, USAGE_OBJECTS, disk_bytes);
 *
 * Any thread, no lock: all of it is atomic.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum usage_kind { USAGE_OBJECTS, USAGE_PARTIALS, USAGE_CATALOGS, USAGE_KINDS };

struct usage {
	_Atomic int64_t bytes[USAGE_KINDS]; /* as the file system counts them */
	_Atomic uint64_t limit_bytes;	    /* 0: none */
	/* what has landed since the disk's free room was looked at */
	_Atomic int64_t landed_bytes;
	atomic_bool
		is_refused; /* the disk has refused something since it was looked at */
	atomic_bool
		is_closed; /* the disk is below its floor and nothing is left to let go */
	atomic_int wake_fd; /* an eventfd; -1: nobody makes room */
};

void usage_init(struct usage *usage);

/* Bytes of everything in the cache. */
uint64_t usage_total(const struct usage *usage);

/* More (or less) of a kind is on the disk now. */
void usage_move(struct usage *usage, enum usage_kind kind, int64_t delta);

/* Whether this much more may land: beyond the limit nothing is kept. */
bool usage_admits(const struct usage *usage, uint64_t bytes);

/* The disk has refused something: room is wanted now. */
void usage_call_for_room(struct usage *usage);

/* Wakes whoever makes room, without a reason of ours. */
void usage_wake(const struct usage *usage);

/* Where the cache begins to let go, and what it comes down to: 95 and 90 % of the limit, so that
 * landing goes on meanwhile. */
uint64_t usage_high_water(uint64_t limit_bytes);
uint64_t usage_low_water(uint64_t limit_bytes);
