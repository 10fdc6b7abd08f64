/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which contents this machine holds, by the names in objects/ and partial/: for who asks for a
 * million of them, where a look at each would take minutes. What lands or goes meanwhile may be
 * missed, and sizes are not looked at: for reports, not for reading.
 *
 *	r = held_set_read(cache_dirfd, &set);
 *	if (held_set_ask(set, &digest) == HELD_WHOLE) ...
 *	held_set_free(set);
 *
 * Any thread may ask.
 */
#pragma once

#include "cache/base/data/hash.h"

enum held { HELD_NOT, HELD_PARTLY, HELD_WHOLE };

struct held_set;

/* Directories that are not there are empty. 0 or -errno. */
int held_set_read(int cache_dirfd, struct held_set **out) WARN_UNUSED;
void held_set_free(struct held_set *set);

enum held held_set_ask(const struct held_set *set, const struct digest *digest);
