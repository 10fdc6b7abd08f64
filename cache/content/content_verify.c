/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/content/content_verify.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/content/content_file.h"
#include "cache/objects/object_scan.h"
#include "cache/objects/partial_files.h"

#include <errno.h>

bool content_is_chunk_sound(const struct catalog_chunk *k, const uint8_t *data)
{
	struct digest found;

	return digest_of(data + k->offset, k->length, &found) == 0 &&
	       digest_equal(&found, &k->digest);
}

bool content_is_frame_sound(const struct catalog *c, uint32_t frame, const uint8_t *data)
{
	const struct catalog_frame *f = &c->frames[frame];

	for (uint32_t i = 0; i < f->chunk_count; i++)
		if (!content_is_chunk_sound(&c->chunks[f->first_chunk + i], data))
			return false;
	return true;
}

static int verify_object(struct content_store *store,
	const struct catalog_content *content, bool is_deep, const atomic_bool *stop)
{
	struct object_store *objects = store->config.objects;
	int r = object_store_check(objects, &content->digest, content->size, stop);

	return r == 0 && is_deep ? object_store_verify(objects, &content->digest, stop)
				 : r;
}

static int verify_piece(const struct catalog *c, const struct catalog_piece *piece,
	int fd, uint8_t *memory)
{
	const struct catalog_chunk *chunk = &c->chunks[piece->chunk];
	struct digest found;
	int r = io_pread_exact(fd, memory, chunk->length, (off_t)piece->position);

	if (r == 0)
		r = digest_of(memory, chunk->length, &found);
	if (r == 0 && !digest_equal(&found, &chunk->digest))
		r = -EBADMSG;
	return r;
}

static int verify_partial(struct content_store *store, const struct catalog *c,
	const struct catalog_content *content, bool is_deep, const atomic_bool *stop)
{
	AUTO_FREE uint8_t *memory = mem_alloc(FRAME_MAX_BYTES);
	struct partial *p;

	if (!memory)
		return -ENOMEM;
	int r = partial_open(store->partial_dirfd, store->config.checkpoint, c, content,
		PARTIAL_PROBE, &p);

	if (r < 0)
		return r;
	for (uint32_t i = 0; is_deep && r == 0 && i < content->piece_count; i++) {
		if (atomic_load(stop))
			r = -ECANCELED;
		else if (partial_has(p, i))
			r = verify_piece(c, &c->pieces[content->first_piece + i],
				partial_fd(p), memory);
	}
	partial_free(p);
	if (r == -EBADMSG) {
		char name[DIGEST_HEX_SIZE];

		digest_to_hex(&content->digest, name);
		log_warn("partial %s in the cache is damaged: removed, it will be "
			 "fetched "
			 "again",
			name);
		int gone = partial_file_remove(store->config.cache_dirfd,
			object_store_usage(store->config.objects), &content->digest,
			NULL);

		if (gone < 0 && gone != -ENOENT)
			return gone;
	}
	return r;
}

int content_verify(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, bool is_deep, const atomic_bool *stop)
{
	int r = verify_object(store, content, is_deep, stop);

	return r == -ENOENT ? verify_partial(store, catalog, content, is_deep, stop) : r;
}
