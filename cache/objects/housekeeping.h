/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The cache's chores, on a thread of their own: once, counting what is there and verifying what
 * a crash left in doubt; then a checkpoint every half minute while something lands, and a last
 * one at the end.
 */
#pragma once

#include "cache/objects/checkpoint.h"
#include "cache/objects/object_store.h"

struct housekeeping;

/* Borrows both until housekeeping_stop(). 0 or -errno. */
int housekeeping_start(struct object_store *objects, struct checkpoint *checkpoint,
	struct housekeeping **out) WARN_UNUSED;

/* Ends the thread and writes the last checkpoint: nothing may land any more. Takes NULL. */
void housekeeping_stop(struct housekeeping *h);
