/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/content/noting_scene.h"

#include "cache/content/content_file.h"

#include <errno.h>

static uint64_t bytes_of(const struct frame_request *rq)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < rq->frame_count; i++)
		bytes += rq->frames[i].stored_bytes;
	return bytes;
}

/* Six connections come up to speed together; the first frames are asked for first. */
static void much_is_asked_for_in_six_requests_in_order(void **state)
{
	const struct catalog_frame *next = catalog->frames;

	(void)state;
	flight_request_ahead(store, catalog, 0, catalog->frame_count);
	assert_int_equal(asked_count, 6);
	for (size_t i = 0; i < asked_count; i++) {
		assert_ptr_equal(asked[i]->frames, next);
		next += asked[i]->frame_count;
		/* whole frames: the last one has what is left */
		assert_in_range(bytes_of(asked[i]), LARGE_SIZE / 6 - 5 * FRAME_MAX_BYTES,
			LARGE_SIZE / 6 + FRAME_MAX_BYTES);
	}
	assert_ptr_equal(next, catalog->frames + catalog->frame_count);
}

/* It would be over before a second connection is at the line's speed. */
static void little_is_asked_for_in_one_request(void **state)
{
	(void)state;
	flight_request_ahead(store, catalog, 8, 16);
	assert_int_equal(asked_count, 1);
	assert_ptr_equal(asked[0]->frames, &catalog->frames[8]);
	assert_int_equal(asked[0]->frame_count, 16);
}

static void what_is_on_its_way_is_not_asked_for_again(void **state)
{
	(void)state;
	flight_request_ahead(store, catalog, 8, 4);
	flight_request_ahead(store, catalog, 4, 12);
	assert_int_equal(asked_count, 3);
	assert_ptr_equal(asked[1]->frames, &catalog->frames[4]);
	assert_int_equal(asked[1]->frame_count, 4);
	assert_ptr_equal(asked[2]->frames, &catalog->frames[12]);
	assert_int_equal(asked[2]->frame_count, 4);
}

/* As of two versions of a package. */
static void what_comes_for_another_catalog_is_not_read_ahead_again(void **state)
{
	struct catalog *other = built_open(built);

	(void)state;
	flight_request_ahead(store, catalog, 0, 12);
	flight_request_ahead(store, other, 4, 12);
	assert_int_equal(asked_count, 2);
	assert_ptr_equal(asked[1]->frames, &other->frames[12]);
	assert_int_equal(asked[1]->frame_count, 4);
	let_go();
	catalog_close(other);
}

struct reader {
	struct content_file *file;
	struct test_waiter waiter;
};

/* Begins to read what is not here; else the first chunk. */
static void begin_reader_at(
	struct reader *r, const struct catalog *c, uint64_t offset, size_t len)
{
	uint32_t at = catalog_lookup(c, CATALOG_ROOT, "large", 5);
	struct content_span span;

	assert_int_equal(content_open(store, c,
				 catalog_content_of(c, catalog_entry(c, at)), &r->file),
		0);
	test_waiter_init(&r->waiter);
	assert_int_equal(content_read(r->file, offset, len, &span, &r->waiter.waiter),
		-EINPROGRESS);
}

static void begin_reader(struct reader *r, const struct catalog *c)
{
	begin_reader_at(r, c, 0, CHUNK);
}

static void end_reader(struct reader *r)
{
	test_waiter_release(&r->waiter);
	content_close(r->file);
}

static void expect_first_chunk(struct reader *r)
{
	static uint8_t found[CHUNK];

	assert_int_equal(test_waiter_wait(&r->waiter), 0);
	assert_int_equal(read_at(r->file, 0, CHUNK, found), CHUNK);
	assert_memory_equal(found, large, CHUNK);
}

static void a_reader_joins_what_comes_for_a_reader_of_another_catalog(void **state)
{
	struct catalog *other = open_version();
	struct reader first;
	struct reader second;

	(void)state;
	begin_reader(&first, catalog);
	assert_int_equal(asked_count, 1);
	begin_reader(&second, other);
	assert_ptr_not_equal(first.file, second.file);
	assert_int_equal(asked_count, 1);
	answer();
	expect_first_chunk(&first);
	expect_first_chunk(&second);
	assert_int_equal(asked_count, 0);
	end_reader(&first);
	end_reader(&second);
	catalog_close(other);
}

static void landed(struct flight_watch *watch, const uint8_t *data, int error)
{
	(void)watch;
	(void)data;
	(void)error;
}

/* Nobody waited for it until now. */
static void what_comes_for_another_catalog_hurries_for_its_reader(void **state)
{
	struct catalog *other = open_version();
	struct reader reader;

	(void)state;
	flight_request_ahead(store, catalog, 0, 1);
	assert_int_equal(asked_count, 1);
	assert_false(atomic_load(&asked[0]->is_awaited));
	begin_reader(&reader, other);
	assert_true(atomic_load(&asked[0]->is_awaited));
	assert_int_equal(hurried, 1);
	/* only for what is behind it */
	for (size_t i = 1; i < asked_count; i++)
		assert_ptr_not_equal(asked[i]->frames, other->frames);
	answer();
	expect_first_chunk(&reader);
	end_reader(&reader);
	catalog_close(other);
}

/* What waits behind a request of the other catalog goes then, and nothing of his own goes with it: its frames are
 * counted by the other catalog, where others may lie behind it. */
static void what_is_joined_late_takes_nothing_of_the_readers_along(void **state)
{
	struct catalog *other = open_version();
	struct reader lead;
	struct reader reader;

	(void)state;
	clock_fake(NS_PER_SEC);
	/* behind the last frame nothing is read ahead: a small request */
	begin_reader_at(&lead, other, LARGE_SIZE - CHUNK, CHUNK);
	flight_request_ahead(store, other, 20, 1);
	assert_int_equal(asked_count, 1);
	clock_fake(3 * NS_PER_SEC);
	/* in the frames 20 and 21 */
	begin_reader_at(&reader, catalog, 21 * FRAME_MAX_BYTES - CHUNK, 2 * CHUNK);
	clock_fake(0);
	assert_true(asked_count >= 3);
	size_t joined = 1;

	while (joined < asked_count && asked[joined]->frames != &other->frames[20])
		joined++;
	assert_true(joined < asked_count);
	assert_int_equal(asked[joined]->frame_count, 1);
	answer();
	assert_int_equal(test_waiter_wait(&lead.waiter), 0);
	assert_int_equal(test_waiter_wait(&reader.waiter), 0);
	end_reader(&lead);
	end_reader(&reader);
	catalog_close(other);
}

/* He would have all of a request come, though a window is closed for it. */
static void a_reader_does_not_join_the_background_of_another_catalog(void **state)
{
	struct catalog *other = open_version();
	struct flight_watch watch = {.landed = landed};
	struct flight_watch *watches[] = {&watch};
	struct reader reader;

	(void)state;
	flight_watch_frames(store, catalog, 0, watches, 1);
	assert_int_equal(asked_count, 1);
	begin_reader(&reader, other);
	assert_false(atomic_load(&asked[0]->is_awaited));
	assert_ptr_equal(asked[1]->frames, other->frames);
	assert_int_equal(asked[1]->class, FETCH_DEMAND);
	answer();
	expect_first_chunk(&reader);
	end_reader(&reader);
	catalog_close(other);
}

/* Either may be wrong: he asks again in his own catalog's name, where it is refused. */
static void a_reader_gets_no_bytes_that_his_own_catalog_does_not_name(void **state)
{
	struct catalog *other = open_version();
	struct catalog_chunk *chunk = (void *)(uintptr_t)other->chunks;
	struct reader first;
	struct reader second;

	(void)state;
	chunk->digest.bytes[0] ^= 1;
	begin_reader(&first, catalog);
	begin_reader(&second, other);
	assert_int_equal(asked_count, 1);
	size_t before = asked_frames;

	answer();
	expect_first_chunk(&first);
	assert_int_equal(test_waiter_wait(&second.waiter), -EBADMSG);
	assert_int_equal(asked_frames, before + 1);
	end_reader(&first);
	end_reader(&second);
	catalog_close(other);
}

/* A catalog lists those chunks of a frame that it uses, and verifies no others: those bytes were spoilt
 * by one source, and another has them. */
static void what_is_wrong_for_the_second_catalog_is_asked_for_by_it(void **state)
{
	struct catalog *other = open_version();
	uint8_t *spoilt = calloc(1, built->frames[0].length);
	struct reader reader;

	(void)state;
	assert_non_null(spoilt);
	flight_request_ahead(store, catalog, 0, 1);
	assert_int_equal(asked_count, 1);
	((struct catalog_frame *)(uintptr_t)catalog->frames)[0].chunk_count = 0;
	begin_reader(&reader, other);
	size_t before = asked_count;

	assert_int_equal(asked[0]->deliver(asked[0], 0, spoilt), 0);
	assert_int_equal(asked_count, before + 1);
	assert_ptr_equal(asked[before]->frames, other->frames);
	assert_int_equal(asked[before]->class, FETCH_DEMAND);
	assert_int_equal(asked[before]->deliver(asked[before], 0, spoilt), -EBADMSG);
	assert_int_equal(test_waiter_wakes(&reader.waiter), 0);
	assert_int_equal(
		asked[before]->deliver(asked[before], 0, built->frames[0].data), 0);
	expect_first_chunk(&reader);
	let_go();
	end_reader(&reader);
	catalog_close(other);
	free(spoilt);
}

static void what_fails_for_the_first_catalog_is_asked_for_by_the_second(void **state)
{
	struct catalog *other = open_version();
	struct reader reader;

	(void)state;
	flight_request_ahead(store, catalog, 0, 12);
	begin_reader(&reader, other);
	struct frame_request *first = asked[0];
	size_t before = asked_count;

	asked[0] = asked[--asked_count];
	first->done(first, -EBADMSG);
	assert_int_equal(asked_count, before);
	assert_ptr_equal(asked[before - 1]->frames, other->frames);
	/* no third time */
	first = asked[--asked_count];
	first->done(first, -EBADMSG);
	assert_int_equal(asked_count, before - 1);
	assert_int_equal(test_waiter_wait(&reader.waiter), -EBADMSG);
	let_go();
	end_reader(&reader);
	catalog_close(other);
}

static void other_bytes_at_the_same_place_are_not_joined(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct catalog *other = open_version();
		struct catalog_frame *frame = (void *)(uintptr_t)other->frames;
		struct catalog_pack *pack = (void *)(uintptr_t)other->packs;
		struct reader first;
		struct reader second;

		frame->stored_bytes -= i == 0;
		frame->raw_bytes -= i == 1;
		frame->flags ^= i == 2;
		pack->digest.bytes[sizeof(pack->digest.bytes) - 1] ^= i == 3;
		begin_reader(&first, catalog);
		assert_int_equal(asked_count, 1);
		begin_reader(&second, other);
		assert_true(asked_count > 1);
		assert_ptr_equal(asked[1]->frames, other->frames);
		let_go();
		assert_int_equal(test_waiter_wait(&first.waiter), -ECANCELED);
		assert_int_equal(test_waiter_wait(&second.waiter), -ECANCELED);
		end_reader(&first);
		end_reader(&second);
		catalog_close(other);
	}
}

/* It may be held up until a window opens. */
static void what_comes_in_the_background_is_no_comfort(void **state)
{
	struct catalog *other = built_open(built);
	struct flight_watch watch = {.landed = landed};
	struct flight_watch *watches[] = {&watch};

	(void)state;
	flight_watch_frames(store, catalog, 4, watches, 1);
	flight_request_ahead(store, other, 4, 4);
	assert_int_equal(asked_count, 2);
	assert_ptr_equal(asked[1]->frames, &other->frames[4]);
	let_go();
	catalog_close(other);
}

/* Whichever of the two was asked for last. */
static void what_comes_at_once_counts_though_it_comes_in_the_background_too(void **state)
{
	struct catalog *other = open_version();
	struct catalog *third = built_open(built);
	struct flight_watch watch = {.landed = landed};
	struct flight_watch *watches[] = {&watch};

	(void)state;
	for (int is_background_first = 0; is_background_first < 2;
		is_background_first++) {
		if (is_background_first)
			flight_watch_frames(store, other, 0, watches, 1);
		flight_request_ahead(store, catalog, 0, 4);
		if (!is_background_first)
			flight_watch_frames(store, other, 0, watches, 1);
		assert_int_equal(asked_count, 2);
		flight_request_ahead(store, third, 0, 4);
		assert_int_equal(asked_count, 2);
		let_go();
	}
	catalog_close(third);
	catalog_close(other);
}

/* They share buckets of the table. */
static void frames_of_one_size_are_not_taken_for_each_other(void **state)
{
	struct catalog *other = built_open(built);
	uint32_t half = catalog->frame_count / 2;

	(void)state;
	flight_request_ahead(store, catalog, 0, half);
	flight_request_ahead(store, other, half, catalog->frame_count - half);
	assert_int_equal(asked_frames, catalog->frame_count);
	let_go();
	catalog_close(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make_noting, drop_noting)
	const struct CMUnitTest tests[] = {
		T(much_is_asked_for_in_six_requests_in_order),
		T(little_is_asked_for_in_one_request),
		T(what_is_on_its_way_is_not_asked_for_again),
		T(what_comes_for_another_catalog_is_not_read_ahead_again),
		T(a_reader_joins_what_comes_for_a_reader_of_another_catalog),
		T(what_comes_for_another_catalog_hurries_for_its_reader),
		T(what_is_joined_late_takes_nothing_of_the_readers_along),
		T(a_reader_does_not_join_the_background_of_another_catalog),
		T(a_reader_gets_no_bytes_that_his_own_catalog_does_not_name),
		T(what_is_wrong_for_the_second_catalog_is_asked_for_by_it),
		T(what_fails_for_the_first_catalog_is_asked_for_by_the_second),
		T(other_bytes_at_the_same_place_are_not_joined),
		T(what_comes_in_the_background_is_no_comfort),
		T(what_comes_at_once_counts_though_it_comes_in_the_background_too),
		cmocka_unit_test_setup_teardown(
			frames_of_one_size_are_not_taken_for_each_other, make_wide,
			drop_noting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
