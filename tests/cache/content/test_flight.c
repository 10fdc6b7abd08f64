/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/content/content_scene.h"

#include "cache/content/content_file.h"

#include <errno.h>

#define CHUNK	   (64 * 1024)
#define LARGE_SIZE (12 * 1024 * 1024)
#define MOST	   32

/* What it was asked for, in order; nothing is answered before let_go(). */
static struct frame_request *asked[MOST];
static size_t asked_count;

static void note_frames(struct source *source, struct frame_request *rq)
{
	(void)source;
	assert_true(asked_count < MOST);
	asked[asked_count++] = rq;
}

static const struct source_ops noting_ops = {.fetch_frames = note_frames};
static struct source noting = {.ops = &noting_ops};

static void let_go(void)
{
	for (size_t i = 0; i < asked_count; i++)
		asked[i]->done(asked[i], -ECANCELED);
	asked_count = 0;
}

/* /large, that does not compress. */
static struct built_catalog *build(void)
{
	uint8_t *large = malloc(LARGE_SIZE);
	struct catalog_builder *b = builder_new("");

	assert_non_null(large);
	built_fill(large, LARGE_SIZE, 5);
	builder_file(b, BUILDER_TOP, "large", large, LARGE_SIZE, CHUNK);
	free(large);
	return builder_finish(b);
}

static int make_noting(void **state)
{
	(void)state;
	int r = make_of(build);

	close_store();
	open_store(&noting);
	return r;
}

static int drop_noting(void **state)
{
	let_go();
	return drop(state);
}

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

static void landed(struct flight_watch *watch, const uint8_t *data, int error)
{
	(void)watch;
	(void)data;
	(void)error;
}

/* Somebody waits for the first chunk of /large in `c`. */
static struct content_file *wait_for_first(struct catalog *c, struct test_waiter *w)
{
	uint32_t at = catalog_lookup(c, CATALOG_ROOT, "large", 5);
	struct content_file *file;
	struct content_span span;

	assert_int_equal(content_open(store, c,
				 catalog_content_of(c, catalog_entry(c, at)), &file),
		0);
	test_waiter_init(w);
	assert_int_equal(content_read(file, 0, CHUNK, &span, &w->waiter), -EINPROGRESS);
	return file;
}

/* As of two versions of a package. */
static void what_comes_for_another_catalog_is_not_asked_for_again(void **state)
{
	struct catalog *other = built_open(built);
	struct test_waiter w;

	(void)state;
	flight_request_ahead(store, catalog, 0, 12);
	flight_request_ahead(store, other, 4, 12);
	assert_int_equal(asked_count, 2);
	assert_ptr_equal(asked[1]->frames, &other->frames[12]);
	assert_int_equal(asked[1]->frame_count, 4);
	struct content_file *file = wait_for_first(other, &w);

	assert_int_equal(asked_count, 2);
	assert_true(atomic_load(&asked[0]->is_awaited));
	assert_int_equal(asked[0]->deliver(asked[0], 0, built->frames[0].data), 0);
	assert_int_equal(test_waiter_wait(&w), 0);
	let_go();
	test_waiter_release(&w);
	content_close(file);
	catalog_close(other);
}

/* A catalog lists those chunks of a frame that it uses, and verifies no others: those bytes were spoilt
 * by one source, and another has them. */
static void what_is_wrong_for_the_second_catalog_is_asked_for_by_it(void **state)
{
	struct catalog *other = built_open(built);
	uint8_t *spoilt = calloc(1, built->frames[0].length);
	struct test_waiter w;

	(void)state;
	assert_non_null(spoilt);
	((struct catalog_frame *)(uintptr_t)catalog->frames)[0].chunk_count = 0;
	struct flight_watch watch = {.landed = landed};
	struct flight_watch *watches[] = {&watch};

	flight_watch_frames(store, catalog, 0, watches, 1);
	assert_int_equal(asked_count, 1);
	struct content_file *file = wait_for_first(other, &w);
	size_t before = asked_count;

	assert_int_equal(asked[0]->deliver(asked[0], 0, spoilt), 0);
	assert_int_equal(asked_count, before + 1);
	assert_ptr_equal(asked[before]->frames, other->frames);
	assert_int_equal(asked[before]->class, FETCH_DEMAND);
	assert_int_equal(asked[before]->deliver(asked[before], 0, spoilt), -EBADMSG);
	assert_int_equal(test_waiter_wakes(&w), 0);
	assert_int_equal(
		asked[before]->deliver(asked[before], 0, built->frames[0].data), 0);
	assert_int_equal(test_waiter_wait(&w), 0);
	let_go();
	test_waiter_release(&w);
	content_close(file);
	catalog_close(other);
	free(spoilt);
}

static void what_fails_for_the_first_catalog_is_asked_for_by_the_second(void **state)
{
	struct catalog *other = built_open(built);
	struct test_waiter w;

	(void)state;
	flight_request_ahead(store, catalog, 0, 12);
	struct content_file *file = wait_for_first(other, &w);
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
	assert_int_equal(test_waiter_wait(&w), -EBADMSG);
	let_go();
	test_waiter_release(&w);
	content_close(file);
	catalog_close(other);
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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make_noting, drop_noting)
	const struct CMUnitTest tests[] = {
		T(much_is_asked_for_in_six_requests_in_order),
		T(little_is_asked_for_in_one_request),
		T(what_is_on_its_way_is_not_asked_for_again),
		T(what_comes_for_another_catalog_is_not_asked_for_again),
		T(what_is_wrong_for_the_second_catalog_is_asked_for_by_it),
		T(what_fails_for_the_first_catalog_is_asked_for_by_the_second),
		T(what_comes_in_the_background_is_no_comfort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
