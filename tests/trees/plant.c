/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/trees/plant.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_SIZE 65536

uint64_t plant_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t plant_hash(uint64_t hash, const char *name)
{
	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return hash;
}

static void fill_random(uint64_t *state, char *block)
{
	for (size_t i = 0; i < BLOCK_SIZE; i += sizeof(uint64_t)) {
		uint64_t value = plant_random(state);

		memcpy(block + i, &value, sizeof(value));
	}
}

static void fill_text(uint64_t *state, char *block)
{
	static const char *const words[] = {"package", "version", "the", "export",
		"function", "of", "return", "const", "mirror", "and", "\n", "import",
		"type", "in", "default", "to"};
	size_t used = 0;

	while (used < BLOCK_SIZE) {
		uint64_t value = plant_random(state);
		char word[40];
		size_t len, room = BLOCK_SIZE - used;

		if (value >> 60)
			(void)snprintf(word, sizeof(word), "%s ", words[value & 15]);
		else
			(void)snprintf(
				word, sizeof(word), "%u ", (unsigned)value % 100000);
		len = strlen(word);
		len = len < room ? len : room;
		memcpy(block + used, word, len);
		used += len;
	}
}

static int write_all(int fd, const char *bytes, size_t len, off_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, offset);

		if (n < 0)
			return -errno;
		bytes += n;
		len -= (size_t)n;
		offset += n;
	}
	return 0;
}

int plant_write(int fd, const struct plant_segment *segment, off_t offset)
{
	char block[BLOCK_SIZE] = {0};
	uint64_t state = segment->seed;
	int r = 0;

	for (size_t done = 0; done < segment->size_bytes && r == 0; done += BLOCK_SIZE) {
		size_t len = segment->size_bytes - done;

		if (segment->fill == PLANT_RANDOM)
			fill_random(&state, block);
		else if (segment->fill == PLANT_TEXT)
			fill_text(&state, block);
		len = len < BLOCK_SIZE ? len : BLOCK_SIZE;
		r = write_all(fd, block, len, offset + (off_t)done);
	}
	return r;
}

int plant_parents(int root, const char *path)
{
	char parent[4096];
	size_t len = strlen(path);

	if (len >= sizeof(parent))
		return -ENAMETOOLONG;
	for (size_t i = 1; i < len; i++) {
		if (path[i] != '/')
			continue;
		memcpy(parent, path, i);
		parent[i] = '\0';
		if (mkdirat(root, parent, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

int plant_file(
	int root, const char *path, const struct plant_segment *segments, size_t count)
{
	int fd = openat(root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	off_t offset = 0;
	int r = 0;

	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < count && r == 0; i++) {
		r = plant_write(fd, &segments[i], offset);
		offset += (off_t)segments[i].size_bytes;
	}
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

int plant_mtime(int root, const char *path, struct timespec mtime)
{
	struct timespec times[2] = {mtime, mtime};

	return utimensat(root, path, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}
