/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A view that tests give one tree after the other, with the catalogs on this machine, and what they
 * do to it as the kernel would. One thread, but for flipped_try().
 *
 *	cmocka_unit_test_setup_teardown(test, flipped_make, flipped_drop)
 *
 *	show(flipped_deep("one", "two"));
 *	id = remember("top/mid/x");
 *	show(flipped_deep("one", "TWO"));
 *	... view, changes ...
 */
#pragma once

#include "tests/cache/support.h"

#include "cache/view/view.h"

extern struct scratch scratch;
extern struct fake_source *fake;
extern struct view *view;
extern struct view_changes *changes; /* of the last show() that flipped */

int flipped_make(void **state);
int flipped_drop(void **state);

/* Puts a catalog on this machine, and gives it back. */
struct built_catalog *keep(struct built_catalog *built);

/* A package with lib/text, kept. */
struct built_catalog *leaf(const char *path, const char *text);

/* A catalog of names: each a file, or a directory if it ends in a slash. */
struct catalog_builder *skeleton(
	const char *path, const char *const *names, size_t count);

#define NAMES(...)                                                                       \
	(const char *const[]){__VA_ARGS__},                                              \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

uint32_t nest(struct catalog_builder *b, uint32_t parent, const char *name,
	const struct built_catalog *child);

/* a and b, packages; dir; file. */
struct built_catalog *flipped_small(const char *a_text, const char *b_text);

/* top/mid, with packages x and y and the file note: two levels of skeleton. */
struct built_catalog *flipped_deep(const char *x_text, const char *y_text);

/* Loads the first tree, flips to the others. Takes the root over. */
void show(struct built_catalog *root);

/* 0 with the node of a path, -ENOENT, or what the view says. Any thread, in an epoch. */
int flipped_try(const char *path, struct view_node *out);
struct view_node find(const char *path);

/* Its number, once more remembered. */
uint64_t remember(const char *path);

bool is_changed(enum view_change_kind kind, uint64_t node, const char *name);
struct view_usage usage(void);
