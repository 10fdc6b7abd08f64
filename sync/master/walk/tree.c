/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/walk/tree.h"

#include "cache/base/data/buffer.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"

#include <string.h>

/* Kernels stamp files with the time of the last tick (10 ms at worst); file systems without a
 * sub-second part with the last second, FAT with two. */
#define RACY_NS	       (20 * NS_PER_MS)
#define RACY_COARSE_NS (2 * NS_PER_SEC)

int tree_path(
	const struct tree_dir *dir, const struct tree_entry *entry, struct buffer *out)
{
	size_t len = dir && entry != dir->self ? entry->name_length : 0;

	for (const struct tree_dir *d = dir; d && d->parent; d = d->parent)
		len += d->self->name_length + (size_t)(len > 0);
	int r = buffer_reserve(out, len);

	if (r < 0)
		return r;
	char *end = (char *)out->data + out->len + len;
	size_t left = len;

	if (dir && entry != dir->self) {
		end -= entry->name_length;
		left -= entry->name_length;
		memcpy(end, entry->name, entry->name_length);
	}
	for (const struct tree_dir *d = dir; d && d->parent; d = d->parent) {
		if (left < len) {
			*--end = '/';
			left--;
		}
		end -= d->self->name_length;
		left -= d->self->name_length;
		memcpy(end, d->self->name, d->self->name_length);
	}
	out->len += len;
	return 0;
}

/* From when on a change shows in the ctime. */
static int64_t settled_ns(const struct stat *st)
{
	bool is_coarse = st->st_ctim.tv_nsec == 0 && st->st_mtim.tv_nsec == 0;

	return st->st_ctim.tv_sec * NS_PER_SEC + st->st_ctim.tv_nsec +
	       (is_coarse ? RACY_COARSE_NS : RACY_NS);
}

int64_t tree_racy_ns(const struct stat *st, int64_t now_ns)
{
	int64_t left_ns = settled_ns(st) - now_ns;

	return left_ns > 0 && left_ns <= 2 * RACY_COARSE_NS ? left_ns : 0;
}

uint64_t tree_fingerprint(const struct stat *st, int64_t seen_ns)
{
	if (settled_ns(st) > seen_ns)
		return 0;
	uint64_t v[] = {st->st_ino, (uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec,
		(uint64_t)st->st_mtim.tv_nsec, (uint64_t)st->st_ctim.tv_sec,
		(uint64_t)st->st_ctim.tv_nsec, st->st_mode, st->st_nlink,
		(uint64_t)st->st_uid << 32 | st->st_gid,
		S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? st->st_rdev : 0};
	uint64_t h = hash64(v, sizeof(v), 0);

	return h ? h : 1;
}

void tree_entry_set_stat(struct tree_entry *e, const struct stat *st, int64_t seen_ns)
{
	e->mode = st->st_mode;
	e->uid = st->st_uid;
	e->gid = st->st_gid;
	e->nlink = S_ISDIR(st->st_mode) ? (uint32_t)st->st_nlink : 1;
	e->mtime_sec = st->st_mtim.tv_sec;
	e->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	e->size = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) || S_ISFIFO(st->st_mode)
			  ? 0
			  : (uint64_t)st->st_size;
	e->fingerprint = tree_fingerprint(st, seen_ns);
}

int tree_name_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int r = memcmp(a, b, a_len < b_len ? a_len : b_len);

	if (r)
		return r;
	return (a_len > b_len) - (a_len < b_len);
}

void tree_release(struct tree *tree)
{
	arena_release(&tree->arena);
	free(tree->dirs);
	if (tree->fd >= 0)
		close(tree->fd);
	*tree = (struct tree){.fd = -1};
}

uint64_t tree_linked_fingerprint(const struct tree_entry *e)
{
	uint64_t v[] = {e->fingerprint, e->ino, e->nlink};
	uint64_t h = e->fingerprint ? hash64(v, sizeof(v), 1) : 0;

	return e->fingerprint && !h ? 1 : h;
}
