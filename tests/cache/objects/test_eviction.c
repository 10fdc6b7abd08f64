/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/objects/bounds/eviction.h"

#include <errno.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)

/* Each is told by the first byte of its digest. */
static struct eviction_item item(
	uint8_t name, uint64_t bytes, int64_t last_use, enum eviction_class class)
{
	return (struct eviction_item){.digest.bytes[0] = name,
		.disk_bytes = bytes,
		.last_use_ns = last_use,
		.class = class};
}

static void expect_order(const struct eviction_item *items, size_t n, const char *names)
{
	assert_int_equal(n, strlen(names));
	for (size_t i = 0; i < n; i++)
		assert_int_equal(items[i].digest.bytes[0], names[i]);
}

static void the_least_lately_used_goes_first(void **state)
{
	struct eviction_item items[] = {item('c', 10, 30, EVICTION_LIVE),
		item('a', 10, 10, EVICTION_LIVE), item('d', 10, 40, EVICTION_LIVE),
		item('b', 10, 20, EVICTION_LIVE)};
	uint64_t bytes;

	(void)state;
	expect_order(items, eviction_plan(items, 4, 20, &bytes), "ab");
	assert_true(bytes == 20);
	expect_order(items, eviction_plan(items, 4, 21, &bytes), "abc");
	assert_true(bytes == 30);
	expect_order(items, eviction_plan(items, 4, 0, &bytes), "");
	assert_int_equal(eviction_plan(NULL, 0, 100, &bytes), 0);
	assert_true(bytes == 0);
}

static void what_nobody_names_goes_before_what_is_stale_and_that_before_the_live(
	void **state)
{
	struct eviction_item items[] = {item('l', 10, 1, EVICTION_LIVE),
		item('s', 10, 2, EVICTION_STALE), item('u', 10, 3, EVICTION_UNREFERENCED),
		item('t', 10, 1, EVICTION_STALE)};
	uint64_t bytes;

	(void)state;
	expect_order(items, eviction_plan(items, 4, 40, &bytes), "utsl");
}

static void evict_keeps_pinned_objects(void **state)
{
	struct eviction_item items[] = {item('p', 10, 1, EVICTION_UNREFERENCED),
		item('a', 10, 5, EVICTION_LIVE), item('q', 10, 2, EVICTION_LIVE)};
	uint64_t bytes;

	(void)state;
	items[0].is_kept = true;
	items[2].is_kept = true;
	/* whatever is wanted */
	expect_order(items, eviction_plan(items, 3, 1000, &bytes), "a");
	assert_true(bytes == 10);
}

static void within_its_bounds_nothing_has_to_go(void **state)
{
	struct eviction_bounds b = {.limit_bytes = 1000, .floor_bytes = 100};
	struct eviction_bounds none = {0};

	(void)state;
	assert_true(eviction_wanted(&b, 950, 100) == 0);
	assert_true(eviction_wanted(&b, 0, 100) == 0);
	assert_true(eviction_wanted(&none, 1 << 20, 0) == 0);
}

static void over_a_mark_it_comes_down_to_the_lower_one(void **state)
{
	struct eviction_bounds b = {.limit_bytes = 1000, .floor_bytes = 100};

	(void)state;
	assert_true(eviction_wanted(&b, 951, 100) == 51);
	assert_true(eviction_wanted(&b, 1200, 100) == 300);
	assert_true(eviction_wanted(&b, 0, 99) == 26);
	assert_true(eviction_wanted(&b, 0, 0) == 125);
	/* the greater need counts */
	assert_true(eviction_wanted(&b, 951, 0) == 125);
	assert_true(eviction_wanted(&b, 1200, 99) == 300);
}

static void sizes_are_read(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"0", 0}, {"1", 1}, {"4096", 4096}, {"1K", 1024}, {"3M", 3 << 20},
		{"10G", 10 * GIB}, {"2T", 2048 * GIB},
		{"16777215T", UINT64_C(16777215) << 40}};
	static const char *const bad[] = {"", "G", "1g", "1 G", "-1", "1.5G", "1GB",
		"1G1", "%", "5%", "99999999999999999999", "99999999999999999999999999999",
		"16777216T"};
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(eviction_parse_size(good[i].text, &bytes), 0);
		assert_true(bytes == good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(eviction_parse_size(bad[i], &bytes) < 0);
}

static void floors_are_bytes_or_a_share_of_the_disk(void **state)
{
	static const char *const bad[] = {
		"", "%", "100%", "5 %", "-5%", "1G%", "1000%", "x"};
	struct eviction_floor floor = {0};

	(void)state;
	/* what nobody said: 5 %, 1 GiB at most */
	assert_true(eviction_floor_bytes(&floor, 10 * GIB) == 10 * GIB / 100 * 5);
	assert_true(eviction_floor_bytes(&floor, 1000 * GIB) == GIB);
	assert_int_equal(eviction_parse_floor("3G", &floor), 0);
	assert_true(eviction_floor_bytes(&floor, 10 * GIB) == 3 * GIB);
	assert_int_equal(eviction_parse_floor("20%", &floor), 0);
	assert_true(eviction_floor_bytes(&floor, 1000 * GIB) == 1000 * GIB / 100 * 20);
	assert_int_equal(eviction_parse_floor("0", &floor), 0);
	assert_true(eviction_floor_bytes(&floor, 10 * GIB) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(eviction_parse_floor(bad[i], &floor), -EINVAL);
	assert_int_equal(floor.unit, EVICTION_FLOOR_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_lately_used_goes_first),
		cmocka_unit_test(
			what_nobody_names_goes_before_what_is_stale_and_that_before_the_live),
		cmocka_unit_test(evict_keeps_pinned_objects),
		cmocka_unit_test(within_its_bounds_nothing_has_to_go),
		cmocka_unit_test(over_a_mark_it_comes_down_to_the_lower_one),
		cmocka_unit_test(sizes_are_read),
		cmocka_unit_test(floors_are_bytes_or_a_share_of_the_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
