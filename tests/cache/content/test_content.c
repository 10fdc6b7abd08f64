/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/content/content_scene.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/content/content_verify.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static void a_small_file_is_fetched_read_and_kept(void **state)
{
	(void)state;
	assert_int_equal(state_of("small3"), CONTENT_REMOTE);
	expect_small(3);
	assert_int_equal(state_of("small3"), CONTENT_CACHED);
	assert_true(fake_source_wait_idle(fake));
	unsigned int before = fake_source_count(fake, built, frame_of("small3", 0));

	expect_small(3);
	assert_int_equal(before, 1);
	assert_int_equal(fake_source_count(fake, built, frame_of("small3", 0)), 1);
}

static void neighbours_in_the_frame_land_too(void **state)
{
	(void)state;
	struct content_file *open_neighbour = open_named("small8");
	uint8_t out[64];

	expect_small(0);
	assert_true(fake_source_wait_idle(fake));
	for (int i = 0; i < 10; i++)
		expect_small(i);
	/* one that was open before has it as well */
	assert_int_equal(read_at(open_neighbour, 0, sizeof(out), out), 12);
	content_close(open_neighbour);
	assert_int_equal(fake_source_count(fake, built, frame_of("small0", 0)), 1);
}

static void many_readers_cause_one_download_and_each_is_woken_once(void **state)
{
	struct content_file *file = open_named("big");
	struct test_waiter waiters[50];
	struct content_span span;

	(void)state;
	fake_source_hold(fake);
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		test_waiter_init(&waiters[i]);
		assert_int_equal(
			content_read(file, i * 100, 30000, &span, &waiters[i].waiter),
			-EINPROGRESS);
	}
	fake_source_release(fake);
	test_waiters_end(waiters, ARRAY_SIZE(waiters), fake);
	assert_int_equal(fake_source_count(fake, built, frame_of("big", 0)), 1);
	expect_big(file, 0, 5000);
	assert_int_equal(fake_source_count(fake, built, frame_of("big", 0)), 1);
	content_close(file);
}

static void a_read_waits_only_for_its_own_chunks(void **state)
{
	struct content_file *file = open_named("big");
	uint32_t last = frame_of("big", BIG_PIECES - 1);

	(void)state;
	expect_big(file, 100, 1000);
	/* the far end was not asked for */
	assert_int_equal(fake_source_count(fake, built, last), 0);
	assert_int_equal(state_of("big"), CONTENT_PARTIAL);
	struct content_info info;

	content_state(store, catalog, content_named("big"), &info);
	assert_int_equal(info.chunks, BIG_PIECES);
	assert_true(info.chunks_cached > 0 && info.chunks_cached < BIG_PIECES);
	assert_true(info.cached_bytes > 0 && info.cached_bytes < BIG_SIZE);
	content_close(file);
}

static void the_whole_file_becomes_an_object(void **state)
{
	struct content_file *file = open_named("big");

	(void)state;
	for (size_t at = BIG_SIZE; at > 0;) {
		size_t len = at < 100000 ? at : 100000;

		at -= len;
		expect_big(file, at, len);
	}
	assert_int_equal(state_of("big"), CONTENT_CACHED);
	assert_int_equal(scratch_count(&scratch, "partial"), 0);
	expect_big(file, 0, BIG_SIZE);
	content_close(file);
	for (uint32_t i = 0; i < catalog->frame_count; i++)
		assert_true(fake_source_count(fake, built, i) <= 1);
}

static void what_has_landed_survives_the_process(void **state)
{
	(void)state;
	struct content_file *file = open_named("big");

	expect_big(file, 0, 1000);
	content_close(file);
	close_store();
	open_store(NULL);
	file = open_named("big");
	expect_big(file, 0, 1000);
	uint8_t byte;

	assert_int_equal(read_at(file, BIG_SIZE - 1, 1, &byte), -EHOSTUNREACH);
	content_close(file);
}

static void what_a_crash_left_unfinished_is_removed_at_the_start(void **state)
{
	(void)state;
	struct content_file *file = open_named("big");
	char path[96] = "partial/";
	struct content_info info;

	expect_big(file, 0, 1000);
	content_close(file);
	digest_to_hex(&content_named("big")->digest, path + strlen(path));
	close_store();
	/* another boot than the one of this record, and no orderly end */
	static const char record[] = "00000000-1111-2222-3333-444444444444 5 open\n";

	scratch_write(&scratch, "checkpoint", record, strlen(record));
	open_store(fake_source_of(fake));
	content_state(store, catalog, content_named("big"), &info);
	assert_int_equal(info.state, CONTENT_REMOTE);
	assert_false(scratch_has(&scratch, path));
}

static void holes_are_zeros_and_cost_nothing(void **state)
{
	struct content_file *file = open_named("sparse");
	static const uint8_t zeros[70000];
	uint8_t *out = malloc(100000);

	(void)state;
	assert_non_null(out);
	assert_int_equal(read_at(file, 0, 50000, out), 50000);
	assert_memory_equal(out, zeros, 50000);
	assert_int_equal(fake_source_count_frames(fake), 0);
	assert_int_equal(read_at(file, 49998, 10, out), 10);
	assert_memory_equal(out, "\0\0data\0\0\0\0", 10);
	assert_int_equal(read_at(file, 99999, 10, out), 1);
	assert_int_equal(read_at(file, 100000, 10, out), 0);
	assert_int_equal(read_at(file, UINT64_MAX, 10, out), 0);
	content_close(file);
	file = open_named("hole");
	assert_int_equal(read_at(file, 0, 70000, out), 70000);
	assert_memory_equal(out, zeros, 70000);
	content_close(file);
	free(out);
}

static void without_a_waiter_nothing_is_asked_for(void **state)
{
	struct content_file *file = open_named("big");
	struct content_span span;

	(void)state;
	assert_int_equal(content_read(file, 0, 10, &span, NULL), -EAGAIN);
	assert_int_equal(fake_source_count_frames(fake), 0);
	content_close(file);
}

static void a_failure_wakes_with_its_error_and_a_later_read_tries_again(void **state)
{
	struct content_file *file = open_named("big");
	uint8_t out[10];

	(void)state;
	fake_source_fail(fake, -EHOSTUNREACH);
	assert_int_equal(read_at(file, 0, 10, out), -EHOSTUNREACH);
	assert_int_equal(read_at(file, 0, 10, out), -EHOSTUNREACH);
	fake_source_fail(fake, 0);
	expect_big(file, 0, 10);
	content_close(file);
}

static void a_wrong_frame_is_refused_and_fetched_again(void **state)
{
	struct content_file *file = open_named("big");

	(void)state;
	fake_source_corrupt_once(fake);
	expect_big(file, 0, 200000);
	assert_int_equal(fake_source_count_refused(fake), 1);
	content_close(file);
}

static void when_all_sources_lie_nothing_is_served_or_kept(void **state)
{
	struct content_file *file = open_named("small1");
	uint8_t out[64];

	(void)state;
	fake_source_corrupt_always(fake);
	assert_int_equal(read_at(file, 0, sizeof(out), out), -EBADMSG);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(state_of("small1"), CONTENT_REMOTE);
	for (int i = 0; i < 10; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "small%d", i);
		assert_int_equal(state_of(name), CONTENT_REMOTE);
	}
	content_close(file);
}

static void requests_that_never_come_back_end_with_the_source(void **state)
{
	struct content_file *file = open_named("big");
	struct content_span span;
	struct test_waiter w;

	(void)state;
	test_waiter_init(&w);
	fake_source_hold(fake);
	assert_int_equal(content_read(file, 0, 10, &span, &w.waiter), -EINPROGRESS);
	assert_true(fake_source_wait_held(fake, 1));
	assert_int_equal(test_waiter_wakes(&w), 0);
	fake_source_cancel(fake);
	assert_int_equal(test_waiter_wait(&w), -ECANCELED);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(test_waiter_wakes(&w), 1);
	test_waiter_release(&w);
	content_close(file);
}

static void a_damaged_object_is_fetched_again(void **state)
{
	char path[128];
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	expect_small(2);
	assert_true(fake_source_wait_idle(fake));
	digest_to_hex(&content_named("small2")->digest, hex);
	(void)snprintf(path, sizeof(path), "objects/%.2s/%s", hex, hex);
	scratch_write(&scratch, path, "short", 5);
	expect_small(2);
}

/* No asserts here: cmocka's belong to the main thread. */
struct reader {
	struct content_file *file;
	unsigned int seed;
	int wrong;
};

static void *read_all_over(void *arg)
{
	struct reader *r = arg;
	uint8_t *out = malloc(70000);

	for (int i = 0; i < 40; i++) {
		size_t offset =
			(size_t)(i * 7919 + (int)r->seed * 104729) * 31 % BIG_SIZE;
		size_t len = BIG_SIZE - offset < 70000 ? BIG_SIZE - offset : 70000;
		struct content_span span;
		struct test_waiter w;
		ssize_t n;

		for (;;) {
			test_waiter_init(&w);
			n = content_read(r->file, offset, len, &span, &w.waiter);
			if (n != -EINPROGRESS)
				break;
			mutex_lock(&w.lock);
			while (!w.wakes)
				condition_wait(&w.changed, &w.lock);
			mutex_unlock(&w.lock);
			test_waiter_release(&w);
		}
		test_waiter_release(&w);
		if (n != (ssize_t)len) {
			r->wrong++;
			continue;
		}
		if (span.fd >= 0)
			r->wrong += io_pread_exact(span.fd, out, len, span.offset) != 0;
		else
			memcpy(out, span.memory, len);
		content_span_release(&span);
		r->wrong += memcmp(out, big + offset, len) != 0;
	}
	free(out);
	return NULL;
}

static void a_damaged_partial_is_removed_and_counted_out(void **state)
{
	const struct catalog_content *content = content_named("big");
	const struct usage *usage = object_store_usage(objects);
	struct content_file *file = open_named("big");
	char path[96] = "partial/";
	const atomic_bool stop = false;
	uint8_t byte;

	(void)state;
	digest_to_hex(&content->digest, path + strlen(path));
	expect_big(file, 0, BIG_CHUNK);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(content_verify(store, catalog, content, true, &stop), 0);
	assert_true(usage->bytes[USAGE_PARTIALS] > 0);
	byte = (uint8_t)~big[7];
	AUTO_CLOSE int fd = openat(scratch.fd, path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(io_pwrite(fd, &byte, 1, 7), 0);
	assert_int_equal(content_verify(store, catalog, content, false, &stop), 0);
	assert_int_equal(content_verify(store, catalog, content, true, &stop), -EBADMSG);
	assert_false(scratch_has(&scratch, path));
	assert_int_equal(usage->bytes[USAGE_PARTIALS], 0);
	/* what comes still goes with the descriptor */
	expect_big(file, BIG_SIZE - BIG_CHUNK, BIG_CHUNK);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(usage->bytes[USAGE_PARTIALS], 0);
	content_close(file);
	assert_int_equal(content_verify(store, catalog, content, true, &stop), -ENOENT);
}

static void parallel_readers_all_get_the_right_bytes(void **state)
{
	struct content_file *file = open_named("big");
	struct reader readers[6];
	pthread_t threads[6];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		readers[i] = (struct reader){.file = file, .seed = (unsigned int)i};
		assert_int_equal(
			pthread_create(&threads[i], NULL, read_all_over, &readers[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(readers[i].wrong, 0);
	}
	content_close(file);
}

/* A flip lets an old catalog go while content of it is open or on its way. */
static void a_catalog_stays_while_it_is_used(void **state)
{
	struct catalog *mine = built_open(built);
	uint32_t at = catalog_lookup(mine, CATALOG_ROOT, "small3", 6);
	struct content_file *file;
	struct content_span span;
	struct test_waiter w;
	uint8_t text[12];

	(void)state;
	fake_source_hold(fake);
	assert_int_equal(
		content_open(store, mine,
			catalog_content_of(mine, catalog_entry(mine, at)), &file),
		0);
	test_waiter_init(&w);
	assert_int_equal(
		content_read(file, 0, sizeof(text), &span, &w.waiter), -EINPROGRESS);
	/* the owner keeps one more for the test to look at */
	catalog_ref(mine);
	catalog_close(mine);
	assert_true(mine->refs >= 3); /* the content, the flight, the stream */
	fake_source_release(fake);
	assert_int_equal(test_waiter_wait(&w), 0);
	assert_int_equal(read_at(file, 0, sizeof(text), text), sizeof(text));
	assert_memory_equal(text, "content of 3", sizeof(text));
	content_close(file);
	close_store();
	assert_int_equal(mine->refs, 0);
	catalog_unref(mine);
	test_waiter_release(&w);
	open_store(fake_source_of(fake));
}

/* Whatever allocation fails, on whichever thread: the reader hears of it, nothing hangs or
 * leaks, and the next try works. */
static void without_memory_a_read_fails_and_the_next_one_works(void **state)
{
	unsigned int failures = 0;
	int sound = 0; /* in a row: some do without an allocation that failed */

	(void)state;
	for (long n = 0; sound < 10; n++) {
		struct content_file *file;
		uint8_t out[30000];

		assert_true(n < 2000);
		mem_fail_after(n);
		int r = content_open(store, catalog, content_named("big"), &file);
		ssize_t got = r == 0 ? read_at(file, 30000, sizeof(out), out) : r;

		mem_fail_after(-1);
		assert_true(fake_source_wait_idle(fake));
		if (got != (ssize_t)sizeof(out)) {
			sound = 0;
			failures++;
			/* a digest that cannot be computed is a frame that is not sound */
			assert_true(got == -ENOMEM || got == -EBADMSG);
		} else {
			assert_memory_equal(out, big + 30000, sizeof(out));
			sound++;
		}
		if (r == 0) {
			expect_big(file, 30000, sizeof(out));
			content_close(file);
		}
		close_store();
		char path[96] = "partial/";

		digest_to_hex(&content_named("big")->digest, path + strlen(path));
		(void)unlinkat(scratch.fd, path, 0);
		open_store(fake_source_of(fake));
	}
	assert_true(failures > 2);
}

static void no_descriptor_is_left_behind(void **state)
{
	unsigned int before = open_descriptors();

	(void)state;
	for (int i = 0; i < 10; i++) {
		struct content_file *file = open_named("big");

		expect_big(file, 0, 1000);
		content_close(file);
	}
	assert_true(fake_source_wait_idle(fake));
	/* directories of the fan-out stay open; files do not */
	close_store();
	open_store(fake_source_of(fake));
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(a_small_file_is_fetched_read_and_kept),
		T(neighbours_in_the_frame_land_too),
		T(many_readers_cause_one_download_and_each_is_woken_once),
		T(a_read_waits_only_for_its_own_chunks),
		T(the_whole_file_becomes_an_object),
		T(what_has_landed_survives_the_process),
		T(what_a_crash_left_unfinished_is_removed_at_the_start),
		T(holes_are_zeros_and_cost_nothing),
		T(without_a_waiter_nothing_is_asked_for),
		T(a_failure_wakes_with_its_error_and_a_later_read_tries_again),
		T(a_wrong_frame_is_refused_and_fetched_again),
		T(when_all_sources_lie_nothing_is_served_or_kept),
		T(requests_that_never_come_back_end_with_the_source),
		T(a_damaged_object_is_fetched_again),
		T(a_damaged_partial_is_removed_and_counted_out),
		T(parallel_readers_all_get_the_right_bytes),
		T(without_memory_a_read_fails_and_the_next_one_works),
		T(a_catalog_stays_while_it_is_used),
		T(no_descriptor_is_left_behind),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
