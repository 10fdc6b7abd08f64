/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the tests of contents read from: a content store over a source in memory, with small files
 * that share a frame, a big one, and two with holes. One for each test.
 *
 *	cmocka_unit_test_setup_teardown(test, make, drop)
 *
 * A test that wants another tree has a setup of its own, which begins with make_of(build).
 */
#pragma once

#include "tests/cache/support.h"

#include "cache/content/content.h"
#include "cache/objects/checkpoint.h"
#include "tests/support/fake_source.h"

#include <stdint.h>

#define BIG_CHUNK  (20 * 1024)
#define BIG_PIECES 100
#define BIG_SIZE   (BIG_CHUNK * BIG_PIECES - 5)

extern struct scratch scratch;
extern struct checkpoint *checkpoint;
extern struct object_store *objects;
extern struct content_store *store;
extern struct fake_source *fake;
extern struct built_catalog *built;
extern struct catalog *catalog;
extern uint8_t *big;

void open_store(struct source *source);
void close_store(void);
int make(void **state);
int make_of(struct built_catalog *(*build)(void));
int drop(void **state);
const struct catalog_content *content_named(const char *name);
struct content_file *open_named(const char *name);
void take_span(struct content_span *span, size_t len, uint8_t *out);
ssize_t read_at(struct content_file *file, uint64_t offset, size_t len, uint8_t *out);
void expect_small(int i);
void expect_big(struct content_file *file, size_t offset, size_t len);
/* Whether it is in the object store, with these bytes. */
void expect_object(
	const struct catalog_content *content, const uint8_t *wanted, size_t len);
enum content_state state_of(const char *name);
uint32_t frame_of(const char *name, uint32_t piece);
