/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/state/state_scene.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct scratch scratch;
struct state_db *db;

int state_scene_make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	return 0;
}

int state_scene_drop(void **state)
{
	(void)state;
	state_db_close(db);
	scratch_remove(&scratch);
	return 0;
}

void state_scene_reopen(void)
{
	state_db_close(db);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
}
