/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/content/noting_scene.h"

#include "cache/content/content_file.h"

#include <errno.h>
#include <stdio.h>

#define SMALL_COUNT 20

static int print_small(unsigned int i, char text[static 32])
{
	return snprintf(text, 32, "what small file %u says", i);
}

/* /00 .. /19, a few to a frame. */
static void add_small(struct catalog_builder *b)
{
	char name[16];
	char text[32];

	builder_frame_bytes(b, 60);
	for (unsigned int i = 0; i < SMALL_COUNT; i++) {
		(void)snprintf(name, sizeof(name), "%02u", i);
		builder_file(
			b, BUILDER_TOP, name, text, (size_t)print_small(i, text), 64);
	}
}

static struct built_catalog *build_small(void)
{
	struct catalog_builder *b = builder_new("");

	add_small(b);
	return builder_finish(b);
}

/* The same, and /large of many chunks. */
static struct built_catalog *build_mixed(void)
{
	struct catalog_builder *b = builder_new("");

	add_small(b);
	large = malloc(LARGE_SIZE);
	assert_non_null(large);
	built_fill(large, LARGE_SIZE, 5);
	builder_file(b, BUILDER_TOP, "large", large, 10 * CHUNK, CHUNK);
	return builder_finish(b);
}

static int make_mixed(void **state)
{
	(void)state;
	return make_noting_of(build_mixed);
}

static int make_small(void **state)
{
	(void)state;
	return make_noting_of(build_small);
}

static uint64_t stored_bytes(uint32_t first, uint32_t count)
{
	uint64_t bytes = 0;

	for (uint32_t i = first; i < first + count; i++)
		bytes += catalog->frames[i].stored_bytes;
	return bytes;
}

static void what_is_expected_is_asked_for_from_the_first_frame_on(void **state)
{
	uint64_t bytes = 1;

	(void)state;
	assert_false(content_expect(store, catalog, 0, &bytes));
	assert_int_equal(bytes, 0);
	assert_int_equal(asked_count, 0);
	/* so many, or a frame more */
	assert_false(content_expect(store, catalog, stored_bytes(0, 3) + 1, &bytes));
	assert_int_equal(bytes, stored_bytes(0, 4));
	assert_int_equal(asked_count, 1);
	assert_ptr_equal(asked[0]->frames, catalog->frames);
	assert_int_equal(asked[0]->frame_count, 4);
	assert_int_equal(asked[0]->class, FETCH_READ_AHEAD);
	assert_false(atomic_load(&asked[0]->is_awaited));
}

static void all_that_is_expected_is_asked_for_once(void **state)
{
	uint64_t bytes;

	(void)state;
	assert_true(content_expect(store, catalog, UINT64_MAX, &bytes));
	assert_int_equal(bytes, stored_bytes(0, catalog->frame_count));
	assert_int_equal(asked_count, 6); /* as of what a reader reads ahead */
	assert_int_equal(asked_frames, catalog->frame_count);
	/* it is on its way */
	assert_true(content_expect(store, catalog, UINT64_MAX, &bytes));
	assert_int_equal(bytes, 0);
	assert_int_equal(asked_frames, catalog->frame_count);
	answer();
	/* it is here */
	assert_true(content_expect(store, catalog, UINT64_MAX, &bytes));
	assert_int_equal(bytes, 0);
	assert_int_equal(asked_count, 0);
}

/* In a part of a file that nobody has open, too. */
static void what_is_expected_and_here_is_not_counted(void **state)
{
	uint64_t bytes;

	(void)state;
	assert_false(content_expect(store, catalog, stored_bytes(0, 5), &bytes));
	answer();
	assert_false(content_expect(store, catalog, stored_bytes(5, 2), &bytes));
	assert_int_equal(bytes, stored_bytes(5, 2));
	assert_int_equal(asked_count, 1);
	assert_ptr_equal(asked[0]->frames, &catalog->frames[5]);
	assert_int_equal(asked[0]->frame_count, 2);
}

/* Nor is that of one who reads. */
static void no_more_is_expected_than_a_window(void **state)
{
	uint64_t bytes;

	(void)state;
	assert_true(catalog->frame_count > AHEAD_FRAMES);
	assert_false(content_expect(store, catalog, UINT64_MAX, &bytes));
	assert_int_equal(bytes, stored_bytes(0, AHEAD_FRAMES));
	assert_int_equal(asked_frames, AHEAD_FRAMES);
}

/* Of the version before all but the end of its file is here. */
static void what_can_be_copied_is_not_expected_from_the_source(void **state)
{
	struct catalog *other = open_version();
	struct catalog_pack *pack = (void *)(uintptr_t)other->packs;
	uint64_t bytes;

	(void)state;
	pack->digest.bytes[0] ^= 1;
	assert_true(content_expect(store, catalog, UINT64_MAX, &bytes));
	answer();
	assert_true(content_expect(store, other, UINT64_MAX, &bytes));
	assert_int_equal(bytes, 0);
	assert_int_equal(asked_count, 0);
	catalog_close(other);
}

static void while_the_background_is_held_nothing_is_expected(void **state)
{
	uint64_t bytes = 1;

	(void)state;
	is_held = true;
	assert_false(content_may_expect(store));
	assert_false(content_expect(store, catalog, UINT64_MAX, &bytes));
	assert_int_equal(bytes, 0);
	assert_int_equal(asked_count, 0);
	is_held = false;
	assert_true(content_may_expect(store));
	assert_true(content_expect(store, catalog, UINT64_MAX, &bytes));
}

static void without_a_source_nothing_is_expected(void **state)
{
	uint64_t bytes = 1;

	(void)state;
	close_store();
	open_store(NULL);
	assert_false(content_expect(store, catalog, UINT64_MAX, &bytes));
	assert_int_equal(bytes, 0);
	assert_int_equal(asked_count, 0);
}

static struct {
	unsigned int count;
	const struct catalog *catalog;
	size_t asked_frames;
} told;

static void note_through(void *arg, const struct catalog *c)
{
	assert_ptr_equal(arg, &told);
	told.count++;
	told.catalog = c;
	told.asked_frames = asked_frames;
	/* takes the store's lock */
	assert_false(content_is_open(store, &c->packs[0].digest));
}

static void tell_who_is_through(void)
{
	told.count = 0;
	content_on_through(store, note_through, &told);
}

static void read_small(const struct catalog *c, unsigned int i)
{
	struct content_file *file;
	struct content_span span;
	struct test_waiter w;
	uint8_t found[32];
	char name[16];
	char text[32];
	int len = print_small(i, text);

	(void)snprintf(name, sizeof(name), "%02u", i);
	const struct catalog_entry *e =
		catalog_entry(c, catalog_lookup(c, CATALOG_ROOT, name, 2));

	assert_int_equal(content_open(store, c, catalog_content_of(c, e), &file), 0);
	test_waiter_init(&w);
	ssize_t n = content_read(file, 0, sizeof(found), &span, &w.waiter);

	if (n == -EINPROGRESS) {
		answer();
		assert_int_equal(test_waiter_wait(&w), 0);
		n = content_read(file, 0, sizeof(found), &span, NULL);
	}
	assert_int_equal(n, len);
	take_span(&span, (size_t)n, found);
	assert_memory_equal(found, text, (size_t)n);
	test_waiter_release(&w);
	content_close(file);
}

static void who_goes_through_a_catalog_is_told_of_once(void **state)
{
	(void)state;
	tell_who_is_through();
	for (unsigned int i = 0; i < SMALL_COUNT; i++)
		read_small(catalog, i);
	assert_int_equal(told.count, 1);
	assert_ptr_equal(told.catalog, catalog);
	assert_int_equal(told.asked_frames, catalog->frame_count);
	/* it is all here: nobody waits for anything */
	for (unsigned int i = 0; i < SMALL_COUNT; i++)
		read_small(catalog, i);
	assert_int_equal(told.count, 1);
}

static void who_reads_a_few_files_of_many_is_not_told_of(void **state)
{
	(void)state;
	tell_who_is_through();
	for (unsigned int i = 0; i < 7; i++)
		read_small(catalog, i);
	assert_int_equal(told.count, 0);
	content_on_through(store, NULL, NULL);
	for (unsigned int i = 7; i < SMALL_COUNT; i++)
		read_small(catalog, i);
	assert_int_equal(told.count, 0);
}

/* Nobody has opened the large one yet. */
static void the_next_version_copies_from_what_was_gone_through(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < SMALL_COUNT; i++)
		read_small(catalog, i);
	answer();
	assert_int_equal(asked_frames, catalog->frame_count);
	struct catalog *other = open_version();

	flight_request_ahead(store, other, 0, other->frame_count);
	assert_int_equal(asked_count, 0);
	catalog_close(other);
}

/* Else the walk would end where it has been read ahead. */
static void who_was_expected_is_told_of_though_he_misses_nothing(void **state)
{
	uint64_t bytes;

	(void)state;
	tell_who_is_through();
	for (unsigned int round = 0; round < 2; round++) {
		told.count = 0;
		/* the second time nothing was missing */
		assert_true(content_expect(store, catalog, UINT64_MAX, &bytes));
		assert_int_equal(
			bytes, round ? 0 : stored_bytes(0, catalog->frame_count));
		answer();
		for (unsigned int i = 0; i < SMALL_COUNT; i++)
			read_small(catalog, i);
		assert_int_equal(told.count, 1);
		assert_ptr_equal(told.catalog, catalog);
	}
	assert_int_equal(asked_frames, catalog->frame_count);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make_noting, drop_noting)
	const struct CMUnitTest tests[] = {
		T(what_is_expected_is_asked_for_from_the_first_frame_on),
		T(all_that_is_expected_is_asked_for_once),
		T(what_is_expected_and_here_is_not_counted),
		cmocka_unit_test_setup_teardown(
			no_more_is_expected_than_a_window, make_wide, drop_noting),
		T(what_can_be_copied_is_not_expected_from_the_source),
		cmocka_unit_test_setup_teardown(
			the_next_version_copies_from_what_was_gone_through, make_mixed,
			drop_noting),
		T(while_the_background_is_held_nothing_is_expected),
		T(without_a_source_nothing_is_expected),
		cmocka_unit_test_setup_teardown(
			who_goes_through_a_catalog_is_told_of_once, make_small,
			drop_noting),
		cmocka_unit_test_setup_teardown(
			who_reads_a_few_files_of_many_is_not_told_of, make_small,
			drop_noting),
		cmocka_unit_test_setup_teardown(
			who_was_expected_is_told_of_though_he_misses_nothing, make_small,
			drop_noting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
