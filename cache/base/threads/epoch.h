/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who is reading what somebody else may unhook. A reader enters an epoch and leaves it: two
 * additions on a cache line that few threads share. One who has unhooked something waits until
 * all who may have found it before have left, and then frees it.
 *
 *	epoch_token token = epoch_enter();	(or AUTO_EPOCH, for the scope)
 *	... follow pointers that are read with atomic_load() ...
 *	epoch_leave(token);
 *
 *	atomic_store(&pointer, fresh);
 *	epoch_wait();
 *	free(old);
 *
 * One domain for the whole process. Epochs may be nested; a token is left by the thread that has
 * entered. Nobody sleeps for the network in one: who waits would wait as long.
 */
#pragma once

#include "cache/base/cleanup.h"

typedef unsigned int epoch_token;

/* Any thread; takes no lock, allocates nothing. */
epoch_token epoch_enter(void) WARN_UNUSED;
void epoch_leave(epoch_token token);

/* Returns when everybody who was in an epoch when it was called has left it. What was read with
 * atomic_load() (sequentially consistent) by those who enter later is what the caller stored
 * likewise before. Not within an epoch: it would never end. Any thread, no lock held that a
 * reader may want. */
void epoch_wait(void);

static inline void cleanup_epoch(const epoch_token *token)
{
	epoch_leave(*token);
}

#define AUTO_EPOCH CLEANUP(cleanup_epoch) __attribute__((unused)) epoch_token
