/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/objects/bounds/evictor.h"
#include "cache/objects/object_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define OBJECT_BYTES 8192
#define OBJECTS	     20
#define PATIENCE_NS  (120 * NS_PER_SEC)
#define HOUR_NS	     (3600 * NS_PER_SEC)

static struct scratch scratch;
static struct checkpoint *checkpoint;
static struct object_store *store;
static struct catalog_store *catalogs;
static struct evictor *evictor;
static uint64_t object_bytes; /* on disk */
static const atomic_bool go_on;

/* What the judge of these tests knows. */
static uint8_t pinned; /* an object's number */
static uint8_t unreferenced;
static uint8_t stale;
static int begin_error;
static atomic_uint rounds;

static struct digest digest_at(unsigned int i)
{
	return (struct digest){.bytes = {(uint8_t)(i * 7), (uint8_t)i}};
}

static void path_at(unsigned int i, char out[128])
{
	struct digest digest = digest_at(i);
	char hex[DIGEST_HEX_SIZE];

	digest_to_hex(&digest, hex);
	(void)snprintf(out, 128, "objects/%.2s/%s", hex, hex);
}

/* Landed and last used so many hours ago. */
static void set_age(const char *path, unsigned int landed, unsigned int used)
{
	int64_t now_ns = clock_real_ns();
	struct timespec t[2] = {{.tv_sec = (now_ns - used * HOUR_NS) / NS_PER_SEC},
		{.tv_sec = (now_ns - landed * HOUR_NS) / NS_PER_SEC}};

	assert_int_equal(utimensat(scratch.fd, path, t, 0), 0);
}

static bool is_here(unsigned int i)
{
	char path[128];

	path_at(i, path);
	return scratch_has(&scratch, path);
}

static uint64_t used(void)
{
	return usage_total(object_store_usage(store));
}

/* Object i was used i + 1 hours after object 0; all landed earlier. */
static int make(void **state)
{
	static uint8_t data[OBJECT_BYTES];

	(void)state;
	pinned = unreferenced = stale = UINT8_MAX;
	begin_error = 0;
	atomic_store(&rounds, 0);
	scratch_make(&scratch);
	assert_int_equal(checkpoint_open(scratch.fd, &checkpoint), 0);
	assert_int_equal(object_store_open(scratch.fd, checkpoint, &store), 0);
	assert_int_equal(catalog_store_open(scratch.fd, &catalogs), 0);
	catalog_store_count_in(catalogs, object_store_usage(store));
	memset(data, 'x', sizeof(data));
	for (unsigned int i = 0; i < OBJECTS; i++) {
		struct digest digest = digest_at(i);
		char path[128];

		assert_int_equal(object_store_put(store, &digest, data, sizeof(data)), 0);
		path_at(i, path);
		set_age(path, 1000, 500 - i);
	}
	object_bytes = used() / OBJECTS;
	assert_true(object_bytes >= OBJECT_BYTES);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	evictor_stop(evictor);
	evictor = NULL;
	catalog_store_free(catalogs);
	object_store_free(store);
	checkpoint_free(checkpoint);
	scratch_remove(&scratch);
	return 0;
}

static atomic_bool is_begun;

static int begin(void *arg)
{
	(void)arg;
	atomic_fetch_add(&rounds, 1);
	atomic_store(&is_begun, begin_error == 0);
	return begin_error;
}

static void end(void *arg)
{
	(void)arg;
	atomic_store(&is_begun, false);
}

static void judge(void *arg, struct eviction_item *item)
{
	uint8_t i = item->digest.bytes[1];

	(void)arg;
	if (!atomic_load(&is_begun))
		abort();
	if (item->kind == USAGE_CATALOGS) {
		item->is_kept = false;
		item->class = EVICTION_UNREFERENCED;
	}
	if (item->kind != USAGE_OBJECTS)
		return;
	if (i == pinned)
		item->is_kept = true;
	if (i == unreferenced)
		item->class = EVICTION_UNREFERENCED;
	if (i == stale)
		item->class = EVICTION_STALE;
}

static void start(uint64_t limit_bytes, uint64_t floor_bytes)
{
	struct evictor_config config = {.cache_dirfd = scratch.fd,
		.objects = store,
		.catalogs = catalogs,
		.limit_bytes = limit_bytes,
		.floor = {EVICTION_FLOOR_BYTES, floor_bytes},
		.judge = {.begin = begin, .judge = judge, .end = end}};

	assert_int_equal(evictor_start(&config, &evictor), 0);
}

static bool comes_down_to(uint64_t bytes)
{
	int64_t until_ns = clock_mono_ns() + PATIENCE_NS;

	while (used() > bytes && clock_mono_ns() < until_ns)
		(void)nanosleep(&(struct timespec){.tv_nsec = 5 * NS_PER_MS}, NULL);
	return used() <= bytes;
}

static void expect_gone(unsigned int first, unsigned int end)
{
	for (unsigned int i = 0; i < OBJECTS; i++)
		assert_int_equal(is_here(i), i < first || i >= end);
}

static void a_cache_over_its_limit_loses_what_was_least_lately_used(void **state)
{
	(void)state;
	start(10 * object_bytes, 0);
	assert_true(comes_down_to(9 * object_bytes));
	expect_gone(0, 11);
}

static void a_cache_within_its_limit_loses_nothing(void **state)
{
	(void)state;
	assert_int_equal(mkdirat(scratch.fd, "catalog/cc", 0700), 0);
	scratch_write(&scratch,
		"catalog/cc/"
		"cc00000000000000000000000000000000000000000000000000000000000000",
		"x", 1);
	start(OBJECTS * object_bytes * 2, 0);
	evictor_stop(evictor);
	evictor = NULL;
	expect_gone(0, 0);
	assert_int_equal(atomic_load(&rounds), 0);
}

static void evict_keeps_pinned_objects(void **state)
{
	(void)state;
	pinned = 3;
	start(10 * object_bytes, 0);
	assert_true(comes_down_to(9 * object_bytes));
	assert_true(is_here(3));
	assert_false(is_here(11));
	assert_true(is_here(12));
}

static void what_nobody_names_goes_first_then_what_is_stale(void **state)
{
	(void)state;
	unreferenced = 19;
	stale = 18;
	start(19 * object_bytes, 0);
	/* 20 are here; low water is 17 */
	assert_true(comes_down_to(19 * object_bytes / 10 * 9));
	assert_false(is_here(19));
	assert_false(is_here(18));
	assert_false(is_here(0));
	for (unsigned int i = 1; i < 18; i++)
		assert_true(is_here(i));
}

static void what_a_sync_has_just_brought_counts_as_live(void **state)
{
	char path[128];

	(void)state;
	unreferenced = 19;
	path_at(19, path);
	set_age(path, 0, 0);
	start(19 * object_bytes, 0);
	assert_true(comes_down_to(19 * object_bytes / 10 * 9));
	assert_true(is_here(19));
}

static void without_a_judgement_nothing_goes(void **state)
{
	(void)state;
	begin_error = -ENOMEM;
	start(10 * object_bytes, 0);
	int64_t until_ns = clock_mono_ns() + PATIENCE_NS;

	while (atomic_load(&rounds) == 0 && clock_mono_ns() < until_ns)
		(void)nanosleep(&(struct timespec){.tv_nsec = 5 * NS_PER_MS}, NULL);
	assert_true(atomic_load(&rounds) > 0);
	evictor_stop(evictor);
	evictor = NULL;
	expect_gone(0, 0);
}

static void abandoned_partials_and_superseded_catalogs_count_and_go(void **state)
{
	static const char old[] =
		"partial/"
		"aa00000000000000000000000000000000000000000000000000000000000000";
	static const char busy[] =
		"partial/"
		"bb00000000000000000000000000000000000000000000000000000000000000";
	static const char catalog[] =
		"catalog/cc/"
		"cc00000000000000000000000000000000000000000000000000000000000000";
	static const char data[OBJECT_BYTES];

	(void)state;
	assert_int_equal(mkdirat(scratch.fd, "partial", 0700), 0);
	assert_int_equal(mkdirat(scratch.fd, "catalog/cc", 0700), 0);
	scratch_write(&scratch, old, data, sizeof(data));
	scratch_write(&scratch, busy, data, sizeof(data));
	scratch_write(&scratch, catalog, data, sizeof(data));
	set_age(old, 2000, 2000);
	set_age(catalog, 2000, 2000);
	/* with these three it is over its limit, and not by the objects alone */
	start(22 * object_bytes, 0);
	assert_true(comes_down_to(22 * object_bytes / 10 * 9));
	assert_false(scratch_has(&scratch, old));
	assert_false(scratch_has(&scratch, catalog));
	assert_true(scratch_has(&scratch, busy));
	assert_true(is_here(OBJECTS - 1));
	evictor_stop(evictor);
	evictor = NULL;
	uint64_t counted = used();

	object_store_scan(store, &go_on);
	assert_true(used() == counted);
}

static void landing_over_the_limit_wakes_it(void **state)
{
	static const char data[OBJECT_BYTES];

	(void)state;
	start(22 * object_bytes, 0);
	for (unsigned int i = OBJECTS; i < OBJECTS + 2; i++) {
		struct digest digest = digest_at(i);

		assert_int_equal(object_store_put(store, &digest, data, sizeof(data)), 0);
	}
	/* at once or in two rounds */
	assert_true(comes_down_to(usage_high_water(22 * object_bytes)));
	assert_true(is_here(OBJECTS + 1));
	assert_false(is_here(0));
}

static void on_a_disk_below_its_floor_all_goes_but_what_is_pinned_and_nothing_lands(
	void **state)
{
	static const char data[OBJECT_BYTES];
	struct digest digest = digest_at(OBJECTS);

	(void)state;
	pinned = 5;
	start(0, UINT64_MAX / 4);
	assert_true(comes_down_to(object_bytes));
	assert_true(is_here(5));
	evictor_stop(evictor);
	evictor = NULL;
	assert_int_equal(object_store_put(store, &digest, data, sizeof(data)), -ENOSPC);
}

static void a_disk_that_refuses_gets_room_at_once(void **state)
{
	(void)state;
	start(0, 0);
	usage_call_for_room(object_store_usage(store));
	assert_true(comes_down_to((OBJECTS - 1) * object_bytes));
	expect_gone(0, 1);
}

static void uses_are_written_down_at_the_end(void **state)
{
	struct digest digest = digest_at(0);
	struct object_times times;

	(void)state;
	object_store_scan(store, &go_on);
	start(0, 0);
	int fd = object_store_get(store, &digest, OBJECT_BYTES);

	assert_true(fd >= 0);
	close(fd);
	evictor_stop(evictor);
	evictor = NULL;
	assert_true(object_store_has(store, &digest, OBJECT_BYTES, &times));
	assert_true(times.accessed_ns > clock_real_ns() - HOUR_NS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(a_cache_over_its_limit_loses_what_was_least_lately_used),
		T(a_cache_within_its_limit_loses_nothing),
		T(evict_keeps_pinned_objects),
		T(what_nobody_names_goes_first_then_what_is_stale),
		T(what_a_sync_has_just_brought_counts_as_live),
		T(without_a_judgement_nothing_goes),
		T(abandoned_partials_and_superseded_catalogs_count_and_go),
		T(landing_over_the_limit_wakes_it),
		T(on_a_disk_below_its_floor_all_goes_but_what_is_pinned_and_nothing_lands),
		T(a_disk_that_refuses_gets_room_at_once),
		T(uses_are_written_down_at_the_end),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
