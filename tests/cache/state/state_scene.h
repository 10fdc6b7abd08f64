/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A state database in a directory of its own, for tests.
 *
 *	cmocka_unit_test_setup_teardown(a_test, state_scene_make, state_scene_drop)
 */
#pragma once

#include "cache/state/state_db.h"
#include "tests/cache/support.h"

extern struct scratch scratch;
extern struct state_db *db;

int state_scene_make(void **state);
int state_scene_drop(void **state);

/* As the next start would. */
void state_scene_reopen(void);
