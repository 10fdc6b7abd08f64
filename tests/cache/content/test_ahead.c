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
static struct catalog tree; /* of many files; each test says how many */

static int make(void **state)
{
	(void)state;
	for (size_t i = 0; i < FRAMES; i++) {
		frames[i].stored_bytes = FRAME_MAX_BYTES;
		small_frames[i].stored_bytes = 30 * 1024;
	}
	table = (struct ahead_table){0};
	ahead_init(&table);
	tree = (struct catalog){.frames = frames};
	return 0;
}

static bool is_held(const struct catalog *c)
{
	return c->refs || c->kept;
}

static int drop(void **state)
{
	(void)state;
	ahead_release(&table);
	/* no stream is left that holds it */
	return is_held(&catalog) || is_held(&other) || is_held(&small) || is_held(&tree)
		       ? -1
		       : 0;
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

static void make_tree(uint32_t frame_count, uint32_t content_count)
{
	tree.frame_count = frame_count;
	tree.content_count = content_count;
}

/* Reads the contents [first, end) of the tree, that has several to a frame, in order, and misses nothing
 * from the second on. All of it must be asked for once, from *asked on, before it is reached; nobody is
 * through while it is not. How often it was said that he is. */
static unsigned int go_through(
	uint32_t first, uint32_t end, bool is_first_missed, uint32_t *asked)
{
	uint32_t contents_per_frame = tree.content_count / tree.frame_count;
	unsigned int said = 0;

	for (uint32_t content = first; content < end; content++) {
		uint32_t frame = content / contents_per_frame;
		struct ahead_range r = touch(&table, &tree, frame, content,
			is_first_missed && content == first);

		if (r.count) {
			assert_int_equal(r.first, *asked);
			*asked += r.count;
		}
		assert_true(*asked > frame);
		if (r.is_through)
			assert_int_equal(*asked, tree.frame_count);
		said += r.is_through;
	}
	return said;
}

static void who_goes_through_a_tree_is_through_once_when_all_is_asked_for(void **state)
{
	uint32_t asked = 1;

	(void)state;
	make_tree(500, 5000);
	/* frames are left to ask for */
	assert_int_equal(go_through(0, 3000, true, &asked), 0);
	assert_true(asked < 500);
	assert_int_equal(go_through(3000, 4990, false, &asked), 1);
	assert_int_equal(table.active, 1);
	/* the end of a stream that is through */
	assert_int_equal(go_through(4990, 5000, false, &asked), 0);
	assert_int_equal(table.active, 0);
}

/* All is asked for from the eighth change on, and the last frame was not read yet. */
static void a_storm_that_is_through_goes_on_until_its_end_is_read(void **state)
{
	uint32_t asked = 1;

	(void)state;
	make_tree(50, 5000);
	assert_int_equal(go_through(0, 8, true, &asked), 0);
	assert_int_equal(go_through(8, 9, false, &asked), 1);
	assert_int_equal(go_through(9, 4900, false, &asked), 0);
	assert_int_equal(table.active, 1);
	assert_false(touch(&table, &tree, 49, 4900, false).is_through);
	assert_int_equal(table.active, 0);
}

static void a_few_files_are_through_when_all_were_read(void **state)
{
	(void)state;
	make_tree(3, 3);
	assert_int_equal(touch(&table, &tree, 0, 0, true).count, 2);
	assert_false(touch(&table, &tree, 0, 0, false).is_through);
	assert_false(touch(&table, &tree, 2, 1, false).is_through);
	/* its last frame was read, its last file was not */
	assert_int_equal(table.active, 1);
	assert_true(touch(&table, &tree, 2, 2, false).is_through);
	assert_int_equal(table.active, 0);
}

static void one_large_file_is_through_when_all_of_it_is_asked_for(void **state)
{
	uint32_t asked = 1;
	unsigned int said = 0;

	(void)state;
	make_tree(FRAMES, 1);
	for (uint32_t frame = 0; frame < FRAMES; frame++) {
		struct ahead_range r = touch(&table, &tree, frame, 0, frame == 0);

		asked += r.count;
		said += r.is_through;
		assert_int_equal(said, asked == FRAMES);
		assert_int_equal(table.active, frame + 1 < FRAMES);
	}
	assert_int_equal(said, 1);
}

/* However large it is, and to its end. */
static void who_reads_one_file_of_many_is_never_through(void **state)
{
	uint32_t asked = 1;

	(void)state;
	make_tree(10, 100);
	for (uint32_t frame = 0; frame < 10; frame++) {
		struct ahead_range r = touch(&table, &tree, frame, 7, frame == 0);

		asked += r.count;
		assert_false(r.is_through);
	}
	assert_int_equal(asked, 10);
}

/* One frame holds dozens of small files: it is the last one from the first file on. */
static void a_stream_that_is_not_through_does_not_end_with_the_last_frame(void **state)
{
	(void)state;
	make_tree(1, 20);
	for (uint32_t content = 0; content < 7; content++) {
		assert_false(touch(&table, &tree, 0, content, content == 0).is_through);
		assert_int_equal(table.active, 1);
	}
	assert_true(touch(&table, &tree, 0, 7, false).is_through);
	assert_int_equal(table.active, 0);
}

static void who_was_expected_is_seen_without_a_miss(void **state)
{
	uint32_t asked = 40;

	(void)state;
	make_tree(500, 5000);
	ahead_expect(&table, &tree, 40);
	assert_int_equal(table.active, 1);
	assert_int_equal(go_through(0, 5000, false, &asked), 1);
	assert_int_equal(asked, 500);
	assert_int_equal(table.active, 0);
}

static void who_was_expected_with_all_that_there_is_is_seen_as_well(void **state)
{
	uint32_t asked = 50;

	(void)state;
	make_tree(50, 5000);
	ahead_expect(&table, &tree, 50);
	assert_int_equal(go_through(0, 7, false, &asked), 0);
	assert_int_equal(go_through(7, 5000, false, &asked), 1);
	assert_int_equal(asked, 50);
	assert_int_equal(table.active, 0);
}

/* Also if it is not the first one that he takes. */
static void one_file_of_what_was_expected_is_not_all_of_it(void **state)
{
	(void)state;
	make_tree(2, 2);
	ahead_expect(&table, &tree, 2);
	assert_false(touch(&table, &tree, 0, 1, false).is_through);
	assert_true(touch(&table, &tree, 0, 0, false).is_through);
}

/* Who never comes costs no more than what was asked for; who comes gets the whole window. */
static void an_eighth_of_what_was_expected_is_read_before_more_is_asked_for(void **state)
{
	(void)state;
	make_tree(500, 5000);
	ahead_expect(&table, &tree, 40);
	for (uint32_t frame = 0; frame < 5; frame++)
		assert_int_equal(touch(&table, &tree, frame, 0, false).count, 0);
	struct ahead_range r = touch(&table, &tree, 5, 0, false);

	assert_int_equal(r.first, 40);
	assert_int_equal(r.count, 5 + 1 + AHEAD_FRAMES - 40);
}

static void who_is_expected_twice_has_the_first_stream(void **state)
{
	(void)state;
	make_tree(500, 5000);
	ahead_expect(&table, &tree, 40);
	ahead_expect(&table, &tree, 90);
	assert_int_equal(table.active, 1);
	assert_int_equal(tree.kept, 1);
	assert_int_equal(touch(&table, &tree, 5, 50, false).first, 40);
}

static void who_reads_already_is_not_expected_any_more(void **state)
{
	struct ahead_range r = touch(&table, &catalog, 0, 0, true);

	(void)state;
	assert_int_equal(r.first + r.count, 3);
	ahead_expect(&table, &catalog, 500);
	assert_int_equal(table.active, 1);
	assert_int_equal(catalog.kept, 1);
	r = touch(&table, &catalog, 1, 0, false);
	assert_int_equal(r.first, 3);
}

static void who_is_expected_pushes_the_oldest_stream_out(void **state)
{
	static struct catalog many[AHEAD_STREAMS + 1];
	unsigned int held = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		many[i] = (struct catalog){.frames = frames, .frame_count = FRAMES};
		ahead_expect(&table, &many[i], 16);
	}
	assert_int_equal(table.active, AHEAD_STREAMS);
	assert_false(is_held(&many[0]));
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		held += is_held(&many[i]);
	assert_int_equal(held, AHEAD_STREAMS);
	assert_int_equal(touch(&table, &many[1], 2, 0, false).first, 16);
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
		T(who_goes_through_a_tree_is_through_once_when_all_is_asked_for),
		T(a_storm_that_is_through_goes_on_until_its_end_is_read),
		T(a_few_files_are_through_when_all_were_read),
		T(one_large_file_is_through_when_all_of_it_is_asked_for),
		T(who_reads_one_file_of_many_is_never_through),
		T(a_stream_that_is_not_through_does_not_end_with_the_last_frame),
		T(who_was_expected_is_seen_without_a_miss),
		T(one_file_of_what_was_expected_is_not_all_of_it),
		T(who_was_expected_with_all_that_there_is_is_seen_as_well),
		T(an_eighth_of_what_was_expected_is_read_before_more_is_asked_for),
		T(who_is_expected_twice_has_the_first_stream),
		T(who_reads_already_is_not_expected_any_more),
		T(who_is_expected_pushes_the_oldest_stream_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
