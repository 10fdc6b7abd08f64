/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the tests of following a channel stand on: a depot whose trust and head are put there signed, and
 * a mirror's cache directory. One for each test.
 *
 *	cmocka_unit_test_setup_teardown(test, make, clean)
 */
#pragma once

#include "cache/base/threads/clock.h"
#include "sync/mirror/follower.h"
#include "tests/sync/mirror/depot.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Of what is asked: long enough for a busy machine. */
#define FOLLOW_TIMEOUT_MS 8000

#define ID "0123456789abcdef0123456789abcdef"

/* When heads are published. */
#define NOW (INT64_C(1772366400) * NS_PER_SEC)

extern struct depot depot;
extern struct depot cache; /* only its directory is used */
extern struct signing_key *keys[2];
extern struct key_ring ring;
extern int cache_fd;
extern struct follower_result result; /* of the last poll */
extern struct fetcher *fetcher;
extern struct follower *follower;

int make(void **state);
int clean(void **state);

/* Into the depot. Keys are named by their place in `keys`. */
void put(const char *name, const struct buffer *text);
void put_trust(const char *id, uint64_t version, size_t first_key, size_t key_count,
	size_t signer, size_t other_signer);
void put_head(const char *id, uint64_t sequence, uint64_t revision, int64_t expires_ns,
	size_t signer);

/* A mirror that starts, and ends again. */
int follow(const char *urls, const char *channel);

/* The same, to go on polling until finish(). */
void begin(const char *urls);
enum follower_outcome poll_once(void);
void finish(void);
