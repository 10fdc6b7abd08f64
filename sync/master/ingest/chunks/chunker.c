/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/ingest/chunks/chunker.h"

#include <pthread.h>

/* The paper's masks for an average of 2^16: two bits more before it, two fewer behind. The
 * top bits of the hash depend on the last 64 bytes; the lowest ones on the last few only. */
#define MASK_SMALL (((UINT64_C(1) << 18) - 1) << 46)
#define MASK_LARGE (((UINT64_C(1) << 14) - 1) << 50)

/* Part of the format in effect: another table would cut the same files elsewhere and find
 * nothing to share. Filled by splitmix64 (Steele, Lea, Flood, OOPSLA 2014) from this seed,
 * "depotfs1" read as a big-endian number. */
#define GEAR_SEED UINT64_C(0x6465706f74667331)

static uint64_t gear[256];
static pthread_once_t gear_once = PTHREAD_ONCE_INIT;

static void fill_gear(void)
{
	uint64_t state = GEAR_SEED;

	for (size_t i = 0; i < 256; i++) {
		uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		gear[i] = z ^ (z >> 31);
	}
}

size_t chunker_cut(const uint8_t *data, size_t len)
{
	uint64_t h = 0;
	size_t i = CHUNK_MIN_BYTES;

	if (len <= CHUNK_MIN_BYTES)
		return len;
	(void)pthread_once(&gear_once, fill_gear);
	if (len > CHUNK_MAX_BYTES)
		len = CHUNK_MAX_BYTES;
	size_t middle = len < CHUNK_AVG_BYTES ? len : CHUNK_AVG_BYTES;

	for (; i < middle; i++) {
		h = (h << 1) + gear[data[i]];
		if (!(h & MASK_SMALL))
			return i + 1;
	}
	for (; i < len; i++) {
		h = (h << 1) + gear[data[i]];
		if (!(h & MASK_LARGE))
			return i + 1;
	}
	return len;
}
