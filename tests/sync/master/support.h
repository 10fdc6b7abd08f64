/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A directory of its own for each test of the publisher, with a tree and a depot in it.
 *
 *	struct bench b;
 *	bench_begin(&b);	b.tree, b.depot (made by init), b.keys
 *	bench_write(&b, "a/b", data, len);
 *	bench_settle();
 *	bench_publish(&b, &report);
 *	bench_end(&b);
 *
 * All fail the test when something goes wrong. Main thread only.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sync/master/check/check.h"
#include "sync/master/depot/depot.h"
#include "sync/master/publish/publish.h"

#include <stdbool.h>

struct bench {
	char dir[64];
	char tree[96];
	char depot[96];
	char keys[96];
	char key[128];
};

void bench_begin(struct bench *b);
void bench_end(struct bench *b);

/* Runs a verb of the program; its exit status. */
int bench_verb(int (*verb)(int, char **), ...);

/* Writes a file of the tree, making its directories. */
void bench_write(const struct bench *b, const char *name, const void *data, size_t len);

/* A file anywhere, in a directory that is there. */
void bench_write_text(const char *path, const char *text);

/* As bench_write(), `len` reproducible random bytes. */
void bench_fill(const struct bench *b, const char *name, size_t len, uint64_t seed);

/* Waits until what was written is no longer too young to be told from a change. */
void bench_settle(void);

struct publish_options bench_options(const struct bench *b);
void bench_publish(const struct bench *b, struct publish_report *out);

/* The number of faults that a deep check finds. */
size_t bench_faults(const struct bench *b);

/* The catalog of the newest revision's root. */
struct catalog *bench_root(const struct bench *b);

/* As the depot's own trust reads it. */
struct head bench_head(const struct bench *b, const char *channel);

/* Number of files below depot/`folder`. */
size_t bench_count(const struct bench *b, const char *folder);
