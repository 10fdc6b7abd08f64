/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The texts that the items of a list point to, owned together. Private to cache/state/ but for its
 * size. */
#pragma once

#include <stddef.h>

struct state_texts {
	char **items;
	size_t count;
	size_t capacity;
};

void state_texts_release(struct state_texts *texts);
