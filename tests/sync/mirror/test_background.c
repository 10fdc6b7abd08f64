/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Background transfers: they keep to their rate, stop for readers, and lose nothing by it. */
#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"
#include "tests/sync/mirror/fetch_scene.h"

#include <errno.h>
#include <unistd.h>

#define HOLD_MS 300
#define COUNT	4

/* How long a demand that hangs is waited for; also of the background, whose stalls are none. */
#define DEMAND_MS 5000

/* Nothing comes for so long: what is held is at rest. */
#define REST_MS 500

static struct server server;
static struct fetcher *fetcher;
static struct source *source;
static struct waited w[COUNT];

static void open_with(const char *mode, const char *only)
{
	struct fetcher_config config = {.timeout_ms = DEMAND_MS, .hold_ms = HOLD_MS};

	server_start(&server, depot.dir, mode, only, NULL);
	config.urls = server.url;
	assert_int_equal(fetcher_new(&config, &fetcher), 0);
	source = fetcher_source(fetcher);
	wait_init_all(w, COUNT, FETCH_BACKGROUND);
}

static void close_all(void)
{
	fetcher_free(fetcher);
	wait_release_all(w, COUNT);
	server_stop(&server);
}

static void set(uint64_t bytes_per_sec, bool is_paused)
{
	const struct rate_limit limit = {
		.kind = bytes_per_sec ? RATE_FIXED : RATE_UNLIMITED,
		.bytes_per_sec = bytes_per_sec};

	source_set_background(source, &limit, is_paused);
}

static void wait_for(unsigned int delivered)
{
	int64_t until_ns = clock_mono_ns() + PATIENT_S * NS_PER_SEC;

	while (wait_delivered(&w[0]) < delivered) {
		assert_true(clock_mono_ns() < until_ns);
		usleep(5000);
	}
}

/* Returns how many have come when it is at rest. */
static unsigned int wait_until_at_rest(void)
{
	unsigned int before;

	do {
		before = wait_delivered(&w[0]);
		usleep(REST_MS * 1000);
	} while (wait_delivered(&w[0]) != before);
	return before;
}

static uint64_t fetched_bytes(void)
{
	struct source_status status;

	source_status(source, &status);
	return status.fetched_bytes;
}

static void without_a_limit_it_comes_whole(void **state)
{
	(void)state;
	open_with("ok", NULL);
	for (size_t i = 0; i < COUNT; i++)
		wait_fetch_frames(&w[i], source, 0, DEPOT_FRAMES, PATIENT_MS);
	wait_end_all(w, COUNT, PATIENT_S);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(w[i].delivered, DEPOT_FRAMES);
	assert_int_equal(fetched_bytes(), COUNT * depot.pack_bytes);
	close_all();
}

static void it_holds_a_rate_over_all_transfers(void **state)
{
	const int64_t ms = 4000;
	uint64_t rate = depot.pack_bytes * 1000 / (uint64_t)ms;
	int64_t start_ns = clock_mono_ns();

	(void)state;
	open_with("ok", NULL);
	set(rate, false);
	for (size_t i = 0; i < COUNT; i++)
		wait_fetch_frames(&w[i], source, i * DEPOT_FRAMES / COUNT,
			DEPOT_FRAMES / COUNT, PATIENT_MS);
	wait_end_all(w, COUNT, PATIENT_S);
	/* how near it comes is measured by tests/bench, where nobody else is at work */
	assert_true((clock_mono_ns() - start_ns) / NS_PER_MS >= ms * 9 / 10);
	close_all();
}

static void a_pause_stops_it_in_the_middle_and_nothing_comes_twice(void **state)
{
	(void)state;
	open_with("ok", NULL);
	set(0, true);
	wait_fetch_frames(&w[0], source, 0, DEPOT_FRAMES, 200);
	usleep(400 * 1000);
	assert_int_equal(wait_delivered(&w[0]), 0);
	/* its deadline has passed meanwhile, which is not its fault */
	/* all of it takes a quarter of a minute */
	set(150000, false);
	wait_for(3);
	set(150000, true);
	unsigned int delivered = wait_until_at_rest();

	/* longer than any stall may last */
	usleep((DEMAND_MS + 200) * 1000);
	assert_int_equal(wait_delivered(&w[0]), delivered);
	assert_true(delivered < DEPOT_FRAMES);
	set(0, false);
	assert_int_equal(wait_end(&w[0], PATIENT_S), 0);
	assert_int_equal(w[0].delivered, DEPOT_FRAMES);
	assert_int_equal(fetched_bytes(), depot.pack_bytes);
	close_all();
}

static void a_catalog_comes_in_pieces_too(void **state)
{
	(void)state;
	open_with("ok", NULL);
	/* all of it takes half a minute */
	set(depot.catalog.stored_bytes / 30 + 1, false);
	wait_fetch_catalog(&w[0], source, PATIENT_MS);
	usleep(300 * 1000);
	set(0, true);
	usleep(500 * 1000);
	assert_false(w[0].is_done);
	set(0, false);
	assert_int_equal(wait_end(&w[0], PATIENT_S), 0);
	assert_int_equal(w[0].delivered, 1);
	assert_int_equal(fetched_bytes(), depot.catalog.stored_bytes);
	close_all();
}

/* The demand hangs for DEMAND_MS; what is held for longer than HOLD_MS lets its connection go,
 * and its rest is asked for anew. */
static void it_stops_for_a_demand_and_goes_on_where_it_was(void **state)
{
	struct waited demand;

	(void)state;
	open_with("hang", "/catalog/*");
	set(150000, false);
	wait_init(&demand, &depot);
	wait_fetch_frames(&w[0], source, 0, DEPOT_FRAMES, TIMEOUT_MS);
	wait_for(3);
	wait_fetch_catalog(&demand, source, DEMAND_MS);
	unsigned int delivered = wait_until_at_rest();

	assert_true(delivered < DEPOT_FRAMES / 2);
	usleep((2 * HOLD_MS + 400) * 1000);
	unsigned int later = wait_delivered(&w[0]);

	if (wait_is_done(&demand))
		print_message("this machine is too busy to see that it stays so\n");
	else
		assert_int_equal(later, delivered);
	assert_int_equal(wait_end(&demand, PATIENT_S), -EHOSTUNREACH);
	wait_release(&demand);
	set(0, false);
	assert_int_equal(wait_end(&w[0], PATIENT_S), 0);
	assert_int_equal(w[0].delivered, DEPOT_FRAMES);
	assert_int_equal(w[0].refused, 0);
	assert_int_equal(fetched_bytes(), depot.pack_bytes);
	close_all();
}

static void a_demand_waits_for_no_rate_and_no_window(void **state)
{
	(void)state;
	open_with("ok", NULL);
	set(1, true);
	wait_fetch_frames(&w[0], source, 0, DEPOT_FRAMES, PATIENT_MS);
	wait_fetch_frames(&w[1], source, 0, DEPOT_FRAMES, PATIENT_MS);
	w[2].class = FETCH_DEMAND;
	wait_fetch_frames(&w[2], source, 0, DEPOT_FRAMES, PATIENT_MS);
	assert_int_equal(wait_end(&w[2], PATIENT_S), 0);
	/* and so does a reader who joins what waits */
	atomic_store(&w[1].frames.is_awaited, true);
	source_hurry(source);
	assert_int_equal(wait_end(&w[1], PATIENT_S), 0);
	/* or what crawls */
	set(1, false);
	usleep(200 * 1000);
	assert_false(w[0].is_done);
	atomic_store(&w[0].frames.is_awaited, true);
	source_hurry(source);
	assert_int_equal(wait_end(&w[0], PATIENT_S), 0);
	close_all();
}

/* However long it has waited for a window: its deadline is counted from when the reader came. */
static void who_joins_what_has_waited_for_long_is_served(void **state)
{
	(void)state;
	open_with("ok", NULL);
	set(0, true);
	wait_fetch_frames(&w[0], source, 0, DEPOT_FRAMES, 3000);
	usleep(3300 * 1000);
	assert_false(w[0].is_done);
	atomic_store(&w[0].frames.is_awaited, true);
	source_hurry(source);
	assert_int_equal(wait_end(&w[0], PATIENT_S), 0);
	close_all();
}

/* Once: each further try goes by the same deadline, else it would never end. */
static void who_joins_what_fails_is_told_in_time(void **state)
{
	(void)state;
	open_with("500", NULL);
	set(0, true);
	wait_fetch_frames(&w[0], source, 0, DEPOT_FRAMES, 2000);
	usleep(200 * 1000);
	atomic_store(&w[0].frames.is_awaited, true);
	source_hurry(source);
	assert_int_equal(wait_end(&w[0], PATIENT_S), -EHOSTUNREACH);
	close_all();
}

static void from_a_local_path_it_keeps_to_its_rate_too(void **state)
{
	int64_t start_ns = clock_mono_ns();

	(void)state;
	fetcher = open_fetcher(depot.url);
	source = fetcher_source(fetcher);
	set(depot.pack_bytes, false);
	wait_init(&w[0], &depot);
	w[0].class = FETCH_BACKGROUND;
	wait_fetch_frames(&w[0], source, 0, DEPOT_FRAMES, PATIENT_MS);
	assert_int_equal(wait_end(&w[0], PATIENT_S), 0);
	assert_true((clock_mono_ns() - start_ns) / NS_PER_MS >= 700);
	fetcher_free(fetcher);
	wait_release(&w[0]);
}

static void when_idle_is_wanted_an_idle_line_is_used(void **state)
{
	const struct rate_limit idle = {.kind = RATE_IDLE};

	(void)state;
	open_with("ok", NULL);
	source_set_background(source, &idle, false);
	for (size_t i = 0; i < COUNT; i++)
		wait_fetch_frames(&w[i], source, 0, DEPOT_FRAMES, PATIENT_MS);
	wait_end_all(w, COUNT, PATIENT_S);
	close_all();
}

static void shutdown_ends_what_is_paused_and_what_is_held(void **state)
{
	(void)state;
	for (int is_paused = 0; is_paused < 2; is_paused++) {
		open_with("ok", NULL);
		set(1, is_paused);
		for (size_t i = 0; i < COUNT; i++)
			wait_fetch_frames(&w[i], source, 0, DEPOT_FRAMES, PATIENT_MS);
		usleep(100 * 1000);
		wait_shut_down(w, COUNT, fetcher);
		server_stop(&server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_limit_it_comes_whole),
		cmocka_unit_test(it_holds_a_rate_over_all_transfers),
		cmocka_unit_test(a_pause_stops_it_in_the_middle_and_nothing_comes_twice),
		cmocka_unit_test(a_catalog_comes_in_pieces_too),
		cmocka_unit_test(it_stops_for_a_demand_and_goes_on_where_it_was),
		cmocka_unit_test(a_demand_waits_for_no_rate_and_no_window),
		cmocka_unit_test(who_joins_what_has_waited_for_long_is_served),
		cmocka_unit_test(who_joins_what_fails_is_told_in_time),
		cmocka_unit_test(from_a_local_path_it_keeps_to_its_rate_too),
		cmocka_unit_test(when_idle_is_wanted_an_idle_line_is_used),
		cmocka_unit_test(shutdown_ends_what_is_paused_and_what_is_held),
	};

	return cmocka_run_group_tests(tests, make_depot, drop_depot);
}
