/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/ingest/pack_writer.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define FLUSH_BYTES (8 * 1024 * 1024)

struct pack_writer {
	int tmp_fd;
	struct arena *arena;
	int fd; /* of the pack being written, -1: none */
	struct pack_ref *pack;
	uint64_t flushed;
	uint64_t next_number;
	struct digest_stream *digest;
	struct finished_pack *finished;
	size_t finished_count;
	size_t finished_capacity;
};

void pack_tmp_name(uint64_t number, char out[PACK_TMP_NAME_SIZE])
{
	(void)snprintf(out, PACK_TMP_NAME_SIZE, "pack-%" PRIu64, number);
}

int pack_writer_new(int tmp_fd, struct arena *arena, struct pack_writer **out)
{
	AUTO_FREE struct pack_writer *w = mem_calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->tmp_fd = tmp_fd;
	w->arena = arena;
	w->fd = -1;
	int r = digest_stream_new(&w->digest);

	if (r < 0)
		return r;
	*out = TAKE_PTR(w);
	return 0;
}

void pack_writer_free(struct pack_writer *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		close(w->fd);
	digest_stream_free(w->digest);
	free(w->finished);
	free(w);
}

static int begin_pack(struct pack_writer *w)
{
	char name[PACK_TMP_NAME_SIZE];
	int r = digest_stream_reset(w->digest);

	if (r < 0)
		return r;
	w->pack = arena_zalloc(w->arena, sizeof(*w->pack));
	if (!w->pack)
		return -ENOMEM;
	w->pack->is_checked = true;
	w->pack->is_present = true;
	w->flushed = 0;
	pack_tmp_name(w->next_number, name);
	w->fd = openat(w->tmp_fd, name,
		O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (w->fd < 0)
		return -errno;
	/* the depot is for everybody to read, whatever the umask */
	return fchmod(w->fd, 0644) < 0 ? -errno : 0;
}

int pack_writer_append(
	struct pack_writer *w, struct frame_ref *frame, const void *data, size_t len)
{
	int r = 0;

	if (w->fd >= 0 && w->pack->bytes + len > PACK_TARGET_BYTES)
		r = pack_writer_cut(w);
	if (r == 0 && w->fd < 0)
		r = begin_pack(w);
	if (r == 0)
		r = digest_stream_add(w->digest, data, len);
	if (r == 0)
		r = io_write(w->fd, data, len);
	if (r < 0)
		return r;
	frame->pack = w->pack;
	frame->offset = w->pack->bytes;
	frame->stored_bytes = (uint32_t)len;
	w->pack->bytes += len;
	/* writing back early leaves little for the flush at the end */
	if (w->pack->bytes - w->flushed >= FLUSH_BYTES) {
		(void)sync_file_range(w->fd, (off_t)w->flushed,
			(off_t)(w->pack->bytes - w->flushed), SYNC_FILE_RANGE_WRITE);
		w->flushed = w->pack->bytes;
	}
	return 0;
}

int pack_writer_cut(struct pack_writer *w)
{
	if (w->fd < 0)
		return 0;
	int r = digest_stream_finish(w->digest, &w->pack->digest);

	if (r == 0)
		r = mem_grow((void **)&w->finished, &w->finished_capacity,
			w->finished_count, sizeof(*w->finished));
	if (r < 0)
		return r;
	int fd = TAKE_FD(w->fd);

	if (close(fd) < 0)
		return -errno;
	w->finished[w->finished_count++] =
		(struct finished_pack){.pack = w->pack, .number = w->next_number++};
	w->pack = NULL;
	return 0;
}

const struct finished_pack *pack_writer_finished(
	const struct pack_writer *w, size_t *out_count)
{
	*out_count = w->finished_count;
	return w->finished;
}
