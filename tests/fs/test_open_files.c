/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/cache_scene.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "fs/session/open_files.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define FILES	(OPEN_FILES_IDLE_MAX + 40)
#define NODE	UINT64_C(0x100000007)
#define THREADS 6

static struct built_catalog *built;
static struct catalog *catalog;
static struct open_files files;

static const struct catalog_content *content_at(unsigned int i)
{
	char name[16];
	int n = snprintf(name, sizeof(name), "file%u", i);
	uint32_t index = catalog_lookup(catalog, 0, name, (size_t)n);

	return catalog_content_of(catalog, catalog_entry(catalog, index));
}

static int setup(void **state)
{
	struct catalog_builder *b = builder_new("");
	char name[16];
	char text[32];

	(void)state;
	cache_make(NULL);
	for (unsigned int i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "file%u", i);
		int n = snprintf(text, sizeof(text), "content of %u", i);

		builder_file(b, BUILDER_TOP, name, text, (size_t)n, 64);
	}
	built = builder_finish(b);
	catalog = built_open(built);
	for (unsigned int i = 0; i < FILES; i++) {
		int n = snprintf(text, sizeof(text), "content of %u", i);

		assert_int_equal(object_store_put(objects, &content_at(i)->digest, text,
					 (size_t)n),
			0);
	}
	assert_int_equal(open_files_init(&files, contents), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	open_files_release(&files);
	cache_drop();
	catalog_close(catalog);
	built_free(built);
	return 0;
}

static struct open_file *get(unsigned int i)
{
	struct open_file *f = NULL;

	assert_int_equal(open_files_get(&files, NODE + i, catalog, content_at(i), &f), 0);
	return f;
}

/* Opened and read once: now it has a descriptor. */
static struct open_file *get_read(unsigned int i)
{
	struct open_file *f = get(i);
	struct content_span span;

	assert_int_equal(content_read(open_file_content(f), 0, 1, &span, NULL), 1);
	content_span_release(&span);
	return f;
}

static void the_first_open_decides_until_the_last_is_closed(void **state)
{
	int id = -1;

	(void)state;
	assert_false(open_files_join(&files, NODE, &id));
	assert_int_equal(open_files_begin(&files, NODE, 0, &id), 0);
	assert_int_equal(id, 0);
	/* it has become complete meanwhile: whoever opens now stays in cached mode */
	assert_true(open_files_join(&files, NODE, &id));
	assert_int_equal(id, 0);
	assert_int_equal(open_files_begin(&files, NODE, 5, &id), 0);
	assert_int_equal(id, 0);
	assert_int_equal(open_files_leave(&files, NODE), 0);
	assert_int_equal(open_files_leave(&files, NODE), 0);
	assert_int_equal(open_files_leave(&files, NODE), 0);
	assert_false(open_files_join(&files, NODE, &id));
	assert_int_equal(open_files_begin(&files, NODE, 5, &id), 0);
	assert_int_equal(id, 5);
	open_files_leave(&files, NODE);
}

static void all_opens_share_the_backing_id_of_the_first(void **state)
{
	int id = -1;

	(void)state;
	assert_int_equal(open_files_begin(&files, NODE, 7, &id), 0);
	assert_int_equal(open_files_begin(&files, NODE, 8, &id), 0);
	assert_int_equal(id, 7);
	assert_true(open_files_join(&files, NODE, &id));
	assert_int_equal(id, 7);
	assert_int_equal(open_files_leave(&files, NODE), 0);
	assert_int_equal(open_files_leave(&files, NODE), 0);
	/* only now may it be dropped, and once */
	assert_int_equal(open_files_leave(&files, NODE), 7);
	assert_int_equal(open_files_leave(&files, NODE), 0);
}

static void a_read_does_not_count_as_an_open(void **state)
{
	int id;

	(void)state;
	struct open_file *f = get(0);

	assert_false(open_files_join(&files, NODE, &id));
	assert_int_equal(open_files_begin(&files, NODE, 9, &id), 0);
	assert_int_equal(id, 9);
	open_files_put(&files, f);
	assert_true(open_files_join(&files, NODE, &id));
	assert_int_equal(open_files_leave(&files, NODE), 0);
	assert_int_equal(open_files_leave(&files, NODE), 9);
}

static void a_content_closes_with_the_last_open_but_not_under_a_read(void **state)
{
	unsigned int before = open_descriptors();

	(void)state;
	struct open_file *f = get_read(1);

	assert_int_equal(open_descriptors(), before + 1);
	assert_int_equal(open_files_leave(&files, NODE + 1), 0);
	assert_int_equal(open_descriptors(), before + 1);
	open_files_put(&files, f);
	assert_int_equal(open_files_leave(&files, NODE + 1), 0);
	assert_int_equal(open_descriptors(), before);
}

static void idle_contents_are_bounded_and_closed_after_a_while(void **state)
{
	unsigned int before = open_descriptors();

	(void)state;
	for (unsigned int i = 0; i < FILES; i++)
		open_files_put(&files, get_read(i));
	assert_int_equal(open_descriptors(), before + OPEN_FILES_IDLE_MAX);
	/* the newest are kept */
	open_files_put(&files, get(FILES - 1));
	assert_int_equal(open_descriptors(), before + OPEN_FILES_IDLE_MAX);
	int64_t until_ns = clock_mono_ns() + 24 * OPEN_FILES_IDLE_NS;

	while (open_descriptors() != before && clock_mono_ns() < until_ns)
		(void)usleep(100000);
	assert_int_equal(open_descriptors(), before);
}

static void no_memory_is_an_error_and_nothing_else(void **state)
{
	struct open_file *f;
	int id = 3;

	(void)state;
	mem_fail_after(0);
	assert_int_equal(open_files_begin(&files, NODE, 1, &id), -ENOMEM);
	mem_fail_after(-1);
	assert_int_equal(id, 3);
	assert_false(open_files_join(&files, NODE, &id));
	for (long n = 0; n < 2; n++) {
		unsigned int before = open_descriptors();

		mem_fail_after(n);
		assert_int_equal(open_files_get(&files, NODE, catalog, content_at(0), &f),
			-ENOMEM);
		mem_fail_after(-1);
		assert_int_equal(open_descriptors(), before);
	}
}

static atomic_int next_id;
static atomic_int ids_held;
static atomic_int failures;

static int open_one(uint64_t node)
{
	int id;

	if (open_files_join(&files, node, &id))
		return id;
	int mine = atomic_fetch_add(&next_id, 1) + 1;

	atomic_fetch_add(&ids_held, 1);
	if (open_files_begin(&files, node, mine, &id) < 0)
		atomic_fetch_add(&failures, 1);
	if (id != mine)
		atomic_fetch_sub(&ids_held, 1);
	return id;
}

static void *open_and_close(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;

	for (int round = 0; round < 4000; round++) {
		unsigned int i = (unsigned int)rand_r(&seed) % 4;
		struct open_file *f;
		int first = open_one(NODE + i);
		int second = open_one(NODE + i);

		if (first <= 0 || first != second)
			atomic_fetch_add(&failures, 1);
		if (open_files_get(&files, NODE + i, catalog, content_at(i), &f) < 0)
			atomic_fetch_add(&failures, 1);
		else
			open_files_put(&files, f);
		for (int opens = 0; opens < 2; opens++)
			if (open_files_leave(&files, NODE + i))
				atomic_fetch_sub(&ids_held, 1);
	}
	return NULL;
}

static void many_threads_agree_and_drop_every_id(void **state)
{
	pthread_t threads[THREADS];

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(thread_start(&threads[i], "opener", open_and_close,
					 (void *)(i + 1)),
			0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&failures), 0);
	assert_int_equal(atomic_load(&ids_held), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_first_open_decides_until_the_last_is_closed),
		T(all_opens_share_the_backing_id_of_the_first),
		T(a_read_does_not_count_as_an_open),
		T(a_content_closes_with_the_last_open_but_not_under_a_read),
		T(idle_contents_are_bounded_and_closed_after_a_while),
		T(no_memory_is_an_error_and_nothing_else),
		T(many_threads_agree_and_drop_every_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
