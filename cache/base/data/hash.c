/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/data/hash.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <xxhash.h>

struct digest_stream {
	EVP_MD_CTX *ctx;
	EVP_MD *md;
};

int digest_stream_new(struct digest_stream **out)
{
	struct digest_stream *s = mem_calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	/* fetched once: the implicit lookup of EVP_sha256() costs more than a small chunk */
	s->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	s->ctx = EVP_MD_CTX_new();
	if (!s->md || !s->ctx || digest_stream_reset(s) < 0) {
		digest_stream_free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void digest_stream_free(struct digest_stream *s)
{
	if (!s)
		return;
	EVP_MD_CTX_free(s->ctx);
	EVP_MD_free(s->md);
	free(s);
}

int digest_stream_reset(struct digest_stream *s)
{
	return EVP_DigestInit_ex2(s->ctx, s->md, NULL) == 1 ? 0 : -EIO;
}

int digest_stream_add(struct digest_stream *s, const void *data, size_t len)
{
	return EVP_DigestUpdate(s->ctx, data, len) == 1 ? 0 : -EIO;
}

int digest_stream_finish(struct digest_stream *s, struct digest *out)
{
	return EVP_DigestFinal_ex(s->ctx, out->bytes, NULL) == 1 ? 0 : -EIO;
}

static void free_stream(void *s)
{
	digest_stream_free(s);
}

static pthread_key_t stream_key;
static pthread_once_t stream_once = PTHREAD_ONCE_INIT;

static void make_stream_key(void)
{
	(void)pthread_key_create(&stream_key, free_stream);
}

int digest_of(const void *data, size_t len, struct digest *out)
{
	pthread_once(&stream_once, make_stream_key);
	struct digest_stream *s = pthread_getspecific(stream_key);
	int r;

	if (!s) {
		r = digest_stream_new(&s);
		if (r < 0)
			return r;
		pthread_setspecific(stream_key, s);
	}
	r = digest_stream_reset(s);
	if (r == 0)
		r = digest_stream_add(s, data, len);
	return r < 0 ? r : digest_stream_finish(s, out);
}

void digest_to_hex(const struct digest *d, char out[DIGEST_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		out[2 * i] = digits[d->bytes[i] >> 4];
		out[2 * i + 1] = digits[d->bytes[i] & 15];
	}
	out[DIGEST_HEX_SIZE - 1] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int digest_from_hex(const char *hex, struct digest *out)
{
	struct digest d;

	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		int high = hex_value(hex[2 * i]);
		int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);

		if (low < 0)
			return -EINVAL;
		d.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*out = d;
	return 0;
}

uint64_t hash64(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}
