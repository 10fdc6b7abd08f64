/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/content/partial.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define RECORD_MAGIC UINT64_C(0x3150736674706564) /* "deptfsP1" */
#define RECORD_ALIGN 4096

/* The block size of the file systems that can share blocks, on the hosts we know. */
#define CLONE_ALIGN 4096

/* Behind the content, at the next multiple of RECORD_ALIGN; then one bit per piece. */
struct partial_record {
	uint64_t magic;
	uint64_t size;
	uint64_t
		layout; /* hash of the pieces' places: another catalog may cut differently */
	uint32_t piece_count;
	uint32_t reserved;
};

struct partial {
	int fd;
	int dirfd;
	char name[DIGEST_HEX_SIZE];
	struct digest digest;
	uint64_t size;
	uint64_t record_at;
	uint64_t layout;
	uint32_t piece_count;
	uint32_t landed;
	int64_t disk_bytes; /* when last asked */
	uint8_t bits[];
};

static uint64_t layout_of(const struct catalog *c, const struct catalog_content *content)
{
	uint64_t layout = content->size;

	for (uint32_t i = 0; i < content->piece_count; i++) {
		const struct catalog_piece *piece = &c->pieces[content->first_piece + i];
		uint64_t item[2] = {piece->position, c->chunks[piece->chunk].length};

		layout = hash64(item, sizeof(item), layout);
	}
	return layout;
}

static size_t bits_size(const struct partial *p)
{
	return (p->piece_count + 7) / 8;
}

static int write_record(struct partial *p)
{
	struct partial_record record = {.magic = RECORD_MAGIC,
		.size = p->size,
		.layout = p->layout,
		.piece_count = p->piece_count};

	int r = io_pwrite(
		p->fd, p->bits, bits_size(p), (off_t)(p->record_at + sizeof(record)));
	return r < 0 ? r : io_pwrite(p->fd, &record, sizeof(record), (off_t)p->record_at);
}

static int64_t stat_mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * NS_PER_SEC + st->st_mtim.tv_nsec;
}

/* -EBADMSG when the file is not a partial of this content. */
static int read_record(struct partial *p, const struct checkpoint *checkpoint)
{
	struct partial_record record;
	struct stat st;

	if (fstat(p->fd, &st) < 0)
		return -errno;
	p->disk_bytes = (int64_t)st.st_blocks * 512;
	if (checkpoint_is_doubtful(checkpoint, stat_mtime_ns(&st)))
		return -EBADMSG;
	int r = io_pread_exact(p->fd, &record, sizeof(record), (off_t)p->record_at);

	if (r < 0)
		return r;
	if (record.magic != RECORD_MAGIC || record.size != p->size ||
		record.layout != p->layout || record.piece_count != p->piece_count)
		return -EBADMSG;
	r = io_pread_exact(
		p->fd, p->bits, bits_size(p), (off_t)(p->record_at + sizeof(record)));
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < p->piece_count; i++)
		p->landed += partial_has(p, i);
	return 0;
}

static int open_file(
	struct partial *p, const struct checkpoint *checkpoint, enum partial_mode mode)
{
	p->fd = openat(p->dirfd, p->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (p->fd >= 0) {
		int r = read_record(p, checkpoint);

		if (r != -EBADMSG)
			return r;
		if (mode != PARTIAL_CREATE)
			return -ENOENT;
		close(p->fd);
		p->fd = -1;
		p->landed = 0;
		/* disk_bytes stays: what the new one has grown by is counted from there */
		memset(p->bits, 0, bits_size(p));
		if (unlinkat(p->dirfd, p->name, 0) < 0)
			return -errno;
	} else if (errno != ENOENT) {
		return -errno;
	}
	if (mode != PARTIAL_CREATE)
		return -ENOENT;
	p->fd = openat(p->dirfd, p->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (p->fd < 0)
		return -errno;
	int r = write_record(p);

	if (r < 0)
		(void)unlinkat(p->dirfd, p->name, 0);
	return r;
}

int partial_open(int dirfd, const struct checkpoint *checkpoint,
	const struct catalog *catalog, const struct catalog_content *content,
	enum partial_mode mode, struct partial **out)
{
	size_t bits = (content->piece_count + 7) / 8;
	struct partial *p = mem_calloc(1, sizeof(*p) + bits);

	if (!p)
		return -ENOMEM;
	p->dirfd = dirfd;
	p->digest = content->digest;
	p->size = content->size;
	p->layout = layout_of(catalog, content);
	p->piece_count = content->piece_count;
	p->record_at = (content->size + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
	digest_to_hex(&content->digest, p->name);
	int r = open_file(p, checkpoint, mode);

	if (r < 0) {
		partial_free(p);
		return r;
	}
	*out = p;
	return 0;
}

void partial_free(struct partial *p)
{
	if (!p)
		return;
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

int partial_fd(const struct partial *p)
{
	return p->fd;
}

bool partial_has(const struct partial *p, uint32_t piece)
{
	return p->bits[piece / 8] >> (piece % 8) & 1;
}

uint32_t partial_count(const struct partial *p)
{
	return p->landed;
}

int64_t partial_grown(struct partial *p)
{
	struct stat st;

	/* who removed it has counted it out, and what comes goes with the descriptor */
	if (fstat(p->fd, &st) < 0 || st.st_nlink == 0)
		return 0;
	int64_t now = (int64_t)st.st_blocks * 512;
	int64_t grown = now - p->disk_bytes;

	p->disk_bytes = now;
	return grown;
}

int64_t partial_disk_bytes(const struct partial *p)
{
	return p->disk_bytes;
}

bool partial_is_complete(const struct partial *p)
{
	return p->landed == p->piece_count;
}

/* Shares the whole blocks of a piece with its origin, where the file system can (btrfs, XFS, bcachefs)
 * and both begin at the same place in a block. Returns how much of the piece's inside, from
 * *out_first on, need not be written. */
static size_t clone_inside(struct partial *p, uint64_t position, size_t len,
	const struct piece_origin *origin, size_t *out_first)
{
	uint64_t from = (position + CLONE_ALIGN - 1) / CLONE_ALIGN * CLONE_ALIGN;
	uint64_t to = (position + len) / CLONE_ALIGN * CLONE_ALIGN;

	*out_first = 0;
	if (!origin || position % CLONE_ALIGN != origin->position % CLONE_ALIGN ||
		from >= to)
		return 0;
	const struct file_clone_range range = {.src_fd = origin->fd,
		.src_offset = origin->position + (from - position),
		.src_length = to - from,
		.dest_offset = from};

	if (ioctl(p->fd, FICLONERANGE, &range) < 0)
		return 0;
	*out_first = (size_t)(from - position);
	return (size_t)(to - from);
}

static int write_piece(struct partial *p, uint64_t position, const uint8_t *data,
	size_t len, const struct piece_origin *origin)
{
	size_t first;
	size_t end = clone_inside(p, position, len, origin, &first);

	end += first;
	int r = io_pwrite(p->fd, data, first, (off_t)position);

	return r < 0 ? r
		     : io_pwrite(p->fd, data + end, len - end, (off_t)(position + end));
}

int partial_land(struct partial *p, uint32_t piece, uint64_t position, const void *data,
	size_t len, const struct piece_origin *origin)
{
	if (partial_has(p, piece))
		return 0;
	int r = write_piece(p, position, data, len, origin);

	if (r < 0)
		return r;
	/* the bit after the bytes: a kill in between only loses a piece */
	uint8_t byte = p->bits[piece / 8] | (uint8_t)(1 << (piece % 8));

	r = io_pwrite(p->fd, &byte, 1,
		(off_t)(p->record_at + sizeof(struct partial_record) + piece / 8));
	if (r < 0)
		return r;
	p->bits[piece / 8] = byte;
	p->landed++;
	return 0;
}

int partial_finish(struct partial *p, struct object_store *store, int *out_fd)
{
	if (ftruncate(p->fd, (off_t)p->size) < 0)
		return -errno;
	int r = object_store_adopt(store, &p->digest, p->dirfd, p->name);

	if (r < 0) {
		/* it stays a partial: with its record again, if the disk takes that */
		int again = write_record(p);

		return again < 0 ? again : r;
	}
	*out_fd = TAKE_FD(p->fd);
	return 0;
}
