/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/data/compress.h"

#include <errno.h>
#include <pthread.h>
#include <zstd.h>

static pthread_key_t encoder_key;
static pthread_key_t decoder_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_encoder(void *ctx)
{
	ZSTD_freeCCtx(ctx);
}

static void free_decoder(void *ctx)
{
	ZSTD_freeDCtx(ctx);
}

static void make_keys(void)
{
	(void)pthread_key_create(&encoder_key, free_encoder);
	(void)pthread_key_create(&decoder_key, free_decoder);
}

static ZSTD_CCtx *encoder(void)
{
	pthread_once(&once, make_keys);
	ZSTD_CCtx *ctx = pthread_getspecific(encoder_key);

	if (!ctx) {
		ctx = ZSTD_createCCtx();
		if (ctx)
			pthread_setspecific(encoder_key, ctx);
	}
	return ctx;
}

static ZSTD_DCtx *decoder(void)
{
	pthread_once(&once, make_keys);
	ZSTD_DCtx *ctx = pthread_getspecific(decoder_key);

	if (!ctx) {
		ctx = ZSTD_createDCtx();
		if (ctx)
			pthread_setspecific(decoder_key, ctx);
	}
	return ctx;
}

size_t compress_bound(size_t len)
{
	return ZSTD_compressBound(len);
}

int compress_encode(
	const void *data, size_t len, int level, void *out, size_t room, size_t *out_len)
{
	ZSTD_CCtx *ctx = encoder();

	if (!ctx)
		return -ENOMEM;
	size_t n = ZSTD_compressCCtx(ctx, out, room, data, len, level);

	if (ZSTD_isError(n))
		return -EIO;
	*out_len = n;
	return 0;
}

int compress_decode(const void *data, size_t len, void *out, size_t out_len)
{
	ZSTD_DCtx *ctx = decoder();

	if (!ctx)
		return -ENOMEM;
	size_t n = ZSTD_decompressDCtx(ctx, out, out_len, data, len);

	return ZSTD_isError(n) || n != out_len ? -EBADMSG : 0;
}
