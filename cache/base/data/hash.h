/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Digests: SHA-256 (FIPS 180-4, OpenSSL's EVP) names and proves content, XXH3 (xxHash) makes
 * keys and stable inode numbers. Any thread; a stream belongs to one thread at a time.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DIGEST_SIZE	32
#define DIGEST_HEX_SIZE (2 * DIGEST_SIZE + 1)

struct digest {
	uint8_t bytes[DIGEST_SIZE];
};

static inline bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}

/* The first eight bytes as a number: a key for hash tables of digests. */
static inline uint64_t digest_key(const struct digest *d)
{
	uint64_t key;

	memcpy(&key, d->bytes, sizeof(key));
	return key;
}

/* SHA-256 of `len` bytes. Returns 0 or -ENOMEM. */
int digest_of(const void *data, size_t len, struct digest *out) WARN_UNUSED;

/* Lower-case hexadecimal, NUL-terminated. */
void digest_to_hex(const struct digest *d, char out[DIGEST_HEX_SIZE]);

/* Reads exactly 64 lower-case digits at `hex` (more may follow). Returns 0 or -EINVAL. */
int digest_from_hex(const char *hex, struct digest *out) WARN_UNUSED;

/* SHA-256 over what arrives in pieces. */
struct digest_stream;
int digest_stream_new(struct digest_stream **out) WARN_UNUSED;
void digest_stream_free(struct digest_stream *s);

/* Starts over. The functions below return 0 or -EIO. */
int digest_stream_reset(struct digest_stream *s) WARN_UNUSED;
int digest_stream_add(struct digest_stream *s, const void *data, size_t len) WARN_UNUSED;
int digest_stream_finish(struct digest_stream *s, struct digest *out) WARN_UNUSED;

/* 64-bit XXH3 with `seed`; not for anything an enemy chooses. */
uint64_t hash64(const void *data, size_t len, uint64_t seed);
