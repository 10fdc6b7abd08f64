/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A byte buffer that grows up to a declared maximum.
 *
 *	struct buffer b = BUFFER_INIT(64 * 1024);
 *	r = buffer_add(&b, data, len);
 *	...
 *	buffer_release(&b);
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

struct buffer {
	uint8_t *data;
	size_t len;
	size_t capacity;
	size_t max;
};

#define BUFFER_INIT(max_bytes)                                                           \
	{                                                                                \
		.max = (max_bytes)                                                       \
	}

void buffer_release(struct buffer *b);
#define AUTO_BUFFER CLEANUP(buffer_release)

/* Room for `len` more bytes. Returns 0, -ENOMEM, or -EFBIG beyond the maximum. */
int buffer_reserve(struct buffer *b, size_t len) WARN_UNUSED;

/* Appends; errors as buffer_reserve(). */
int buffer_add(struct buffer *b, const void *data, size_t len) WARN_UNUSED;
int buffer_add_zero(struct buffer *b, size_t len) WARN_UNUSED;
int buffer_printf(struct buffer *b, const char *fmt, ...) PRINTF_LIKE(2, 3) WARN_UNUSED;
