/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/ingest/chunks/chunk_table.h"

#include "cache/base/data/arena.h"
#include "cache/base/memory.h"
#include "cache/base/threads/mutex.h"

#include <errno.h>

#define SHARDS	    64
#define FIRST_SLOTS 256

/* Open addressing, at most half full. */
struct shard {
	struct mutex lock; /* guards all that follows */
	struct chunk_ref **slots;
	size_t slot_count;
	size_t used;
	struct arena arena;
};

struct chunk_table {
	struct shard shards[SHARDS];
};

int chunk_table_new(struct chunk_table **out)
{
	struct chunk_table *t = mem_calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	for (size_t i = 0; i < SHARDS; i++)
		mutex_init(&t->shards[i].lock);
	*out = t;
	return 0;
}

void chunk_table_free(struct chunk_table *t) NO_LOCK_CHECK
{
	if (!t)
		return;
	for (size_t i = 0; i < SHARDS; i++) {
		free(t->shards[i].slots);
		arena_release(&t->shards[i].arena);
		mutex_release(&t->shards[i].lock);
	}
	free(t);
}

static size_t slot_of(
	struct chunk_ref *const *slots, size_t count, const struct digest *d)
{
	size_t i = (size_t)(digest_key(d) / SHARDS) & (count - 1);

	while (slots[i] && !digest_equal(&slots[i]->digest, d))
		i = (i + 1) & (count - 1);
	return i;
}

static int grow_locked(struct shard *s) REQUIRES(s->lock)
{
	size_t count = s->slot_count ? s->slot_count * 2 : FIRST_SLOTS;
	struct chunk_ref **slots = mem_calloc(count, sizeof(struct chunk_ref *));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < s->slot_count; i++) {
		if (s->slots[i])
			slots[slot_of(slots, count, &s->slots[i]->digest)] = s->slots[i];
	}
	free(s->slots);
	s->slots = slots;
	s->slot_count = count;
	return 0;
}

struct chunk_ref *chunk_table_claim(struct chunk_table *t, const struct digest *digest,
	uint32_t length, bool *out_is_new)
{
	struct shard *s = &t->shards[digest_key(digest) % SHARDS];
	struct chunk_ref *chunk = NULL;

	mutex_lock(&s->lock);
	if (s->used * 2 < s->slot_count || grow_locked(s) == 0) {
		size_t i = slot_of(s->slots, s->slot_count, digest);

		chunk = s->slots[i];
		*out_is_new = !chunk;
		if (!chunk)
			chunk = arena_zalloc(&s->arena, sizeof(*chunk));
		if (chunk && *out_is_new) {
			chunk->digest = *digest;
			chunk->length = length;
			s->slots[i] = chunk;
			s->used++;
		}
	}
	mutex_unlock(&s->lock);
	return chunk;
}

int chunk_table_each(
	struct chunk_table *t, chunk_visit visit, void *context) NO_LOCK_CHECK
{
	for (size_t n = 0; n < SHARDS; n++) {
		const struct shard *s = &t->shards[n];

		for (size_t i = 0; i < s->slot_count; i++) {
			int r = s->slots[i] ? visit(s->slots[i], context) : 0;

			if (r < 0)
				return r;
		}
	}
	return 0;
}
