/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * plant: deterministic entries below a directory descriptor.
 *
 *   plant_parents(root, "a/b/file");
 *   plant_file(root, "a/b/file", segments, count);
 *
 * Content depends on the fill, the seed and the length only. Paths are relative to @root.
 * All return 0 or -errno.
 */
#ifndef TESTS_TREES_PLANT_H
#define TESTS_TREES_PLANT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum plant_fill {
	PLANT_RANDOM, /* does not compress */
	PLANT_TEXT,   /* compresses like prose */
	PLANT_ZERO,   /* written zeros, not a hole */
};

struct plant_segment {
	enum plant_fill fill;
	uint64_t seed;
	size_t size_bytes;
};

/* The next number of the sequence that starts at *@state: splitmix64 (Steele et al.,
 * 2014). */
uint64_t plant_random(uint64_t *state);

/* Mixes @name into @hash (FNV-1a). */
uint64_t plant_hash(uint64_t hash, const char *name);

/* Writes the segment's bytes at @offset of @fd. */
int plant_write(int fd, const struct plant_segment *segment, off_t offset);

/* Makes the directories above @path; those that exist are left alone. */
int plant_parents(int root, const char *path);

/* Makes a new file of the segments one after the other. */
int plant_file(
	int root, const char *path, const struct plant_segment *segments, size_t count);

/* Sets the modification time of @path itself, never of a symlink's target. */
int plant_mtime(int root, const char *path, struct timespec mtime);

#endif
