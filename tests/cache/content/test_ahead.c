/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/content/fetch/ahead.h"

#define FRAMES 1000

static struct ahead_table table;
static struct catalog_frame frames[FRAMES];	  /* do not compress */
static struct catalog_frame small_frames[FRAMES]; /* compress well */
static struct catalog catalog = {.frames = frames, .frame_count = FRAMES};
static struct catalog other = {.frames = frames, .frame_count = FRAMES};
static struct catalog small = {.frames = small_frames, .frame_count = FRAMES};

static int make(void **state)
{
	(void)state;
	for (size_t i = 0; i < FRAMES; i++) {
		frames[i].stored_bytes = FRAME_MAX_BYTES;
		small_frames[i].stored_bytes = 30 * 1024;
	}
	table = (struct ahead_table){0};
	ahead_init(&table);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	ahead_release(&table);
	/* no stream is left that holds it */
	return catalog.refs || other.refs || small.refs ? -1 : 0;
}

/* Reads of one frame. */
static struct ahead_range touch(struct ahead_table *t, const struct catalog *c,
	uint32_t frame, uint32_t content, bool is_miss)
{
	return ahead_touch(t, c, frame, frame, content, is_miss);
}

static void without_a_miss_nothing_is_asked_for(void **state)
{
	(void)state;
	for (uint32_t f = 0; f < FRAMES; f++)
		assert_int_equal(touch(&table, &catalog, f, 0, false).count, 0);
}

static void the_first_miss_asks_for_little(void **state)
{
	struct ahead_range r = touch(&table, &catalog, 10, 0, true);

	(void)state;
	assert_int_equal(r.first, 11);
	assert_int_equal(r.count, 2);
	/* counted in bytes where frames are small */
	r = touch(&table, &small, 10, 0, true);
	assert_int_equal(r.first, 11);
	assert_int_equal(r.count, 8);
}

/* Every frame behind the first miss is asked for once, in order, before it is reached. */
static void progress_asks_for_everything_once_and_in_time(void **state)
{
	struct ahead_range r = touch(&table, &catalog, 0, 0, true);
	uint32_t asked = 1;
	uint32_t widest = 0;

	(void)state;
	for (uint32_t f = 0; f < FRAMES; f++) {
		if (f)
			r = touch(&table, &catalog, f, 0, false);
		if (r.count) {
			assert_int_equal(r.first, asked);
			asked += r.count;
			widest = r.count > widest ? r.count : widest;
		}
		assert_true(asked > f);
		assert_true(f + 1 == FRAMES || asked > f + 1);
	}
	assert_int_equal(asked, FRAMES);
	assert_true(widest >= 32);
	assert_int_equal(table.active, 0); /* it has seen the end */
}

/* A READ of the kernel is 1 MiB, four to six frames; the first window is two. */
static void reads_of_many_frames_are_one_stream(void **state)
{
	uint32_t asked = 0;
	uint32_t widest = 0;
	unsigned int misses = 0;

	(void)state;
	for (uint32_t f = 0; f + 5 <= FRAMES; f += 5) {
		bool is_miss = asked < f + 5;
		struct ahead_range r =
			ahead_touch(&table, &catalog, f, f + 4, 0, is_miss);

		misses += is_miss;
		if (r.count) {
			assert_true(r.first >= asked); /* nothing twice */
			asked = r.first + r.count;
			widest = r.count > widest ? r.count : widest;
		}
		assert_in_range(table.active, 0, 1);
	}
	assert_int_equal(asked, FRAMES);
	assert_in_range(misses, 1, 3); /* of 200: the ramp */
	assert_true(widest >= 32);
}

/* Pieces that other versions have, too, may lie anywhere: what is between is nobody's. */
static void a_read_from_here_and_there_asks_for_what_is_behind_it(void **state)
{
	(void)state;
	touch(&table, &catalog, 0, 0, true);
	struct ahead_range r = ahead_touch(&table, &catalog, 1, 800, 0, true);

	assert_int_equal(r.first, 801);
	assert_in_range(r.count, 1, 4);
	r = ahead_touch(&table, &catalog, 900, 20, 0, true);
	assert_in_range(r.first, 3, 21);
}

static void a_seek_begins_a_small_window_again(void **state)
{
	(void)state;
	touch(&table, &catalog, 0, 0, true);
	for (uint32_t f = 1; f < 50; f++)
		touch(&table, &catalog, f, 0, false);
	struct ahead_range r = touch(&table, &catalog, 800, 0, true);

	assert_int_equal(r.first, 801);
	assert_in_range(r.count, 1, 4);
}

static void readers_who_overtake_each_other_are_one_stream(void **state)
{
	uint32_t asked = 0;

	(void)state;
	touch(&table, &catalog, 100, 0, true);
	for (uint32_t f = 101; f < 200; f++) {
		asked += touch(&table, &catalog, f, 0, true).count;
		assert_int_equal(touch(&table, &catalog, f - 2, 0, true).count, 0);
	}
	assert_int_equal(table.active, 1);
	assert_true(asked > 90);
}

/* All in the first frame: a storm is seen before the reader comes to the next. */
static void many_small_files_get_the_whole_window(void **state)
{
	uint32_t asked = touch(&table, &catalog, 0, 0, true).count;

	(void)state;
	for (uint32_t content = 1; content < 20; content++)
		asked += touch(&table, &catalog, 0, content, false).count;
	assert_in_range(asked, 100, FRAMES);
	/* one large file is none, however often it is touched */
	asked = touch(&table, &other, 0, 7, true).count;
	for (int i = 0; i < 100; i++)
		asked += touch(&table, &other, 0, 7, false).count;
	assert_in_range(asked, 1, 4);
}

static void catalogs_have_streams_of_their_own(void **state)
{
	(void)state;
	touch(&table, &catalog, 5, 0, true);
	assert_int_equal(touch(&table, &other, 6, 0, false).count, 0);
	assert_int_equal(touch(&table, &other, 5, 0, true).first, 6);
	assert_int_equal(table.active, 2);
}

static void more_streams_than_places_push_the_oldest_out(void **state)
{
	static struct catalog many[AHEAD_STREAMS + 8];
	unsigned int held = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		many[i].frame_count = FRAMES;
		many[i].frames = frames;
		assert_true(touch(&table, &many[i], 0, 0, true).count > 0);
	}
	assert_int_equal(table.active, AHEAD_STREAMS);
	assert_int_equal(touch(&table, &many[0], 1, 0, false).count, 0);
	/* a stream holds its catalog, and lets it go when it is pushed out */
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		held += many[i].refs;
	assert_int_equal(held, AHEAD_STREAMS);
}

static void a_catalog_that_nobody_shows_any_more_has_no_stream(void **state)
{
	(void)state;
	touch(&table, &catalog, 5, 0, true);
	touch(&table, &other, 5, 0, true);
	ahead_let_go(&table);
	assert_int_equal(table.active, 2);
	catalog_keep(&other); /* as another such table does */
	other.refs--;	      /* its owner's goes */
	ahead_let_go(&table);
	assert_int_equal(table.active, 1);
	other.kept = 0;
}

/* Else who reads what is here would take the lock for ever, for one file that was read once. */
static void a_stream_to_which_nobody_comes_ends(void **state)
{
	(void)state;
	(void)touch(&table, &catalog, 10, 0, true);
	ahead_expect(&table, &other, 10);
	assert_int_equal(atomic_load(&table.active), 2);
	table.streams[0].last_ns -= AHEAD_STALE_NS + NS_PER_SEC;
	table.streams[1].last_ns -= AHEAD_STALE_NS / 2;
	(void)touch(&table, &small, 0, 0, false);
	assert_int_equal(atomic_load(&table.active), 1);
	/* what was asked for may have failed: who misses now begins anew */
	table.streams[1].last_ns -= AHEAD_STALE_NS;
	assert_int_equal(touch(&table, &other, 0, 0, true).count, 2);
	assert_int_equal(atomic_load(&table.active), 1);
}

static void the_last_frame_asks_for_nothing(void **state)
{
	(void)state;
	assert_int_equal(touch(&table, &catalog, FRAMES - 1, 0, true).count, 0);
	assert_int_equal(table.active, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(without_a_miss_nothing_is_asked_for),
		T(the_first_miss_asks_for_little),
		T(progress_asks_for_everything_once_and_in_time),
		T(reads_of_many_frames_are_one_stream),
		T(a_read_from_here_and_there_asks_for_what_is_behind_it),
		T(a_seek_begins_a_small_window_again),
		T(readers_who_overtake_each_other_are_one_stream),
		T(many_small_files_get_the_whole_window),
		T(catalogs_have_streams_of_their_own),
		T(more_streams_than_places_push_the_oldest_out),
		T(a_catalog_that_nobody_shows_any_more_has_no_stream),
		T(a_stream_to_which_nobody_comes_ends),
		T(the_last_frame_asks_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
