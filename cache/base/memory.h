/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The one door to the heap. Every function returns NULL when memory is short, which the
 * caller reports as -ENOMEM; what they return is released with free(). Any thread.
 */
#pragma once

#include <stddef.h>

/* Zeroed memory for `count` items of `size` bytes; NULL on overflow too. */
void *mem_calloc(size_t count, size_t size);

/* Uninitialised memory; size 0 gives a unique pointer. */
void *mem_alloc(size_t size);

/* Resizes to `count` items of `size` bytes; the old block stays valid on failure. */
void *mem_resize(void *p, size_t count, size_t size);

char *mem_strdup(const char *s);

/* Puts a copy of `s` in the place of *slot, which is freed. Returns 0 or -ENOMEM. */
int mem_set_text(char **slot, const char *s);

/* A copy of `len` bytes with a NUL behind it. */
void *mem_dup(const void *p, size_t len);

/* Lets the next `n` allocations succeed and then fails one; negative: never fails.
 * For tests of error paths. */
void mem_fail_after(long n);

/* Makes room for one more item in a growing array: `*p` holds `count` items, has room for
 * `*capacity`. Returns 0 or -ENOMEM. */
int mem_grow(void **p, size_t *capacity, size_t count, size_t item_size);

/* Gives memory that was freed back to the system, where the C library keeps it for itself: after
 * work that took much of it. Takes some milliseconds. Any thread. */
void mem_give_back(void);
