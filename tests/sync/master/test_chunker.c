/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/ingest/chunks/chunker.h"
#include "tests/sync/master/support.h"

#include "cache/base/memory.h"

#include <string.h>

#define DATA_BYTES (8 * 1024 * 1024)
#define CUTS_MAX   (DATA_BYTES / CHUNK_MIN_BYTES + 2)

static uint8_t *random_data(size_t len)
{
	uint64_t *data = mem_alloc(len + 8);

	assert_non_null(data);
	for (size_t i = 0; i <= len / 8; i++)
		data[i] = hash64(&i, sizeof(i), 42);
	return (uint8_t *)data;
}

static size_t cut_all(const uint8_t *data, size_t len, size_t *lengths)
{
	size_t n = 0;

	while (len) {
		size_t cut = chunker_cut(data, len);

		assert_in_range(cut, 1, len);
		lengths[n++] = cut;
		data += cut;
		len -= cut;
	}
	return n;
}

static void chunks_keep_their_bounds_and_average(void **state)
{
	(void)state;
	AUTO_FREE uint8_t *data = random_data(DATA_BYTES);
	AUTO_FREE size_t *lengths = mem_calloc(CUTS_MAX, sizeof(*lengths));
	size_t n = cut_all(data, DATA_BYTES, lengths);

	for (size_t i = 0; i + 1 < n; i++)
		assert_in_range(lengths[i], CHUNK_MIN_BYTES, CHUNK_MAX_BYTES);
	assert_in_range(DATA_BYTES / n, CHUNK_AVG_BYTES / 2, CHUNK_AVG_BYTES * 2);
}

static void small_files_are_one_chunk(void **state)
{
	(void)state;
	AUTO_FREE uint8_t *data = random_data(CHUNK_MIN_BYTES);

	assert_int_equal(chunker_cut(data, 1), 1);
	assert_int_equal(chunker_cut(data, CHUNK_MIN_BYTES), CHUNK_MIN_BYTES);
}

static void equal_bytes_are_cut_at_the_maximum(void **state)
{
	(void)state;
	AUTO_FREE uint8_t *data = mem_calloc(1, DATA_BYTES);

	assert_int_equal(chunker_cut(data, DATA_BYTES), CHUNK_MAX_BYTES);
}

/* The table and masks are part of what makes two publishes share chunks: a change of them
 * must not go unnoticed. */
static void boundaries_are_those_of_every_version(void **state)
{
	(void)state;
	AUTO_FREE uint8_t *data = random_data(DATA_BYTES);
	AUTO_FREE size_t *lengths = mem_calloc(CUTS_MAX, sizeof(*lengths));
	static const size_t known[] = {69838, 141051, 150366, 71921, 109962, 68540};

	assert_in_range(cut_all(data, DATA_BYTES, lengths), ARRAY_SIZE(known), CUTS_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		assert_int_equal(lengths[i], known[i]);
}

static void an_insertion_moves_few_boundaries(void **state)
{
	(void)state;
	AUTO_FREE uint8_t *data = random_data(DATA_BYTES);
	AUTO_FREE uint8_t *longer = mem_alloc(DATA_BYTES + 100);
	AUTO_FREE size_t *a = mem_calloc(CUTS_MAX, sizeof(*a));
	AUTO_FREE size_t *b = mem_calloc(CUTS_MAX, sizeof(*b));
	size_t at = DATA_BYTES / 2;

	memcpy(longer, data, at);
	memset(longer + at, 'x', 100);
	memcpy(longer + at + 100, data + at, DATA_BYTES - at);
	size_t n = cut_all(data, DATA_BYTES, a);
	size_t m = cut_all(longer, DATA_BYTES + 100, b);
	size_t head = 0;
	size_t tail = 0;

	while (head < n && head < m && a[head] == b[head])
		head++;
	while (tail < n - head && tail < m - head && a[n - 1 - tail] == b[m - 1 - tail])
		tail++;
	assert_true(head + tail + 6 >= n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks_keep_their_bounds_and_average),
		cmocka_unit_test(small_files_are_one_chunk),
		cmocka_unit_test(equal_bytes_are_cut_at_the_maximum),
		cmocka_unit_test(boundaries_are_those_of_every_version),
		cmocka_unit_test(an_insertion_moves_few_boundaries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
