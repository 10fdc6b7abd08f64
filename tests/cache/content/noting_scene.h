/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The scene of content_scene.h over a source that notes what it is asked for, and answers when the test
 * says so, on its thread.
 *
 *	cmocka_unit_test_setup_teardown(test, make_noting, drop_noting)
 */
#pragma once

#include "tests/cache/content/content_scene.h"

#define CHUNK	   (64 * 1024)
#define LARGE_SIZE (12 * 1024 * 1024)

/* In order; nothing of it is answered yet. */
extern struct frame_request *asked[];
extern size_t asked_count;
extern size_t asked_frames; /* in all, since the setup */
extern unsigned int hurried;

/* Whether the background is paused, or limited. */
extern bool is_held;

/* What /large says, in a test whose tree has one. */
extern uint8_t *large;

/* All that was asked for fails. */
void let_go(void);

/* All that was asked for comes, as it was published. */
void answer(void);

/* A setup with another tree begins with the first; the second has /large, that does not compress, the
 * third one file of more frames than a window has. */
int make_noting_of(struct built_catalog *(*build)(void));
int make_noting(void **state);
int make_wide(void **state);
int drop_noting(void **state);

/* The catalog with a /large that ends differently, as in the next version: what both have of it is the
 * same frames of the same pack. The caller's. */
struct catalog *open_version(void);
