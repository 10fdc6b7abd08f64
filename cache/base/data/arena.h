/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Memory that is handed out piece by piece and released all at once: what one publish or one
 * plan knows about a million files. One thread at a time.
 *
 *	struct arena a = {0};
 *	p = arena_alloc(&a, size);
 *	...
 *	arena_release(&a);
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks;
	char *next;
	size_t left;
};

/* `size` uninitialised bytes, aligned to 8; NULL when memory is short. */
void *arena_alloc(struct arena *a, size_t size);

/* The same, zeroed. */
void *arena_zalloc(struct arena *a, size_t size);

/* A copy of `len` bytes. */
void *arena_dup(struct arena *a, const void *p, size_t len);

/* Hands all of `from`'s memory over to `a`; `from` is empty afterwards. */
void arena_merge(struct arena *a, struct arena *from);

void arena_release(struct arena *a);
