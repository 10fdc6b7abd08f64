/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A view of built catalogs that this process mounts and looks at. Root and /dev/fuse are needed.
 *
 *	if (!mounted_is_possible())
 *		return 77;
 *	cmocka_unit_test_setup_teardown(test, mounted_make, mounted_drop)
 *
 *	mount_tree(tree("first", NULL, 0));
 *	expect("busy/lib/text", "first");
 *	flip(tree("second", NULL, 0));
 *	assert_int_equal(mounted_stop(), 0);
 */
#pragma once

#include "tests/cache/cache_scene.h"

#include "fs/session/session.h"

#include <pthread.h>
#include <stdbool.h>

extern char mountpoint[96];
extern enum session_open_mode open_mode; /* of the next session; passthrough at first */
extern struct fake_source *fake;
extern struct view *view;
extern struct session *session;
extern uint64_t revision; /* shown last */

/* Says why when it is not. */
bool mounted_is_possible(void);
int mounted_make(void **state);

/* Stops what is mounted, too. */
int mounted_drop(void **state);

/* calm and busy: packages with lib/text; plain/: a directory of the root's own. The catalogs are on
 * this machine, the contents are the source's. */
struct built_catalog *tree(const char *busy, const char *const *names, size_t count);

/* Finishes a catalog, which the source serves and this machine has to the end of the test. */
struct built_catalog *keep_built(struct catalog_builder *b);

void open_session(const struct built_catalog *root);
void mount_open_session(void);

/* Both. */
void mount_tree(const struct built_catalog *root);
void flip(const struct built_catalog *root);

/* Waits for the mount, from which somebody has to take it, to have ended: what session_run() came
 * to. */
int mounted_wait(void);

/* Unmounts, by force if something is open, and frees the session: as mounted_wait(). 0 if nothing
 * is mounted. */
int mounted_stop(void);

struct session_stats stats(void);

/* Where `path` of the view is to be seen; until the next call. */
const char *at(const char *path);

/* The whole file, 0 or -errno. Any thread. */
int read_at(int dirfd, const char *path, char *out, size_t size);
void expect(const char *path, const char *text);
unsigned int count_names(const char *path);
