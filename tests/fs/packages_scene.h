/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A view of packages p00, p01 ... over a source that notes what frames it is asked for and answers none,
 * and a clock that stands still. Nothing is mounted.
 *
 *	cmocka_unit_test_setup_teardown(test, packages_make, packages_drop)
 *	add_packages(16, 64 * KIB);
 *	show_all();
 */
#pragma once

#include "tests/cache/cache_scene.h"

#include "cache/view/view.h"

#define KIB	      UINT64_C(1024)
#define MIB	      (1024 * KIB)
#define PACKAGES_MOST 48

extern struct fake_source *fake; /* of the catalogs */
extern struct view *view;
extern struct built_catalog *packages[];
extern struct built_catalog *root;
extern size_t package_count;
extern uint32_t frame_bytes; /* of the packages that are added */

/* In order; none is answered but by let_go(). */
extern struct frame_request *asked[];
extern size_t asked_count;

extern bool is_held;	       /* the background */
extern void (*on_asked)(void); /* on the thread that asks; NULL: nothing happens then */
extern int64_t now_ns;

/* All that was asked for fails. */
void let_go(void);

void path_of(size_t i, char path[8]);

/* One file that does not compress; of 0 bytes: nothing is to be fetched. The caller's. */
struct built_catalog *build_package(size_t i, uint64_t bytes, unsigned int seed);
struct built_catalog *build_root(void);

void add_packages(size_t count, uint64_t bytes);

/* Shows the packages; the catalogs of the first `here` are on this machine. */
void show(size_t here);
void show_all(void);

uint64_t asked_bytes_of(const struct built_catalog *package);

/* Whether of [first, end) all is asked for, and of the others nothing. */
void expect_asked(size_t first, size_t end, uint64_t bytes);

int packages_make(void **state);
int packages_drop(void **state);
