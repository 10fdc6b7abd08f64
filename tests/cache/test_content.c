/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/clock.h"
#include "cache/base/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/content/content.h"
#include "cache/objects/checkpoint.h"
#include "tests/support/fake_source.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define BIG_CHUNK  (20 * 1024)
#define BIG_PIECES 100
#define BIG_SIZE   (BIG_CHUNK * BIG_PIECES - 5)

static struct scratch scratch;
static struct checkpoint *checkpoint;
static struct object_store *objects;
static struct content_store *store;
static struct fake_source *fake;
static struct built_catalog *built;
static struct catalog *catalog;
static uint8_t *big;

/*
 *	/small0 .. /small9   one frame
 *	/big                 a hundred chunks, twelve to a frame
 *	/sparse              holes around one chunk
 *	/hole                nothing but a hole
 */
static void build(void)
{
	struct catalog_builder *b = builder_new("");
	char name[16];
	char text[32];

	for (int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "small%d", i);
		int n = snprintf(text, sizeof(text), "content of %d", i);

		builder_file(b, BUILDER_TOP, name, text, (size_t)n, 64);
	}
	builder_frame_bytes(b, 1);
	builder_sparse(b, BUILDER_TOP, "sparse", 100000, 50000, "data", 4, 64);
	builder_frame_bytes(b, FRAME_MAX_BYTES);
	builder_sparse(b, BUILDER_TOP, "hole", 70000, 0, "", 0, 64);
	builder_file(b, BUILDER_TOP, "big", big, BIG_SIZE, BIG_CHUNK);
	built = builder_finish(b);
	catalog = built_open(built);
}

static void open_store(struct source *source)
{
	assert_int_equal(checkpoint_open(scratch.fd, &checkpoint), 0);
	assert_int_equal(object_store_open(scratch.fd, checkpoint, &objects), 0);
	struct content_config config = {.cache_dirfd = scratch.fd,
		.checkpoint = checkpoint,
		.objects = objects,
		.source = source,
		.fetch_deadline_ns = 5 * NS_PER_SEC};

	assert_int_equal(content_store_new(&config, &store), 0);
}

static void close_store(void)
{
	assert_true(fake_source_wait_idle(fake));
	content_store_free(store);
	object_store_free(objects);
	checkpoint_free(checkpoint);
}

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	big = malloc(BIG_SIZE);
	assert_non_null(big);
	built_fill(big, BIG_SIZE, 5);
	build();
	fake = fake_source_new();
	fake_source_serve(fake, built);
	open_store(fake_source_of(fake));
	return 0;
}

static int drop(void **state)
{
	(void)state;
	close_store();
	fake_source_free(fake);
	catalog_close(catalog);
	built_free(built);
	free(big);
	scratch_remove(&scratch);
	return 0;
}

static const struct catalog_content *content_named(const char *name)
{
	uint32_t i = catalog_lookup(catalog, CATALOG_ROOT, name, strlen(name));

	assert_int_not_equal(i, CATALOG_NO_ENTRY);
	return catalog_content_of(catalog, catalog_entry(catalog, i));
}

static struct content_file *open_named(const char *name)
{
	struct content_file *file;

	assert_int_equal(content_open(store, catalog, content_named(name), &file), 0);
	return file;
}

static void take_span(struct content_span *span, size_t len, uint8_t *out)
{
	if (span->fd >= 0)
		assert_int_equal(io_pread_exact(span->fd, out, len, span->offset), 0);
	else
		memcpy(out, span->memory, len);
	content_span_release(span);
}

/* Reads as a FUSE read does: asks again each time it was woken. */
static ssize_t read_at(
	struct content_file *file, uint64_t offset, size_t len, uint8_t *out)
{
	for (int rounds = 0; rounds < 20; rounds++) {
		struct content_span span;
		struct test_waiter w;

		test_waiter_init(&w);
		ssize_t n = content_read(file, offset, len, &span, &w.waiter);

		if (n == -EINPROGRESS) {
			int r = test_waiter_wait(&w);

			test_waiter_release(&w);
			if (r < 0)
				return r;
			continue;
		}
		test_waiter_release(&w);
		if (n > 0)
			take_span(&span, (size_t)n, out);
		return n;
	}
	fail_msg("woken again and again, and never served");
	return -1;
}

static void expect_small(int i)
{
	uint8_t out[64];
	char name[16];
	char text[32];

	(void)snprintf(name, sizeof(name), "small%d", i);
	int n = snprintf(text, sizeof(text), "content of %d", i);
	struct content_file *file = open_named(name);

	assert_int_equal(read_at(file, 0, sizeof(out), out), n);
	assert_memory_equal(out, text, (size_t)n);
	content_close(file);
}

static void expect_big(struct content_file *file, size_t offset, size_t len)
{
	uint8_t *out = malloc(len);

	assert_non_null(out);
	assert_int_equal(read_at(file, offset, len, out), len);
	assert_memory_equal(out, big + offset, len);
	free(out);
}

static enum content_state state_of(const char *name)
{
	struct content_info info;

	content_state(store, catalog, content_named(name), &info);
	return info.state;
}

static uint32_t frame_of(const char *name, uint32_t piece)
{
	const struct catalog_piece *p =
		&catalog->pieces[content_named(name)->first_piece + piece];

	return catalog->chunks[p->chunk].frame;
}

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
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
		assert_int_equal(test_waiter_wait(&waiters[i]), 0);
	assert_true(fake_source_wait_idle(fake));
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		assert_int_equal(test_waiter_wakes(&waiters[i]), 1);
		test_waiter_release(&waiters[i]);
	}
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

/* Files may not grow beyond `bytes` any more: writes fail as on a disk that is full. */
static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_costs_the_cache_and_not_the_reader(void **state)
{
	struct content_file *file = open_named("big");

	(void)state;
	limit_files(4);
	expect_small(4);
	expect_big(file, 0, 5000);
	expect_big(file, BIG_SIZE - 70000, 70000);
	assert_int_equal(state_of("small4"), CONTENT_REMOTE);
	assert_int_equal(state_of("big"), CONTENT_REMOTE);
	limit_files(RLIM_INFINITY);
	/* there is room again: the same open file is cached from here on */
	expect_big(file, 0, BIG_SIZE);
	/* the small ones are served from memory until they have been read */
	for (int i = 0; i < 10; i++)
		expect_small(i);
	expect_small(4);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(state_of("small4"), CONTENT_CACHED);
	content_close(file);
}

/* More pieces in one read than fit a few loose ones: they must not drive each other out. */
static void one_large_read_on_a_full_disk_ends(void **state)
{
	struct content_file *file = open_named("big");

	(void)state;
	limit_files(4);
	expect_big(file, 0, BIG_SIZE);
	limit_files(RLIM_INFINITY);
	content_close(file);
}

static void a_disk_that_fills_in_the_middle_of_a_file_serves_all_of_it(void **state)
{
	struct content_file *file = open_named("big");

	(void)state;
	expect_big(file, 0, 1000);
	assert_true(fake_source_wait_idle(fake));
	limit_files(4);
	for (size_t at = 0; at < BIG_SIZE; at += 200000)
		expect_big(file, at, BIG_SIZE - at < 200000 ? BIG_SIZE - at : 200000);
	limit_files(RLIM_INFINITY);
	content_close(file);
}

static void what_a_full_cache_did_not_take_lands_once_there_is_room(void **state)
{
	struct content_file *file = open_named("big");
	struct usage *usage = object_store_usage(objects);

	(void)state;
	atomic_store(&usage->is_closed, true);
	expect_big(file, 0, BIG_SIZE);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(state_of("big"), CONTENT_REMOTE);
	unsigned int asked = fake_source_count_frames(fake);

	atomic_store(&usage->is_closed, false);
	/* while it is open and read, without being fetched again */
	for (int i = 0; i < 400 && state_of("big") != CONTENT_CACHED; i++) {
		expect_big(file, 0, BIG_SIZE);
		(void)nanosleep(&(struct timespec){.tv_nsec = 50 * NS_PER_MS}, NULL);
	}
	assert_int_equal(state_of("big"), CONTENT_CACHED);
	assert_int_equal(fake_source_count_frames(fake), asked);
	content_close(file);
}

struct reader {
	struct content_file *file;
	unsigned int seed;
	int wrong;
};

/* No asserts here: cmocka's belong to the main thread. */
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
		T(a_full_disk_costs_the_cache_and_not_the_reader),
		T(one_large_read_on_a_full_disk_ends),
		T(a_disk_that_fills_in_the_middle_of_a_file_serves_all_of_it),
		T(what_a_full_cache_did_not_take_lands_once_there_is_room),
		T(parallel_readers_all_get_the_right_bytes),
		T(without_memory_a_read_fails_and_the_next_one_works),
		T(a_catalog_stays_while_it_is_used),
		T(no_descriptor_is_left_behind),
	};

	log_detach_stderr();
	/* what RLIMIT_FSIZE would kill with */
	if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
