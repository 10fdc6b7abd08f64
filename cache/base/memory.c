/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/memory.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_long fail_after = -1;

static int should_fail(void)
{
	if (atomic_load_explicit(&fail_after, memory_order_relaxed) < 0)
		return 0;
	return atomic_fetch_sub(&fail_after, 1) == 0;
}

void mem_fail_after(long n)
{
	atomic_store(&fail_after, n);
}

void *mem_calloc(size_t count, size_t size)
{
	return should_fail() ? NULL : calloc(count ? count : 1, size ? size : 1);
}

void *mem_alloc(size_t size)
{
	return should_fail() ? NULL : malloc(size ? size : 1);
}

void *mem_resize(void *p, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total) || should_fail())
		return NULL;
	return realloc(p, total ? total : 1);
}

char *mem_strdup(const char *s)
{
	return mem_dup(s, strlen(s));
}

int mem_set_text(char **slot, const char *s)
{
	char *copy = mem_strdup(s);

	if (!copy)
		return -ENOMEM;
	free(*slot);
	*slot = copy;
	return 0;
}

void *mem_dup(const void *p, size_t len)
{
	if (len == SIZE_MAX)
		return NULL;
	char *copy = mem_alloc(len + 1);

	if (!copy)
		return NULL;
	if (len)
		memcpy(copy, p, len);
	copy[len] = '\0';
	return copy;
}

int mem_grow(void **p, size_t *capacity, size_t count, size_t item_size)
{
	if (count < *capacity)
		return 0;
	size_t wanted = *capacity < 8 ? 16 : *capacity * 2;
	void *grown = mem_resize(*p, wanted, item_size);

	if (!grown)
		return -ENOMEM;
	*p = grown;
	*capacity = wanted;
	return 0;
}

void mem_give_back(void)
{
#ifdef __GLIBC__
	(void)malloc_trim(0);
#endif
}
