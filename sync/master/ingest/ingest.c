/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The items are divided into batches of about 8 MiB. Worker threads take batches in order,
 * read them, and collect new chunks into frames; the calling thread appends the batches'
 * frames to the packs in the batches' order. A frame is compressed by the thread that filled
 * it, unless another one has nothing else to do: so one huge file keeps all threads busy, too.
 *
 * Frames hold their buffers; their number bounds the memory. A worker whose batch is not the
 * one being written waits for a free frame (and compresses meanwhile); the worker of the batch
 * being written waits only for frames of its own to be written, so there is always progress.
 */
#include "sync/master/ingest/ingest.h"

#include "cache/base/data/compress.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/mutex.h"
#include "sync/master/ingest/entry_reader.h"

#include <errno.h>
#include <string.h>

#define BATCH_BYTES (8 * 1024 * 1024)
#define BATCH_ITEMS 4096
#define FRAMES_MAX  128
#define THREADS_MAX 64

struct frame {
	struct frame *next_in_batch;
	struct frame *next_to_encode;
	struct frame_ref *ref;
	size_t raw_len;
	size_t stored_len;
	bool is_encoded;
	uint8_t raw[FRAME_MAX_BYTES];
	uint8_t stored[]; /* room for the bound */
};

struct batch {
	size_t first;
	size_t count;
	bool ends_package;
	bool is_finished;
	struct frame *frames; /* sealed ones, in order */
	struct frame **frames_end;
};

struct ingest {
	const struct ingest_options *o;
	const struct ingest_item *items;
	struct batch *batches;
	size_t batch_count;
	bool has_index;

	struct mutex
		lock; /* guards all that follows, the frame lists, is_encoded, is_finished */
	struct condition wake;
	size_t next_batch;
	size_t head; /* the batch being written */
	size_t active;
	size_t idle;
	size_t frame_count;
	struct frame *free_frames;
	struct frame *to_encode;
	size_t queued; /* frames in to_encode */
	int error;
	struct ingest_result result;
};

struct worker {
	struct ingest *in;
	struct entry_reader *reader;
	struct arena arena;
	struct frame *open; /* being filled */
	size_t batch;
	bool has_thread;
	pthread_t thread;
};

static void fail(struct ingest *in, int r)
{
	mutex_lock(&in->lock);
	if (!in->error)
		in->error = r;
	condition_broadcast(&in->wake);
	mutex_unlock(&in->lock);
}

static int encode(const struct ingest *in, struct frame *f)
{
	size_t room = compress_bound(FRAME_MAX_BYTES);
	int r = compress_encode(
		f->raw, f->raw_len, in->o->level, f->stored, room, &f->stored_len);

	if (r < 0)
		return r;
	if (f->stored_len >= f->raw_len) {
		f->ref->flags |= CATALOG_FRAME_RAW;
		f->stored_len = f->raw_len;
	}
	return 0;
}

/* Compresses one waiting frame, letting go of the lock meanwhile. */
static void encode_one_locked(struct ingest *in) REQUIRES(in->lock)
{
	struct frame *f = in->to_encode;

	in->to_encode = f->next_to_encode;
	in->queued--;
	mutex_unlock(&in->lock);
	int r = encode(in, f);

	mutex_lock(&in->lock);
	f->is_encoded = true;
	if (r < 0 && !in->error)
		in->error = r;
	condition_broadcast(&in->wake);
}

static int acquire_frame(struct worker *w, struct frame **out)
{
	struct ingest *in = w->in;
	struct frame *f = NULL;
	int r = 0;

	mutex_lock(&in->lock);
	for (;;) {
		r = in->error ? -ECANCELED : 0;
		f = in->free_frames;
		if (r < 0 || f || in->frame_count < FRAMES_MAX)
			break;
		/* nothing of it left to write: only new frames make progress */
		if (in->head == w->batch && !in->batches[w->batch].frames)
			break;
		if (in->to_encode) {
			encode_one_locked(in);
			continue;
		}
		in->idle++;
		condition_wait(&in->wake, &in->lock);
		in->idle--;
	}
	if (r == 0 && f)
		in->free_frames = f->next_in_batch;
	else if (r == 0)
		in->frame_count++;
	mutex_unlock(&in->lock);
	if (r < 0)
		return r;
	if (!f)
		f = mem_alloc(sizeof(*f) + compress_bound(FRAME_MAX_BYTES));
	struct frame_ref *ref = arena_zalloc(&w->arena, sizeof(*ref));

	if (!f || !ref) {
		free(f);
		return -ENOMEM;
	}
	f->next_in_batch = NULL;
	f->next_to_encode = NULL;
	f->ref = ref;
	f->raw_len = 0;
	f->is_encoded = false;
	*out = f;
	return 0;
}

/* The open frame is complete: it joins its batch and gets compressed, here or elsewhere. */
static int seal_frame(struct worker *w)
{
	struct ingest *in = w->in;
	struct batch *b = &in->batches[w->batch];
	struct frame *f = TAKE_PTR(w->open);
	bool is_given_away;

	if (!f)
		return 0;
	f->ref->raw_bytes = (uint32_t)f->raw_len;
	mutex_lock(&in->lock);
	*b->frames_end = f;
	b->frames_end = &f->next_in_batch;
	is_given_away = in->idle > 0 || (in->next_batch >= in->batch_count &&
						in->queued < in->o->threads);
	if (is_given_away) {
		struct frame **end = &in->to_encode;

		while (*end)
			end = &(*end)->next_to_encode;
		*end = f;
		in->queued++;
		condition_broadcast(&in->wake);
	}
	mutex_unlock(&in->lock);
	if (is_given_away)
		return 0;
	int r = encode(in, f);

	mutex_lock(&in->lock);
	f->is_encoded = true;
	condition_broadcast(&in->wake);
	mutex_unlock(&in->lock);
	return r;
}

/* An equal chunk that the depot holds already. */
static int find_stored(struct worker *w, struct chunk_ref *chunk)
{
	struct frame_ref frame = {0};
	struct pack_ref pack = {0};
	int r = scan_state_find_chunk(w->in->o->state, &chunk->digest, chunk->length,
		&chunk->offset, &frame, &pack);

	if (r < 0)
		return r;
	/* what a retention run or an accident took away is stored again */
	if (depot_has_object(w->in->o->depot, "pack", &pack.digest, pack.bytes) < 0)
		return -ENOENT;
	pack.is_checked = true;
	pack.is_present = true;
	frame.pack = arena_dup(&w->arena, &pack, sizeof(pack));
	chunk->frame = frame.pack ? arena_dup(&w->arena, &frame, sizeof(frame)) : NULL;
	return chunk->frame ? 0 : -ENOMEM;
}

static int sink_chunk(void *context, const struct digest *digest, const uint8_t *data,
	size_t len, struct chunk_ref **out)
{
	struct worker *w = context;
	bool is_new = false;
	struct chunk_ref *chunk =
		chunk_table_claim(w->in->o->chunks, digest, (uint32_t)len, &is_new);

	if (!chunk)
		return -ENOMEM;
	*out = chunk;
	if (!is_new)
		return 0;
	if (w->in->has_index) {
		int r = find_stored(w, chunk);

		if (r != -ENOENT)
			return r;
	}
	int r = 0;

	if (w->open && w->open->raw_len + len > FRAME_MAX_BYTES)
		r = seal_frame(w);
	if (r == 0 && !w->open)
		r = acquire_frame(w, &w->open);
	if (r < 0)
		return r;
	chunk->frame = w->open->ref;
	chunk->offset = (uint32_t)w->open->raw_len;
	memcpy(w->open->raw + w->open->raw_len, data, len);
	w->open->raw_len += len;
	return 0;
}

static int run_batch(struct worker *w, size_t index)
{
	const struct batch *b = &w->in->batches[index];
	int r = 0;

	w->batch = index;
	for (size_t i = b->first; r == 0 && i < b->first + b->count; i++)
		r = entry_reader_read(
			w->reader, w->in->items[i].dir, w->in->items[i].entry);
	if (r == 0)
		r = seal_frame(w);
	return r;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct ingest *in = w->in;

	mutex_lock(&in->lock);
	for (;;) {
		if (in->error)
			break;
		if (in->to_encode) {
			encode_one_locked(in);
			continue;
		}
		if (in->next_batch < in->batch_count) {
			size_t index = in->next_batch++;

			in->active++;
			mutex_unlock(&in->lock);
			int r = run_batch(w, index);

			if (r < 0)
				fail(in, r);
			mutex_lock(&in->lock);
			in->active--;
			in->batches[index].is_finished = true;
			condition_broadcast(&in->wake);
			continue;
		}
		if (!in->active)
			break;
		in->idle++;
		condition_wait(&in->wake, &in->lock);
		in->idle--;
	}
	mutex_unlock(&in->lock);
	return NULL;
}

static int write_frame(struct ingest *in, struct frame *f)
{
	const void *data = f->ref->flags & CATALOG_FRAME_RAW ? f->raw : f->stored;
	int r = pack_writer_append(in->o->packs, f->ref, data, f->stored_len);

	if (r < 0)
		return log_error_errno(r, "cannot write to the depot %s: %s%s",
			in->o->depot->path, log_strerror(r),
			r == -ENOSPC ? "; make room and publish again" : "");
	return 0;
}

/* Appends one batch's frames as they become ready. */
static int write_batch(struct ingest *in, struct batch *b)
{
	int r = 0;

	mutex_lock(&in->lock);
	while (r == 0) {
		struct frame *f = b->frames;

		if (in->error) {
			r = in->error;
		} else if (f && f->is_encoded) {
			b->frames = f->next_in_batch;
			if (!b->frames)
				b->frames_end = &b->frames;
			mutex_unlock(&in->lock);
			r = write_frame(in, f);
			mutex_lock(&in->lock);
			in->result.bytes_stored += f->stored_len;
			f->next_in_batch = in->free_frames;
			in->free_frames = f;
			condition_broadcast(&in->wake);
		} else if (!f && b->is_finished) {
			break;
		} else if (in->to_encode && in->to_encode == f) {
			encode_one_locked(in);
		} else {
			condition_wait(&in->wake, &in->lock);
		}
	}
	in->head++;
	condition_broadcast(&in->wake);
	mutex_unlock(&in->lock);
	if (r == 0 && b->ends_package) {
		r = pack_writer_cut(in->o->packs);
		if (r < 0)
			(void)log_error_errno(r, "cannot finish a pack in %s: %s",
				in->o->depot->path, log_strerror(r));
	}
	return r;
}

static int divide(struct ingest *in, size_t count)
{
	size_t capacity = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		const struct ingest_item *item = &in->items[i];
		struct batch *b =
			in->batch_count ? &in->batches[in->batch_count - 1] : NULL;
		uint64_t size = S_ISREG(item->entry->mode) ? item->entry->size : 0;

		if (!b || b->ends_package || b->count == BATCH_ITEMS ||
			bytes + size > BATCH_BYTES) {
			int r = mem_grow((void **)&in->batches, &capacity,
				in->batch_count, sizeof(*in->batches));

			if (r < 0)
				return r;
			b = &in->batches[in->batch_count++];
			*b = (struct batch){.first = i};
			bytes = 0;
		}
		b->count++;
		bytes += size;
		b->ends_package = i + 1 == count || item[1].package != item->package;
	}
	for (size_t i = 0; i < in->batch_count; i++)
		in->batches[i].frames_end = &in->batches[i].frames;
	return 0;
}

static int start_workers(struct ingest *in, struct worker *workers, unsigned int threads)
{
	for (unsigned int i = 0; i < threads; i++) {
		struct worker *w = &workers[i];

		w->in = in;
		int r = entry_reader_new(in->o->tree, sink_chunk, w, &w->reader);

		if (r < 0)
			return r;
		r = -pthread_create(&w->thread, NULL, worker_main, w);
		if (r < 0 && i == 0)
			return r;
		w->has_thread = r == 0;
	}
	return 0;
}

static void free_frames(struct frame *f)
{
	while (f) {
		struct frame *next = f->next_in_batch;

		free(f);
		f = next;
	}
}

static void release(
	struct ingest *in, struct worker *workers, unsigned int threads) NO_LOCK_CHECK
{
	for (unsigned int i = 0; i < threads; i++) {
		uint64_t files;
		uint64_t bytes;

		if (!workers[i].reader)
			continue;
		entry_reader_counts(workers[i].reader, &files, &bytes);
		in->result.files += files;
		in->result.bytes_read += bytes;
		entry_reader_free(workers[i].reader, &in->o->tree->arena);
		arena_merge(&in->o->tree->arena, &workers[i].arena);
		free(workers[i].open);
	}
	for (size_t i = 0; i < in->batch_count; i++)
		free_frames(in->batches[i].frames);
	free_frames(in->free_frames);
	free(in->batches);
	condition_release(&in->wake);
	mutex_release(&in->lock);
}

int ingest_run(const struct ingest_options *options, const struct ingest_item *items,
	size_t count, struct ingest_result *out)
{
	struct ingest in = {.o = options, .items = items, .lock = MUTEX_INIT};
	struct worker workers[THREADS_MAX] = {0};
	unsigned int threads = options->threads < 1 ? 1 : options->threads;

	if (threads > THREADS_MAX)
		threads = THREADS_MAX;
	in.has_index = options->state && scan_state_has_chunks(options->state);
	condition_init(&in.wake);
	int r = divide(&in, count);

	if (r == 0 && in.batch_count)
		r = start_workers(&in, workers, threads);
	for (size_t i = 0; r == 0 && i < in.batch_count; i++)
		r = write_batch(&in, &in.batches[i]);
	if (r < 0)
		fail(&in, r);
	for (unsigned int i = 0; i < threads; i++) {
		if (workers[i].has_thread)
			pthread_join(workers[i].thread, NULL);
	}
	release(&in, workers, threads);
	if (r == 0)
		*out = in.result;
	return r;
}
