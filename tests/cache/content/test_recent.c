/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/content/recent.h"

#include <stdlib.h>
#include <string.h>

#define FRAMES	   200
#define FRAME_SIZE FRAME_MAX_BYTES
#define HALF	   (FRAME_SIZE / 2)

static struct recent_table table;
static struct catalog_frame frames[FRAMES];
static struct catalog_chunk chunks[2 * FRAMES]; /* two to a frame */
static struct catalog catalog = {
	.frames = frames, .frame_count = FRAMES, .chunks = chunks};
static uint8_t data[FRAME_SIZE];

static int make(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < FRAMES; i++) {
		frames[i] = (struct catalog_frame){.raw_bytes = FRAME_SIZE};
		chunks[2 * i] = (struct catalog_chunk){.frame = i, .length = HALF};
		chunks[2 * i + 1] = (struct catalog_chunk){
			.frame = i, .offset = HALF, .length = HALF};
	}
	for (size_t i = 0; i < FRAME_SIZE; i++)
		data[i] = (uint8_t)(i / HALF + i % 251);
	table = (struct recent_table){0};
	recent_init(&table);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	recent_release(&table);
	return catalog.refs ? -1 : 0;
}

static bool take(uint32_t chunk)
{
	uint8_t *memory = recent_take(&table, &catalog, &chunks[chunk]);

	if (memory)
		assert_memory_equal(memory, data + chunks[chunk].offset, HALF);
	free(memory);
	return memory != NULL;
}

static void what_was_put_is_taken_as_often_as_somebody_wants_it(void **state)
{
	(void)state;
	assert_false(take(0));
	recent_put(&table, &catalog, 0, data);
	assert_int_equal(table.bytes, FRAME_SIZE);
	assert_false(take(2));
	assert_true(take(1));
	assert_true(take(0));
	assert_true(take(0));
	assert_int_equal(table.bytes, FRAME_SIZE);
}

static void what_nobody_wants_goes_after_some_seconds(void **state)
{
	(void)state;
	clock_fake(NS_PER_SEC);
	int64_t nothing = recent_expire(&table);

	recent_put(&table, &catalog, 0, data);
	recent_put(&table, &catalog, 1, data);
	int64_t after_put = recent_expire(&table);

	clock_fake(NS_PER_SEC + RECENT_IDLE_NS - 1);
	bool is_there = take(0);

	clock_fake(NS_PER_SEC + RECENT_IDLE_NS);
	int64_t after_take = recent_expire(&table);

	clock_fake(NS_PER_SEC + 2 * RECENT_IDLE_NS - 1);
	int64_t at_last = recent_expire(&table);

	clock_fake(0);
	assert_int_equal(nothing, 0);
	assert_int_equal(after_put, NS_PER_SEC + RECENT_IDLE_NS);
	assert_true(is_there);
	assert_int_equal(after_take, NS_PER_SEC + 2 * RECENT_IDLE_NS - 1);
	assert_int_equal(at_last, 0);
	assert_int_equal(table.bytes, 0);
	assert_false(take(2));
	assert_int_equal(catalog.refs, 0);
}

static void what_only_this_keeps_is_let_go(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		recent_put(&table, &catalog, i, data);
	recent_let_go(&table);
	assert_int_equal(table.bytes, 3 * FRAME_SIZE); /* its owner has it still */
	catalog_keep(&catalog);			       /* as another such table does */
	catalog.refs--;				       /* the owner's goes */
	recent_let_go(&table);
	assert_int_equal(table.bytes, 0);
	assert_int_equal(catalog.kept, 1);
	assert_int_equal(catalog.refs, 0);
	catalog.kept = 0;
}

static void putting_twice_is_the_same_as_once(void **state)
{
	(void)state;
	recent_put(&table, &catalog, 3, data);
	recent_put(&table, &catalog, 3, data);
	assert_int_equal(table.bytes, FRAME_SIZE);
	assert_int_equal(catalog.refs, 1);
}

static void the_oldest_make_room(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < FRAMES; i++) {
		recent_put(&table, &catalog, i, data);
		assert_true(table.bytes <= RECENT_BYTES);
	}
	assert_int_equal(table.bytes, RECENT_BYTES);
	assert_false(take(0));
	assert_true(take(2 * (FRAMES - 1)));
	assert_true(take(2 * (FRAMES - RECENT_BYTES / FRAME_SIZE)));
	assert_false(take(2 * (FRAMES - RECENT_BYTES / FRAME_SIZE - 1)));
}

static void without_memory_nothing_is_kept(void **state)
{
	(void)state;
	mem_fail_after(0);
	recent_put(&table, &catalog, 0, data);
	mem_fail_after(-1);
	assert_false(take(0));
	recent_put(&table, &catalog, 0, data);
	mem_fail_after(0);
	bool has = take(0);

	mem_fail_after(-1);
	assert_false(has);
	assert_true(take(0));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(what_was_put_is_taken_as_often_as_somebody_wants_it),
		T(what_nobody_wants_goes_after_some_seconds),
		T(putting_twice_is_the_same_as_once),
		T(what_only_this_keeps_is_let_go),
		T(the_oldest_make_room),
		T(without_memory_nothing_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
