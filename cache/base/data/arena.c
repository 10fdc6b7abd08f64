/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/data/arena.h"

#include "cache/base/memory.h"

#include <stdint.h>
#include <string.h>

#define BLOCK_BYTES (256 * 1024)

struct arena_block {
	struct arena_block *next;
	uint64_t data[];
};

static struct arena_block *add_block(struct arena *a, size_t size)
{
	struct arena_block *b = mem_alloc(sizeof(*b) + size);

	if (!b)
		return NULL;
	b->next = a->blocks;
	a->blocks = b;
	return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	if (size > SIZE_MAX / 2)
		return NULL;
	/* nothing, too, has an address: NULL means failure */
	size = size ? (size + 7) & ~(size_t)7 : 8;
	if (size > a->left) {
		struct arena_block *b;

		/* large pieces get a block of their own, so that the rest is not lost */
		if (size > BLOCK_BYTES / 4) {
			b = add_block(a, size);
			return b ? b->data : NULL;
		}
		b = add_block(a, BLOCK_BYTES);
		if (!b)
			return NULL;
		a->next = (char *)b->data;
		a->left = BLOCK_BYTES;
	}
	void *p = a->next;

	a->next += size;
	a->left -= size;
	return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
	void *p = arena_alloc(a, size);

	if (p)
		memset(p, 0, size);
	return p;
}

void *arena_dup(struct arena *a, const void *p, size_t len)
{
	void *copy = arena_alloc(a, len);

	if (copy && len)
		memcpy(copy, p, len);
	return copy;
}

void arena_merge(struct arena *a, struct arena *from)
{
	struct arena_block **end = &a->blocks;

	while (*end)
		end = &(*end)->next;
	*end = from->blocks;
	*from = (struct arena){0};
}

void arena_release(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
	*a = (struct arena){0};
}
