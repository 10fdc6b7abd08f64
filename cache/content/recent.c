/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/content/recent.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"

struct recent_frame {
	struct recent_frame *next; /* in its bucket */
	struct recent_frame *newer;
	struct recent_frame *older;
	const struct catalog *catalog; /* a reference */
	uint32_t frame;
	uint32_t length;
	uint8_t data[];
};

void recent_init(struct recent_table *table)
{
	mutex_init(&table->lock);
}

static void free_frame(struct recent_frame *f)
{
	catalog_unkeep(f->catalog);
	free(f);
}

/* Those of a list through `next`. */
static void free_frames(struct recent_frame *list)
{
	for (struct recent_frame *next; list; list = next) {
		next = list->next;
		free_frame(list);
	}
}

void recent_release(struct recent_table *table)
{
	for (struct recent_frame *f = table->oldest, *next; f; f = next) {
		next = f->newer;
		free_frame(f);
	}
	mutex_release(&table->lock);
}

static struct recent_frame **bucket_of(
	struct recent_table *table, const struct catalog *catalog, uint32_t frame)
{
	uint64_t key[2] = {(uintptr_t)catalog, frame};

	return &table->buckets[hash64(key, sizeof(key), 0) % RECENT_BUCKETS];
}

static struct recent_frame *find(struct recent_table *table,
	const struct catalog *catalog, uint32_t frame) REQUIRES(table->lock)
{
	struct recent_frame *f = *bucket_of(table, catalog, frame);

	while (f && (f->catalog != catalog || f->frame != frame))
		f = f->next;
	return f;
}

static void add(struct recent_table *table, struct recent_frame *f) REQUIRES(table->lock)
{
	struct recent_frame **bucket = bucket_of(table, f->catalog, f->frame);

	f->next = *bucket;
	*bucket = f;
	f->older = table->newest;
	*(table->newest ? &table->newest->newer : &table->oldest) = f;
	table->newest = f;
	atomic_fetch_add(&table->bytes, f->length);
}

static void take_out(struct recent_table *table, struct recent_frame *f)
	REQUIRES(table->lock)
{
	struct recent_frame **at = bucket_of(table, f->catalog, f->frame);

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	*(f->older ? &f->older->newer : &table->oldest) = f->newer;
	*(f->newer ? &f->newer->older : &table->newest) = f->older;
	atomic_fetch_sub(&table->bytes, f->length);
}

void recent_put(struct recent_table *table, const struct catalog *catalog, uint32_t frame,
	const uint8_t *data)
{
	uint32_t length = catalog->frames[frame].raw_bytes;
	struct recent_frame *f = mem_alloc(sizeof(*f) + length);
	struct recent_frame *gone = NULL;

	if (!f)
		return;
	*f = (struct recent_frame){.catalog = catalog, .frame = frame, .length = length};
	memcpy(f->data, data, length);
	catalog_keep(catalog);
	mutex_lock(&table->lock);
	if (find(table, catalog, frame)) {
		gone = f;
		f->next = NULL;
	} else {
		add(table, f);
	}
	table->used_ns = clock_mono_ns();
	while (atomic_load(&table->bytes) > RECENT_BYTES) {
		struct recent_frame *oldest = table->oldest;

		take_out(table, oldest);
		oldest->next = gone;
		gone = oldest;
	}
	mutex_unlock(&table->lock);
	free_frames(gone);
}

void recent_let_go(struct recent_table *table)
{
	struct recent_frame *gone = NULL;

	mutex_lock(&table->lock);
	for (struct recent_frame *f = table->oldest, *newer; f; f = newer) {
		newer = f->newer;
		if (!catalog_is_only_kept(f->catalog))
			continue;
		take_out(table, f);
		f->next = gone;
		gone = f;
	}
	mutex_unlock(&table->lock);
	free_frames(gone);
}

bool recent_copy(struct recent_table *table, const struct catalog *catalog,
	const struct catalog_chunk *chunk, uint8_t *out)
{
	mutex_lock(&table->lock);
	const struct recent_frame *f = find(table, catalog, chunk->frame);

	if (f) {
		memcpy(out, f->data + chunk->offset, chunk->length);
		table->used_ns = clock_mono_ns();
	}
	mutex_unlock(&table->lock);
	return f;
}

uint8_t *recent_take(struct recent_table *table, const struct catalog *catalog,
	const struct catalog_chunk *chunk)
{
	if (recent_is_empty(table))
		return NULL;
	AUTO_FREE uint8_t *memory = mem_alloc(chunk->length);

	return memory && recent_copy(table, catalog, chunk, memory) ? TAKE_PTR(memory)
								    : NULL;
}

int64_t recent_expire(struct recent_table *table)
{
	struct recent_frame *gone = NULL;
	int64_t next_ns;

	mutex_lock(&table->lock);
	next_ns = table->used_ns + RECENT_IDLE_NS;
	if (table->oldest && next_ns <= clock_mono_ns())
		while (table->oldest) {
			struct recent_frame *f = table->oldest;

			take_out(table, f);
			f->next = gone;
			gone = f;
		}
	if (!table->oldest)
		next_ns = 0;
	mutex_unlock(&table->lock);
	if (gone) {
		free_frames(gone);
		mem_give_back();
	}
	return next_ns;
}
