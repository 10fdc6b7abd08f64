/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How much of the disk the cache takes, and how much it may. Who lands something asks first and
 * tells afterwards; when room runs short, whoever makes room (cache/objects/bounds/evictor.h) is woken.
 *
 *	if (!usage_admits(usage, len)) return -ENOSPC;
 *	...write...
 *	usage_move(usage, USAGE_OBJECTS, disk_bytes);
 *
 * Who has to explain such an -ENOSPC to the admin notes beforehand what was refused until then:
 *
 *	struct usage_refusals before = usage_refusals(usage);
 *	bound = usage_refused_since(usage, &before);
 *	usage_describe(usage, bound, text);
 *
 * Any thread, no lock: all of it is atomic.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum usage_kind { USAGE_OBJECTS, USAGE_PARTIALS, USAGE_CATALOGS, USAGE_KINDS };

/* What may refuse to let something land. */
enum usage_bound { USAGE_UNBOUND, USAGE_LIMIT, USAGE_FLOOR, USAGE_BOUNDS };

/* How often each has. */
struct usage_refusals {
	unsigned long long count[USAGE_BOUNDS];
};

#define USAGE_TEXT_SIZE 256

struct usage {
	_Atomic int64_t bytes[USAGE_KINDS]; /* as the file system counts them */
	_Atomic uint64_t limit_bytes;	    /* 0: none */
	/* what has landed since the disk's free room was looked at */
	_Atomic int64_t landed_bytes;
	atomic_bool
		is_refused; /* the disk has refused something since it was looked at */
	atomic_bool
		is_closed; /* the disk is below its floor and nothing is left to let go */
	atomic_int wake_fd;	      /* an eventfd; -1: nobody makes room */
	_Atomic uint64_t floor_bytes; /* what is to stay free on the disk */
	atomic_ullong refused[USAGE_BOUNDS];
	_Atomic uint64_t refused_at_bytes; /* usage_total() when the limit last refused */
};

void usage_init(struct usage *usage);

/* Bytes of everything in the cache. */
uint64_t usage_total(const struct usage *usage);

/* More (or less) of a kind is on the disk now. */
void usage_move(struct usage *usage, enum usage_kind kind, int64_t delta);

/* The bound that this much more would go beyond. */
enum usage_bound usage_bound_of(const struct usage *usage, uint64_t bytes);

/* Whether this much more may land: beyond the bounds nothing is kept. That it may not is counted. */
bool usage_admits(struct usage *usage, uint64_t bytes);

struct usage_refusals usage_refusals(const struct usage *usage);

/* The bound that has refused something since; USAGE_UNBOUND: none has, so whoever got -ENOSPC got it
 * from the disk. */
enum usage_bound usage_refused_since(
	const struct usage *usage, const struct usage_refusals *before);

/* The bound by its option's name, its value and what is in use, for the admin; "" for USAGE_UNBOUND. */
void usage_describe(
	const struct usage *usage, enum usage_bound bound, char out[USAGE_TEXT_SIZE]);

/* The disk has refused something: room is wanted now. */
void usage_call_for_room(struct usage *usage);

/* Wakes whoever makes room, without a reason of ours. */
void usage_wake(const struct usage *usage);

/* Where the cache begins to let go, and what it comes down to: 95 and 90 % of the limit, so that
 * landing goes on meanwhile. */
uint64_t usage_high_water(uint64_t limit_bytes);
uint64_t usage_low_water(uint64_t limit_bytes);
