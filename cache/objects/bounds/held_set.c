/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/bounds/held_set.h"

#include "cache/base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

/* 128 bits of a SHA-256 tell contents apart. */
struct held_key {
	uint64_t first;
	uint64_t second;
};

struct held_list {
	struct held_key *keys; /* sorted once all are there */
	size_t count;
	size_t capacity;
};

struct held_set {
	struct held_list whole;
	struct held_list partly;
};

static struct held_key key_of(const struct digest *digest)
{
	struct held_key key;

	memcpy(&key, digest->bytes, sizeof(key));
	return key;
}

static int compare(const void *a, const void *b)
{
	const struct held_key *x = a;
	const struct held_key *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return (x->second > y->second) - (x->second < y->second);
}

/* Adds what a directory's names say; others than digests are somebody's temporary files. */
static int read_names(int dirfd, const char *path, struct held_list *list)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int r = 0;

	if (!dir) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r == -ENOENT ? 0 : r;
	}
	for (const struct dirent *d; r == 0 && (d = readdir(dir));) {
		struct digest digest;

		if (strlen(d->d_name) != DIGEST_HEX_SIZE - 1 ||
			digest_from_hex(d->d_name, &digest) < 0)
			continue;
		r = mem_grow((void **)&list->keys, &list->capacity, list->count,
			sizeof(*list->keys));
		if (r == 0)
			list->keys[list->count++] = key_of(&digest);
	}
	(void)closedir(dir);
	return r;
}

int held_set_read(int cache_dirfd, struct held_set **out)
{
	struct held_set *set = mem_calloc(1, sizeof(*set));
	char path[32];
	int r = set ? read_names(cache_dirfd, "partial", &set->partly) : -ENOMEM;

	for (unsigned int i = 0; i < 256 && r == 0; i++) {
		(void)snprintf(path, sizeof(path), "objects/%02x", i);
		r = read_names(cache_dirfd, path, &set->whole);
	}
	if (r < 0) {
		held_set_free(set);
		return r;
	}
	if (set->whole.count)
		qsort(set->whole.keys, set->whole.count, sizeof(struct held_key),
			compare);
	if (set->partly.count)
		qsort(set->partly.keys, set->partly.count, sizeof(struct held_key),
			compare);
	*out = set;
	return 0;
}

void held_set_free(struct held_set *set)
{
	if (!set)
		return;
	free(set->whole.keys);
	free(set->partly.keys);
	free(set);
}

static bool has(const struct held_list *list, const struct held_key *key)
{
	return list->count &&
	       bsearch(key, list->keys, list->count, sizeof(*key), compare) != NULL;
}

enum held held_set_ask(const struct held_set *set, const struct digest *digest)
{
	struct held_key key = key_of(digest);

	if (has(&set->whole, &key))
		return HELD_WHOLE;
	return has(&set->partly, &key) ? HELD_PARTLY : HELD_NOT;
}
