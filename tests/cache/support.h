/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the tests of the cache share: a directory that goes with the test, a waiter that the main
 * thread can wait for, and small things. Includes cmocka the way it wants to be included.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/base/threads/mutex.h"
#include "cache/catalog/catalog_store.h"
#include "cache/waiter.h"
#include "tests/support/fake_source.h"

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

/* A new directory below /tmp, opened; everything in it goes with scratch_remove(). */
struct scratch {
	char path[64];
	int fd;
};

void scratch_make(struct scratch *s);
void scratch_remove(struct scratch *s);

/* Files below the directory, by a path relative to it. */
void scratch_write(
	const struct scratch *s, const char *path, const void *data, size_t len);
bool scratch_has(const struct scratch *s, const char *path);
void scratch_set_mtime(const struct scratch *s, const char *path, int64_t mtime_ns);
/* Entries of a directory, but for "." and "..". */
unsigned int scratch_count(const struct scratch *s, const char *path);

struct test_waiter {
	struct waiter waiter; /* first */
	struct mutex lock;
	struct condition changed;
	unsigned int wakes; /* lock, both */
	int error;
};

void test_waiter_init(struct test_waiter *w);
void test_waiter_release(struct test_waiter *w);

/* Waits (some seconds at most) until it was woken; fails the test if it was not. Its error. */
int test_waiter_wait(struct test_waiter *w);
unsigned int test_waiter_wakes(struct test_waiter *w);

/* Waits for all of them and for the source to be idle: each must have been woken once, and well.
 * Releases them. */
void test_waiters_end(struct test_waiter *w, size_t count, struct fake_source *fake);

void pause_ms(long ms);

/* Puts a catalog on this machine, as published or, if it is one, as composed. */
void built_keep(const struct built_catalog *built, struct catalog_store *store);

/* Descriptors that this process holds, to tell leaks by. */
unsigned int open_descriptors(void);

/* Files may not grow beyond `bytes` any more (RLIM_INFINITY: they may again): writes end early or
 * fail, as on a disk that is full. */
void limit_file_bytes(rlim_t bytes);
