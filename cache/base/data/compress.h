/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * zstd (RFC 8878), one frame at a time, with the decoded size known beforehand from signed
 * metadata, so that no input can make the decoder produce more. Any thread: each keeps its
 * own context.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stddef.h>

/* Upper bound of the encoded size. */
size_t compress_bound(size_t len);

/* Encodes into `out` (room for compress_bound(len)). Level as zstd's. Returns 0 with the
 * size in *out_len, or -ENOMEM / -EIO. */
int compress_encode(const void *data, size_t len, int level, void *out, size_t room,
	size_t *out_len) WARN_UNUSED;

/* Decodes exactly `out_len` bytes; anything else in the input is -EBADMSG. */
int compress_decode(const void *data, size_t len, void *out, size_t out_len) WARN_UNUSED;
