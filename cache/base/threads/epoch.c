/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The algorithm of the kernel's SRCU (McKenney, "Sleepable RCU", 2006): two sets of counters,
 * of which new readers use the current one. One who waits makes the other set current and waits
 * until the first is drained. A reader may have looked up which set is current and count itself
 * in it much later; so both sets are drained, one after the other, and such a straggler delays
 * a later wait at most, in which it is seen. Entries and exits are counted apart, the exits are
 * summed first: equal sums then mean that nobody was inside at the moment between.
 *
 * All is sequentially consistent C11 atomics, without fences, so that the thread sanitizer
 * follows it (docs/decisions/0014).
 */
#include "cache/base/threads/epoch.h"

#include "cache/base/threads/mutex.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SHARDS	   64
#define CACHE_LINE 64

/* The first looks are spent on the processor, then it sleeps between them. */
#define SPINS	     64
#define SLEEP_MIN_NS 20000
#define SLEEP_MAX_NS 1000000

struct shard {
	_Alignas(CACHE_LINE) atomic_uint_fast64_t entered[2];
	atomic_uint_fast64_t left[2];
};

static struct shard shards[SHARDS];
static atomic_uint current;
static atomic_uint next_shard;
static struct mutex waiting = MUTEX_INIT; /* one who waits at a time */

/* 1 + the thread's shard, 0 before its first epoch */
static _Thread_local unsigned int my_shard;

epoch_token epoch_enter(void)
{
	if (!my_shard)
		my_shard = 1 + atomic_fetch_add(&next_shard, 1) % SHARDS;
	unsigned int set = atomic_load(&current) & 1;

	atomic_fetch_add(&shards[my_shard - 1].entered[set], 1);
	return (my_shard - 1) << 1 | set;
}

void epoch_leave(epoch_token token)
{
	atomic_fetch_add(&shards[token >> 1].left[token & 1], 1);
}

static bool is_drained(unsigned int set)
{
	uint64_t left = 0;
	uint64_t entered = 0;

	for (size_t i = 0; i < SHARDS; i++)
		left += atomic_load(&shards[i].left[set]);
	for (size_t i = 0; i < SHARDS; i++)
		entered += atomic_load(&shards[i].entered[set]);
	return entered == left;
}

static void drain(unsigned int set)
{
	struct timespec pause = {.tv_nsec = SLEEP_MIN_NS};

	for (unsigned int looks = 0; !is_drained(set); looks++) {
		if (looks < SPINS)
			continue;
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
		if (pause.tv_nsec < SLEEP_MAX_NS)
			pause.tv_nsec *= 2;
	}
}

void epoch_wait(void)
{
	mutex_lock(&waiting);
	unsigned int set = atomic_load(&current) & 1;

	drain(set ^ 1);
	atomic_store(&current, set ^ 1);
	drain(set);
	mutex_unlock(&waiting);
}
