/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/threads/clock.h"
#include "cache/content/content_file.h"
#include "cache/objects/checkpoint.h"
#include "tests/support/catalog_builder.h"

#include <errno.h>

#define CHUNK	   (64 * 1024)
#define LARGE_SIZE (12 * 1024 * 1024)
#define MOST	   32

static struct scratch scratch;
static struct checkpoint *checkpoint;
static struct object_store *objects;
static struct content_store *store;
static struct built_catalog *built;
static struct catalog *catalog;

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
static int make(void **state)
{
	uint8_t *large = malloc(LARGE_SIZE);
	struct catalog_builder *b = builder_new("");

	(void)state;
	assert_non_null(large);
	built_fill(large, LARGE_SIZE, 5);
	builder_file(b, BUILDER_TOP, "large", large, LARGE_SIZE, CHUNK);
	free(large);
	built = builder_finish(b);
	catalog = built_open(built);
	scratch_make(&scratch);
	assert_int_equal(checkpoint_open(scratch.fd, &checkpoint), 0);
	assert_int_equal(object_store_open(scratch.fd, checkpoint, &objects), 0);
	struct content_config config = {.cache_dirfd = scratch.fd,
		.checkpoint = checkpoint,
		.objects = objects,
		.source = &noting,
		.fetch_deadline_ns = 5 * NS_PER_SEC};

	assert_int_equal(content_store_new(&config, &store), 0);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	let_go();
	content_store_free(store);
	object_store_free(objects);
	checkpoint_free(checkpoint);
	catalog_close(catalog);
	built_free(built);
	scratch_remove(&scratch);
	return 0;
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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(much_is_asked_for_in_six_requests_in_order),
		T(little_is_asked_for_in_one_request),
		T(what_is_on_its_way_is_not_asked_for_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
