/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/data/buffer.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

void buffer_release(struct buffer *b)
{
	free(b->data);
	b->data = NULL;
	b->len = 0;
	b->capacity = 0;
}

int buffer_reserve(struct buffer *b, size_t len)
{
	if (len > b->max - b->len)
		return -EFBIG;
	size_t wanted = b->len + len;

	if (wanted <= b->capacity)
		return 0;
	size_t capacity = b->capacity ? b->capacity : 256;

	while (capacity < wanted)
		capacity = capacity > b->max / 2 ? b->max : capacity * 2;
	uint8_t *data = mem_resize(b->data, capacity, 1);

	if (!data)
		return -ENOMEM;
	b->data = data;
	b->capacity = capacity;
	return 0;
}

int buffer_add(struct buffer *b, const void *data, size_t len)
{
	int r = buffer_reserve(b, len);

	if (r < 0)
		return r;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

int buffer_add_zero(struct buffer *b, size_t len)
{
	int r = buffer_reserve(b, len);

	if (r < 0)
		return r;
	if (len)
		memset(b->data + b->len, 0, len);
	b->len += len;
	return 0;
}

int buffer_printf(struct buffer *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n < 0)
		return -EINVAL;
	int r = buffer_reserve(b, (size_t)n + 1);

	if (r < 0)
		return r;
	va_start(args, fmt);
	(void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, args);
	va_end(args);
	b->len += (size_t)n;
	return 0;
}
