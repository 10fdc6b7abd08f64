/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Packs: their sizes and digests, and, for a deep check, every frame, chunk and content. */
#include "cache/base/data/compress.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "sync/master/check/check_state.h"
#include "sync/master/ingest/parallel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define READ_BYTES   (1024 * 1024)
#define STORED_ROOM  (FRAME_MAX_BYTES + 1024)
#define CACHE_FRAMES 64
#define ZERO_BYTES   (64 * 1024)

static int digest_file(int fd, struct digest *out, uint64_t *out_bytes)
{
	struct digest_stream *s;
	AUTO_FREE void *data = mem_alloc(READ_BYTES);
	uint64_t bytes = 0;
	int r = data ? digest_stream_new(&s) : -ENOMEM;

	if (r < 0)
		return r;
	for (;;) {
		ssize_t n = io_read(fd, data, READ_BYTES);

		if (n <= 0) {
			r = (int)n;
			break;
		}
		bytes += (uint64_t)n;
		r = digest_stream_add(s, data, (size_t)n);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = digest_stream_finish(s, out);
	digest_stream_free(s);
	*out_bytes = bytes;
	return r;
}

static int check_pack(void *context, size_t index)
{
	struct check *c = context;
	struct checked_pack *p = &c->packs[index];
	char object[DEPOT_OBJECT_SIZE];
	struct digest digest;
	uint64_t bytes = 0;

	depot_object_name("pack", &p->digest, object);
	AUTO_CLOSE int fd = openat(c->depot->fd, object, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : digest_file(fd, &digest, &bytes);

	if (r == -ENOMEM)
		return r;
	if (r == -ENOENT)
		check_fault_add(c, object,
			"it is missing; restore it from a copy, or remove "
			".publisher/state.db and publish again");
	else if (r < 0)
		check_fault_add(c, object, "cannot be read: %s", log_strerror(r));
	else if (bytes != p->bytes)
		check_fault_add(c, object,
			"it has %" PRIu64 " bytes instead of %" PRIu64
			"; restore it from "
			"a copy, or remove it and .publisher/state.db and publish again",
			bytes, p->bytes);
	else if (!digest_equal(&digest, &p->digest))
		check_fault_add(c, object,
			"its bytes are not those it is named after; restore it "
			"from a copy, or remove it and .publisher/state.db and "
			"publish again");
	else
		p->is_sound = true;
	mutex_lock(&c->lock);
	c->report.pack_bytes += bytes;
	mutex_unlock(&c->lock);
	return 0;
}

int check_packs(struct check *c)
{
	c->report.packs = c->pack_count;
	return parallel_for(c->pack_count, c->threads, check_pack, c);
}

/* A few decoded frames of one catalog: contents refer to neighbours again and again. */
struct frame_cache {
	struct check *check;
	const struct catalog *catalog;
	const char *object;
	uint32_t frames[CACHE_FRAMES]; /* 1 + index */
	uint8_t *data[CACHE_FRAMES];
	uint8_t *stored;
	bool *is_checked; /* by frame: its chunks were compared */
	uint64_t frame_count;
	uint64_t chunk_count;
};

static void frame_cache_release(struct frame_cache *f)
{
	for (size_t i = 0; i < CACHE_FRAMES; i++)
		free(f->data[i]);
	free(f->stored);
	free(f->is_checked);
}

static int read_frame(
	struct frame_cache *f, const struct catalog_frame *frame, uint8_t *out)
{
	char object[DEPOT_OBJECT_SIZE];

	depot_object_name("pack", &f->catalog->packs[frame->pack].digest, object);
	AUTO_CLOSE int fd = openat(f->check->depot->fd, object, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (frame->flags & CATALOG_FRAME_RAW)
		return io_pread_exact(fd, out, frame->raw_bytes, (off_t)frame->offset);
	int r = io_pread_exact(fd, f->stored, frame->stored_bytes, (off_t)frame->offset);

	return r < 0 ? r
		     : compress_decode(
			       f->stored, frame->stored_bytes, out, frame->raw_bytes);
}

static int check_chunks(struct frame_cache *f, uint32_t index, const uint8_t *data)
{
	const struct catalog_frame *frame = &f->catalog->frames[index];

	f->is_checked[index] = true;
	f->frame_count++;
	for (uint32_t i = frame->first_chunk; i < frame->first_chunk + frame->chunk_count;
		i++) {
		const struct catalog_chunk *k = &f->catalog->chunks[i];
		struct digest digest;
		int r = digest_of(data + k->offset, k->length, &digest);

		if (r < 0)
			return r;
		f->chunk_count++;
		if (!digest_equal(&digest, &k->digest))
			return -EBADMSG;
	}
	return 0;
}

/* The decoded frame, checked when first seen. */
static int get_frame(struct frame_cache *f, uint32_t index, const uint8_t **out)
{
	size_t slot = index % CACHE_FRAMES;

	if (f->frames[slot] != index + 1) {
		f->frames[slot] = 0;
		if (!f->data[slot])
			f->data[slot] = mem_alloc(FRAME_MAX_BYTES);
		if (!f->data[slot])
			return -ENOMEM;
		int r = read_frame(f, &f->catalog->frames[index], f->data[slot]);

		if (r == 0 && !f->is_checked[index])
			r = check_chunks(f, index, f->data[slot]);
		if (r < 0)
			return r;
		f->frames[slot] = index + 1;
	}
	*out = f->data[slot];
	return 0;
}

static int add_zeros(struct digest_stream *s, uint64_t len)
{
	static const uint8_t zeros[ZERO_BYTES];
	int r = 0;

	while (r == 0 && len) {
		size_t step = len < sizeof(zeros) ? len : sizeof(zeros);

		r = digest_stream_add(s, zeros, step);
		len -= step;
	}
	return r;
}

static int check_content(struct frame_cache *f, const struct catalog_content *content,
	struct digest_stream *s)
{
	uint64_t at = 0;
	struct digest digest;
	int r = digest_stream_reset(s);

	for (uint32_t i = 0; r == 0 && i < content->piece_count; i++) {
		const struct catalog_piece *p =
			&f->catalog->pieces[content->first_piece + i];
		const struct catalog_chunk *k = &f->catalog->chunks[p->chunk];
		const uint8_t *data = NULL;

		r = get_frame(f, k->frame, &data);
		if (r == 0)
			r = add_zeros(s, p->position - at);
		if (r == 0)
			r = digest_stream_add(s, data + k->offset, k->length);
		at = p->position + k->length;
	}
	if (r == 0)
		r = add_zeros(s, content->size - at);
	if (r == 0)
		r = digest_stream_finish(s, &digest);
	if (r == 0 && !digest_equal(&digest, &content->digest))
		r = -EBADMSG;
	return r;
}

/* Packs that are damaged were reported; what lies in them is not reported again. */
static bool is_readable(const struct check *c, const struct catalog *catalog,
	const struct catalog_content *content)
{
	for (uint32_t i = 0; i < content->piece_count; i++) {
		const struct catalog_piece *p =
			&catalog->pieces[content->first_piece + i];
		uint32_t frame = catalog->chunks[p->chunk].frame;
		const struct checked_pack *pack = check_find_pack(
			c, &catalog->packs[catalog->frames[frame].pack].digest);

		if (!pack || !pack->is_sound)
			return false;
	}
	return true;
}

static int check_all(struct frame_cache *f)
{
	const struct catalog *catalog = f->catalog;
	struct digest_stream *s;
	int r = digest_stream_new(&s);

	if (r < 0)
		return r;
	for (uint32_t i = 0; r == 0 && i < catalog->content_count; i++) {
		if (!is_readable(f->check, catalog, &catalog->contents[i]))
			continue;
		r = check_content(f, &catalog->contents[i], s);
		if (r == -ENOMEM)
			break;
		if (r < 0) {
			char hex[DIGEST_HEX_SIZE];

			digest_to_hex(&catalog->contents[i].digest, hex);
			check_fault_add(f->check, f->object,
				"the content %s of package '%.*s': %s; remove "
				".publisher/state.db and publish again",
				hex, (int)catalog->path_length, catalog->path,
				log_strerror(r));
		}
		r = 0;
	}
	digest_stream_free(s);
	return r;
}

static int check_catalog_contents(void *context, size_t index)
{
	struct check *c = context;
	struct catalog *catalog;
	char object[DEPOT_OBJECT_SIZE];
	int r = depot_catalog(c->depot, &c->catalogs[index], &catalog);

	/* reported already */
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	depot_object_name("catalog", &c->catalogs[index].digest, object);
	struct frame_cache f CLEANUP(frame_cache_release) = {.check = c,
		.catalog = catalog,
		.object = object,
		.stored = mem_alloc(STORED_ROOM),
		.is_checked = mem_calloc(catalog->frame_count, sizeof(bool))};

	r = f.stored && f.is_checked ? check_all(&f) : -ENOMEM;
	mutex_lock(&c->lock);
	c->report.frames += f.frame_count;
	c->report.chunks += f.chunk_count;
	c->report.contents += catalog->content_count;
	mutex_unlock(&c->lock);
	catalog_close(catalog);
	return r;
}

int check_contents(struct check *c)
{
	return parallel_for(c->catalog_count, c->threads, check_catalog_contents, c);
}
