/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/content/content_scene.h"

#include "cache/base/cli.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/content/fetch/prefetch.h"
#include "cache/content/fetch/reasons.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SMALL	40
#define TAIL_AT (BIG_CHUNK * BIG_PIECES / 2)

static struct prefetch_progress progress;
static unsigned int failed;
static int failed_with;

/*
 *	/small0 .. /small39  ten to a frame
 *	/big                 a hundred chunks, twelve to a frame
 *	/tail                the last fifty chunks of /big, and nothing of its own
 *	/chunk               one chunk of /big
 *	/hole                nothing but a hole
 */
static struct built_catalog *build(void)
{
	struct catalog_builder *b = builder_new("");
	char name[16];
	char text[32];

	builder_share_chunks(b);
	builder_frame_bytes(b, 160);
	for (int i = 0; i < SMALL; i++) {
		(void)snprintf(name, sizeof(name), "small%d", i);
		int n = snprintf(text, sizeof(text), "this is number %d", i);

		builder_file(b, BUILDER_TOP, name, text, (size_t)n, 64);
	}
	builder_frame_bytes(b, FRAME_MAX_BYTES);
	builder_file(b, BUILDER_TOP, "big", big, BIG_SIZE, BIG_CHUNK);
	builder_file(
		b, BUILDER_TOP, "tail", big + TAIL_AT, BIG_SIZE - TAIL_AT, BIG_CHUNK);
	builder_file(b, BUILDER_TOP, "chunk", big + BIG_CHUNK, BIG_CHUNK, BIG_CHUNK);
	builder_sparse(b, BUILDER_TOP, "hole", 70000, 0, "", 0, 64);
	return builder_finish(b);
}

static int make_shared(void **state)
{
	(void)state;
	progress = (struct prefetch_progress){0};
	failed = 0;
	failed_with = 0;
	return make_of(build);
}

static uint32_t number_of(const char *name)
{
	return (uint32_t)(content_named(name) - catalog->contents);
}

static void count_failed(void *arg, uint32_t content, int error)
{
	(void)arg;
	(void)content;
	failed++;
	failed_with = error;
}

static int prefetch(const uint32_t *contents, size_t count, const atomic_bool *cancelled)
{
	const struct prefetch_config config = {.store = store,
		.catalog = catalog,
		.contents = contents,
		.count = count,
		.is_cancelled = cancelled,
		.progress = &progress,
		.on_failed = count_failed};

	return prefetch_run(&config);
}

static uint64_t all_bytes(void)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < catalog->frame_count; i++)
		bytes += catalog->frames[i].stored_bytes;
	return bytes;
}

static void expect_no_frame_twice(void)
{
	for (uint32_t i = 0; i < catalog->frame_count; i++)
		assert_true(fake_source_count(fake, built, i) <= 1);
}

static void expect_all_here(void)
{
	for (uint32_t i = 0; i < catalog->content_count; i++) {
		struct content_info info;

		content_state(store, catalog, &catalog->contents[i], &info);
		assert_int_equal(info.state, CONTENT_CACHED);
	}
	assert_int_equal(scratch_count(&scratch, "partial"), 0);
	assert_int_equal(prefetch_missing_bytes(store, catalog, NULL, 0), 0);
}

static void everything_lands_and_no_frame_comes_twice(void **state)
{
	(void)state;
	assert_int_equal(prefetch_missing_bytes(store, catalog, NULL, 0), all_bytes());
	assert_int_equal(prefetch(NULL, 0, NULL), 0);
	expect_all_here();
	expect_object(content_named("big"), big, BIG_SIZE);
	expect_object(content_named("tail"), big + TAIL_AT, BIG_SIZE - TAIL_AT);
	expect_object(content_named("chunk"), big + BIG_CHUNK, BIG_CHUNK);
	expect_no_frame_twice();
	assert_int_equal(progress.bytes_fetched, all_bytes());
	assert_int_equal(progress.contents_done, catalog->content_count);
	assert_int_equal(progress.contents_failed, 0);
	assert_int_equal(failed, 0);
	/* and again: nothing is asked for */
	unsigned int asked = fake_source_count_frames(fake);

	assert_int_equal(prefetch(NULL, 0, NULL), 0);
	assert_int_equal(fake_source_count_frames(fake), asked);
	assert_int_equal(progress.bytes_fetched, all_bytes());
}

static void only_what_was_asked_for_is_fetched(void **state)
{
	uint32_t chosen[] = {number_of("tail")};

	(void)state;
	assert_int_equal(prefetch(chosen, 1, NULL), 0);
	assert_int_equal(state_of("tail"), CONTENT_CACHED);
	assert_int_equal(state_of("small1"), CONTENT_REMOTE);
	/* what its frames hold of others has landed, too */
	assert_int_equal(state_of("big"), CONTENT_PARTIAL);
	assert_int_equal(progress.contents_done, 1);
	assert_int_equal(fake_source_count(fake, built, 0), 0);
	assert_int_equal(prefetch(NULL, 0, NULL), 0);
	expect_all_here();
	expect_no_frame_twice();
	assert_int_equal(progress.bytes_fetched, all_bytes());
}

static void neighbours_share_a_request(void **state)
{
	struct source_status status;

	(void)state;
	assert_int_equal(prefetch(NULL, 0, NULL), 0);
	source_status(fake_source_of(fake), &status);
	assert_int_equal(status.requests, 1);
}

static void one_that_was_interrupted_goes_on_where_it_stopped(void **state)
{
	uint32_t half[SMALL / 2 + 1];

	(void)state;
	for (uint32_t i = 0; i < SMALL / 2; i++)
		half[i] = i;
	half[SMALL / 2] = number_of("tail");
	assert_int_equal(prefetch(half, SMALL / 2 + 1, NULL), 0);
	close_store();
	open_store(fake_source_of(fake));
	assert_int_equal(prefetch(NULL, 0, NULL), 0);
	expect_all_here();
	expect_no_frame_twice();
	assert_int_equal(progress.bytes_fetched, all_bytes());
}

struct runner {
	atomic_bool cancelled;
	int result;
};

static void *run_prefetch(void *arg)
{
	struct runner *r = arg;

	r->result = prefetch(NULL, 0, &r->cancelled);
	return NULL;
}

static void a_cancelled_one_ends_while_the_line_is_silent(void **state)
{
	struct runner r = {.cancelled = false};
	pthread_t thread;

	(void)state;
	fake_source_hold(fake);
	assert_int_equal(pthread_create(&thread, NULL, run_prefetch, &r), 0);
	assert_true(fake_source_wait_held(fake, 1));
	atomic_store(&r.cancelled, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r.result, -ECANCELED);
	/* what was under way lands without it */
	fake_source_release(fake);
	assert_true(fake_source_wait_idle(fake));
	expect_no_frame_twice();
	assert_int_equal(state_of("small0"), CONTENT_CACHED);
	/* the others' chunks are copied from the contents that landed */
	assert_int_equal(prefetch(NULL, 0, NULL), 0);
	expect_all_here();
	expect_no_frame_twice();
}

static void a_reader_joins_what_is_under_way(void **state)
{
	struct runner r = {.cancelled = false};
	struct content_file *file = open_named("small7");
	struct content_span span;
	struct test_waiter w;
	pthread_t thread;

	(void)state;
	fake_source_hold(fake);
	assert_int_equal(pthread_create(&thread, NULL, run_prefetch, &r), 0);
	assert_true(fake_source_wait_held(fake, 1));
	test_waiter_init(&w);
	assert_int_equal(content_read(file, 0, 10, &span, &w.waiter), -EINPROGRESS);
	fake_source_release(fake);
	assert_int_equal(test_waiter_wait(&w), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r.result, 0);
	test_waiter_release(&w);
	content_close(file);
	expect_all_here();
	expect_no_frame_twice();
}

static void several_at_once_share_what_they_fetch(void **state)
{
	struct runner runners[3] = {0};
	pthread_t threads[3];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(runners); i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, run_prefetch, &runners[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(runners); i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(runners[i].result, 0);
	}
	expect_all_here();
	assert_int_equal(progress.contents_done, 3 * catalog->content_count);
}

static void without_a_source_it_says_so(void **state)
{
	(void)state;
	fake_source_fail(fake, -EHOSTUNREACH);
	assert_int_equal(prefetch(NULL, 0, NULL), -EHOSTUNREACH);
	assert_int_equal(progress.contents_done, 1); /* the hole */
	assert_int_equal(progress.contents_failed, catalog->content_count - 1);
	assert_int_equal(failed, catalog->content_count - 1);
	assert_int_equal(failed_with, -EHOSTUNREACH);
	close_store();
	open_store(NULL);
	assert_int_equal(prefetch(NULL, 0, NULL), -EHOSTUNREACH);
	close_store();
	open_store(fake_source_of(fake));
	fake_source_fail(fake, 0);
	progress = (struct prefetch_progress){0};
	assert_int_equal(prefetch(NULL, 0, NULL), 0);
	expect_all_here();
}

static void what_cannot_be_had_is_named_and_the_rest_comes(void **state)
{
	(void)state;
	fake_source_corrupt_always(fake);
	assert_int_equal(prefetch(NULL, 0, NULL), 0);
	assert_int_equal(failed, catalog->content_count - 1);
	assert_int_equal(failed_with, -EBADMSG);
	assert_int_equal(state_of("small0"), CONTENT_REMOTE);
}

static void a_full_disk_ends_it(void **state)
{
	(void)state;
	limit_file_bytes(4);
	assert_int_equal(prefetch(NULL, 0, NULL), -ENOSPC);
	assert_true(fake_source_wait_idle(fake));
	limit_file_bytes(RLIM_INFINITY);
	assert_int_equal(prefetch(NULL, 0, NULL), 0);
	expect_all_here();
}

/* What the admin is told of a prefetch of all that ended with `error`, or failed with it. */
static const char *told(int result, int error)
{
	static char text[FETCH_REASON_SIZE];
	struct fetch_reasons reasons;

	fetch_reasons_begin(&reasons, fake_source_of(fake), objects);
	assert_int_equal(prefetch(NULL, 0, NULL), result);
	fetch_reasons_text(&reasons, error, text);
	assert_true(fake_source_wait_idle(fake));
	return text;
}

static void a_bound_that_is_reached_is_named_and_no_disk_blamed(void **state)
{
	struct usage *usage = object_store_usage(objects);
	struct fetch_reasons reasons;
	char text[FETCH_REASON_SIZE];
	char wanted[FETCH_REASON_SIZE];

	(void)state;
	fetch_reasons_begin(&reasons, fake_source_of(fake), objects);
	atomic_store(&usage->limit_bytes, 256 * 1024);
	assert_int_equal(prefetch(NULL, 0, NULL), -ENOSPC);
	assert_true(fake_source_wait_idle(fake));
	(void)snprintf(wanted, sizeof(wanted),
		"the mount's cache_limit is reached: %s of 256 KiB are in use; change "
		"that option, or unpin or evict something",
		cli_bytes((double)usage_total(usage)).text);
	fetch_reasons_text(&reasons, -ENOSPC, text);
	assert_string_equal(text, wanted);
	/* room that is made meanwhile does not change what was refused */
	int64_t here = atomic_load(&usage->bytes[USAGE_OBJECTS]);

	usage_move(usage, USAGE_OBJECTS, -here);
	fetch_reasons_text(&reasons, -ENOSPC, text);
	usage_move(usage, USAGE_OBJECTS, here);
	assert_string_equal(text, wanted);
	atomic_store(&usage->limit_bytes, 0);
	atomic_store(&usage->floor_bytes, 7 * 1024 * 1024);
	atomic_store(&usage->is_closed, true);
	assert_string_equal(told(-ENOSPC, -ENOSPC),
		"the mount's cache_free wants 7.0 MiB free on the cache's disk, and "
		"nothing is left to let go; change that option, or unpin or evict "
		"something");
	/* what they refused before is not why the disk refuses */
	atomic_store(&usage->is_closed, false);
	limit_file_bytes(4);
	assert_string_equal(told(-ENOSPC, -ENOSPC), "the disk is full");
	limit_file_bytes(RLIM_INFINITY);
}

static void what_no_source_has_is_said_of_the_source_and_not_of_a_file_here(void **state)
{
	(void)state;
	fake_source_fail(fake, -ENOENT);
	assert_string_equal(
		told(0, -ENOENT), "no source has it (fake://depot: HTTP 404)");
	assert_int_equal(failed_with, -ENOENT);
	fake_source_fail(fake, 0);
	/* the cache's own files may be missing, too */
	assert_string_equal(told(0, -ENOENT), "No such file or directory");
}

static void without_memory_it_fails_and_the_next_one_works(void **state)
{
	int r = -ENOMEM;

	(void)state;
	for (long n = 0; r != 0 || failed; n++) {
		assert_true(n < 500);
		failed = 0;
		mem_fail_after(n);
		r = prefetch(NULL, 0, NULL);
		mem_fail_after(-1);
		assert_true(r == 0 || r == -ENOMEM);
		assert_true(fake_source_wait_idle(fake));
	}
	expect_all_here();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make_shared, drop)
	const struct CMUnitTest tests[] = {
		T(everything_lands_and_no_frame_comes_twice),
		T(only_what_was_asked_for_is_fetched),
		T(neighbours_share_a_request),
		T(one_that_was_interrupted_goes_on_where_it_stopped),
		T(a_cancelled_one_ends_while_the_line_is_silent),
		T(a_reader_joins_what_is_under_way),
		T(several_at_once_share_what_they_fetch),
		T(without_a_source_it_says_so),
		T(what_cannot_be_had_is_named_and_the_rest_comes),
		T(a_full_disk_ends_it),
		T(a_bound_that_is_reached_is_named_and_no_disk_blamed),
		T(what_no_source_has_is_said_of_the_source_and_not_of_a_file_here),
		T(without_memory_it_fails_and_the_next_one_works),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
