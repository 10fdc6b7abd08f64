/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/content/content_scene.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/content/content_file.h"
#include "cache/content/fetch/prefetch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CHUNK  (16 * 1024)
#define PIECES 40
#define SIZE   (CHUNK * PIECES)

/* The new version has these pieces of its own; all others are the old one's, one chunk on. */
#define CHANGED_FROM 10
#define CHANGED_TO   12

static struct built_catalog *built_old; /* the scene's */
static struct built_catalog *built_new;
static struct catalog *old; /* the scene's */
static struct catalog *new;
static uint8_t old_data[SIZE];
static uint8_t new_data[SIZE];
static struct prefetch_progress progress;

/* /lib in two versions, and /notes that nothing shares a chunk with. A frame holds one chunk, so
 * that each that is fetched can be told. */
static struct built_catalog *build_version(const char *path, const uint8_t *data)
{
	struct catalog_builder *b = builder_new(path);
	uint8_t notes[100];

	built_fill(notes, sizeof(notes), data[0]);
	builder_frame_bytes(b, 1);
	builder_file(b, BUILDER_TOP, "lib", data, SIZE, CHUNK);
	builder_file(b, BUILDER_TOP, "notes", notes, sizeof(notes), CHUNK);
	return builder_finish(b);
}

static struct built_catalog *build_old(void)
{
	return build_version("pkg/1", old_data);
}

static int make_versions(void **state)
{
	(void)state;
	built_fill(old_data, SIZE, 3);
	/* the last chunk first: places move, as when something was put in front */
	memcpy(new_data, old_data + SIZE - CHUNK, CHUNK);
	memcpy(new_data + CHUNK, old_data, SIZE - CHUNK);
	built_fill(new_data + CHANGED_FROM * CHUNK,
		(size_t)(CHANGED_TO - CHANGED_FROM) * CHUNK, 9);
	progress = (struct prefetch_progress){0};
	int r = make_of(build_old);

	built_old = built;
	old = catalog;
	built_new = build_version("pkg/2", new_data);
	new = built_open(built_new);
	fake_source_serve(fake, built_new);
	return r;
}

static int drop_versions(void **state)
{
	assert_true(fake_source_wait_idle(fake));
	int r = drop(state);

	catalog_close(new);
	built_free(built_new);
	return r;
}

static const struct catalog_content *lib_of(const struct catalog *c)
{
	uint32_t i = catalog_lookup(c, CATALOG_ROOT, "lib", 3);

	assert_int_not_equal(i, CATALOG_NO_ENTRY);
	return catalog_content_of(c, catalog_entry(c, i));
}

static unsigned int frames_fetched(const struct built_catalog *of)
{
	unsigned int count = 0;

	for (uint32_t i = 0; i < of->frame_count; i++)
		count += fake_source_count(fake, of, i);
	return count;
}

static int prefetch(struct catalog *c, const struct catalog *sibling)
{
	const struct prefetch_config config = {.store = store,
		.catalog = c,
		.siblings = &sibling,
		.sibling_count = sibling != NULL,
		.progress = &progress};

	return prefetch_run(&config);
}

static void expect_lib(const struct catalog *c, const uint8_t *data)
{
	expect_object(lib_of(c), data, SIZE);
}

static void read_lib(struct catalog *c, const uint8_t *data)
{
	static uint8_t found[SIZE];
	struct content_file *file;

	assert_int_equal(content_open(store, c, lib_of(c), &file), 0);
	for (size_t at = 0; at < SIZE;) {
		ssize_t n = read_at(file, at, 3 * CHUNK, found + at);

		assert_true(n > 0);
		at += (size_t)n;
	}
	content_close(file);
	assert_memory_equal(found, data, SIZE);
}

static void a_new_version_fetches_only_what_the_old_one_lacks(void **state)
{
	(void)state;
	assert_int_equal(prefetch(old, NULL), 0);
	assert_int_equal(frames_fetched(built_old), PIECES + 1);
	progress = (struct prefetch_progress){0};
	assert_int_equal(prefetch(new, old), 0);
	expect_lib(new, new_data);
	assert_int_equal(frames_fetched(built_new), CHANGED_TO - CHANGED_FROM + 1);
	assert_int_equal(
		progress.bytes_reused, SIZE - (CHANGED_TO - CHANGED_FROM) * CHUNK);
	assert_int_equal(
		progress.bytes_fetched, (CHANGED_TO - CHANGED_FROM) * CHUNK + 100);
	assert_int_equal(progress.contents_done, new->content_count);
	expect_lib(old, old_data);
}

static void of_a_sibling_that_is_not_here_nothing_is_taken(void **state)
{
	(void)state;
	assert_int_equal(prefetch(new, old), 0);
	assert_int_equal(progress.bytes_reused, 0);
	assert_int_equal(frames_fetched(built_new), PIECES + 1);
	expect_lib(new, new_data);
}

static void a_partial_serves_what_it_has(void **state)
{
	struct content_file *file;
	struct content_span span;
	struct test_waiter w;

	(void)state;
	assert_int_equal(content_open(store, old, lib_of(old), &file), 0);
	test_waiter_init(&w);
	assert_int_equal(content_read(file, 0, CHUNK, &span, &w.waiter), -EINPROGRESS);
	assert_int_equal(test_waiter_wait(&w), 0);
	test_waiter_release(&w);
	content_close(file);
	assert_true(fake_source_wait_idle(fake));
	unsigned int here = frames_fetched(built_old);

	assert_in_range(here, CHANGED_TO, PIECES - 1);
	here -= CHANGED_TO - CHANGED_FROM; /* these have no place in the new one */
	assert_int_equal(prefetch(new, old), 0);
	assert_int_equal(progress.bytes_reused, here * CHUNK);
	assert_int_equal(frames_fetched(built_new), PIECES + 1 - here);
	expect_lib(new, new_data);
}

static void damaged_bytes_are_fetched_instead(void **state)
{
	char hex[DIGEST_HEX_SIZE];
	char path[128];
	static uint8_t damaged[SIZE];

	(void)state;
	assert_int_equal(prefetch(old, NULL), 0);
	memcpy(damaged, old_data, SIZE);
	damaged[20 * CHUNK + 7] ^= 1;
	digest_to_hex(&lib_of(old)->digest, hex);
	(void)snprintf(path, sizeof(path), "objects/%.2s/%s", hex, hex);
	scratch_write(&scratch, path, damaged, SIZE);
	assert_int_equal(prefetch(new, old), 0);
	expect_lib(new, new_data);
	assert_int_equal(frames_fetched(built_new), CHANGED_TO - CHANGED_FROM + 2);
}

static void a_reader_of_the_new_version_waits_only_for_what_changed(void **state)
{
	(void)state;
	read_lib(old, old_data);
	read_lib(new, new_data);
	assert_true(fake_source_wait_idle(fake));
	/* /notes may have been read ahead */
	assert_in_range(frames_fetched(built_new), CHANGED_TO - CHANGED_FROM,
		CHANGED_TO - CHANGED_FROM + 1);
	expect_lib(new, new_data);
}

static void the_old_version_may_be_from_an_earlier_session(void **state)
{
	(void)state;
	read_lib(old, old_data);
	close_store();
	open_store(fake_source_of(fake));
	read_lib(old, old_data);
	assert_int_equal(frames_fetched(built_old) / (PIECES + 1), 1);
	read_lib(new, new_data);
	assert_true(fake_source_wait_idle(fake));
	assert_in_range(frames_fetched(built_new), CHANGED_TO - CHANGED_FROM,
		CHANGED_TO - CHANGED_FROM + 1);
}

static void more_catalogs_than_there_is_room_for_push_the_oldest_out(void **state)
{
	struct catalog *more[REUSE_CATALOGS_MAX];
	static struct reuse_table table;

	(void)state;
	reuse_init(&table);
	reuse_offer(&table, old);
	assert_int_equal(old->refs, 1);
	reuse_offer(&table, old);
	assert_int_equal(old->refs, 1);
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		more[i] = built_open(built_new);
		reuse_offer(&table, more[i]);
	}
	assert_int_equal(old->refs, 0);
	assert_int_equal(more[ARRAY_SIZE(more) - 1]->refs, 1);
	reuse_release(&table);
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		catalog_close(more[i]);
}

/* A catalog of one file of so many chunks. */
static struct built_catalog *one_of(uint32_t chunks)
{
	static uint8_t bytes[REUSE_SUPERSEDED_PIECES_MAX / 2 * 16];
	struct catalog_builder *b = builder_new("pkg");

	builder_share_chunks(b);
	builder_file(b, BUILDER_TOP, "lib", bytes, (size_t)chunks * 16, 16);
	return builder_finish(b);
}

static void of_what_nobody_shows_any_more_only_the_newest_stay(void **state)
{
	struct reuse_table *table = &store->reuse;
	struct catalog *shown = built_open(built_old);
	struct catalog *past[REUSE_CATALOGS_MAX / 2];

	(void)state;
	reuse_offer(table, shown);
	for (size_t i = 0; i < ARRAY_SIZE(past); i++) {
		past[i] = built_open(built_old);
		reuse_offer(table, past[i]);
	}
	content_store_let_go(store);
	assert_int_equal(table->catalog_count, ARRAY_SIZE(past) + 1);
	assert_true(reuse_has(store, new, &new->chunks[0]) == false);
	assert_non_null(table->entries);
	for (size_t i = 0; i < ARRAY_SIZE(past); i++) {
		assert_int_equal(past[i]->refs, 1);
		catalog_close(past[i]);
	}
	content_store_let_go(store);
	assert_int_equal(table->catalog_count, REUSE_SUPERSEDED_MAX + 1);
	assert_ptr_equal(table->catalogs[0], shown);
	assert_ptr_equal(
		table->catalogs[1], past[ARRAY_SIZE(past) - REUSE_SUPERSEDED_MAX]);
	assert_null(table->entries);
	/* the one that is shown is found still, and so is what came after it */
	assert_int_equal(prefetch(shown, NULL), 0);
	progress = (struct prefetch_progress){0};
	assert_int_equal(prefetch(new, NULL), 0);
	assert_int_equal(
		progress.bytes_reused, SIZE - (CHANGED_TO - CHANGED_FROM) * CHUNK);
	catalog_close(shown);
}

static void a_large_one_that_nobody_shows_pushes_the_older_out(void **state)
{
	struct reuse_table *table = &store->reuse;
	struct built_catalog *large = one_of(REUSE_SUPERSEDED_PIECES_MAX / 2);
	struct catalog *past[3];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(past); i++) {
		past[i] = built_open(large);
		reuse_offer(table, past[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(past); i++)
		catalog_close(past[i]);
	content_store_let_go(store);
	assert_int_equal(table->catalog_count, 2);
	assert_ptr_equal(table->catalogs[0], past[1]);
	built_free(large);
}

static void a_chunk_that_is_everywhere_is_indexed_a_few_times(void **state)
{
	static uint8_t zeros[200 * CHUNK];
	struct catalog_builder *b = builder_new("pkg/3");

	(void)state;
	builder_share_chunks(b);
	builder_file(b, BUILDER_TOP, "disk", zeros, sizeof(zeros), CHUNK);
	struct built_catalog *third = builder_finish(b);
	struct catalog *c = built_open(third);

	fake_source_serve(fake, third);
	assert_int_equal(prefetch(c, NULL), 0);
	assert_in_range(store->reuse.used, 1, 8);
	assert_true(fake_source_wait_idle(fake));
	close_store();
	open_store(fake_source_of(fake));
	catalog_close(c);
	built_free(third);
}

static void without_memory_all_is_fetched(void **state)
{
	(void)state;
	assert_int_equal(prefetch(old, NULL), 0);
	int r = -ENOMEM;

	for (long n = 0; r != 0 || progress.contents_failed; n++) {
		assert_true(n < 500);
		progress = (struct prefetch_progress){0};
		mem_fail_after(n);
		r = prefetch(new, old);
		mem_fail_after(-1);
		assert_true(r == 0 || r == -ENOMEM);
		assert_true(fake_source_wait_idle(fake));
	}
	expect_lib(new, new_data);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make_versions, drop_versions)
	const struct CMUnitTest tests[] = {
		T(a_new_version_fetches_only_what_the_old_one_lacks),
		T(of_a_sibling_that_is_not_here_nothing_is_taken),
		T(a_partial_serves_what_it_has),
		T(damaged_bytes_are_fetched_instead),
		T(a_reader_of_the_new_version_waits_only_for_what_changed),
		T(the_old_version_may_be_from_an_earlier_session),
		T(more_catalogs_than_there_is_room_for_push_the_oldest_out),
		T(of_what_nobody_shows_any_more_only_the_newest_stay),
		T(a_large_one_that_nobody_shows_pushes_the_older_out),
		T(a_chunk_that_is_everywhere_is_indexed_a_few_times),
		T(without_memory_all_is_fetched),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
