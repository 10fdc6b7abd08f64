/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "sync/mirror/fetch_job.h"
#include "tests/sync/mirror/fetch_scene.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Fetches frames through `urls`; returns what done() said and how many were taken. */
static int fetch_until(const char *urls, size_t first, size_t count, int deadline_ms,
	unsigned int *out_delivered)
{
	struct fetcher *fetcher = open_fetcher(urls);
	struct waited w;

	wait_init(&w, &depot);
	wait_fetch_frames(&w, fetcher_source(fetcher), first, count, deadline_ms);
	int r = wait_end(&w, 2 * PATIENT_S);

	fetcher_free(fetcher);
	*out_delivered = w.delivered;
	wait_release(&w);
	return r;
}

static int fetch(
	const char *urls, size_t first, size_t count, unsigned int *out_delivered)
{
	return fetch_until(urls, first, count, PATIENT_MS, out_delivered);
}

static int fetch_bad(const char *mode, int deadline_ms, unsigned int *out_delivered)
{
	struct server server;

	server_start(&server, depot.dir, mode, NULL, NULL);
	int r = fetch_until(server.url, 0, DEPOT_FRAMES, deadline_ms, out_delivered);

	server_stop(&server);
	return r;
}

static void frames_come_from_a_local_path(void **state)
{
	unsigned int delivered;

	(void)state;
	assert_int_equal(fetch(depot.url, 0, DEPOT_FRAMES, &delivered), 0);
	assert_int_equal(delivered, DEPOT_FRAMES);
	assert_int_equal(fetch(depot.url, 7, 3, &delivered), 0);
	assert_int_equal(delivered, 3);
}

static void frames_come_over_http(void **state)
{
	unsigned int delivered;

	(void)state;
	assert_int_equal(fetch_bad("ok", PATIENT_MS, &delivered), 0);
	assert_int_equal(delivered, DEPOT_FRAMES);
}

static void a_catalog_comes_whole_and_checked(void **state)
{
	static const char *const modes[] = {"ok", "flip", "html", "short", "endless"};
	static const int errors[] = {
		0, -EBADMSG, -EHOSTUNREACH, -EHOSTUNREACH, -EHOSTUNREACH};
	static const int deadlines_ms[] = {
		PATIENT_MS, PATIENT_MS, TIMEOUT_MS, TIMEOUT_MS, TIMEOUT_MS};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct server server;
		struct waited w;

		server_start(&server, depot.dir, modes[i], NULL, NULL);
		struct fetcher *fetcher = open_fetcher(server.url);

		wait_init(&w, &depot);
		wait_fetch_catalog(&w, fetcher_source(fetcher), deadlines_ms[i]);
		assert_int_equal(wait_end(&w, PATIENT_S), errors[i]);
		assert_int_equal(w.delivered, errors[i] == 0);
		assert_int_equal(w.refused, 0);
		fetcher_free(fetcher);
		wait_release(&w);
		server_stop(&server);
	}
}

static void no_misbehaviour_gets_a_wrong_byte_through(void **state)
{
	static const struct {
		const char *mode;
		int error;
		int deadline_ms; /* of what ends by it alone */
	} cases[] = {
		{"404", -ENOENT, PATIENT_MS},
		{"500", -EHOSTUNREACH, 2 * TIMEOUT_MS},
		{"redirect", -EHOSTUNREACH, 2 * TIMEOUT_MS},
		{"no-range", -EHOSTUNREACH, 2 * TIMEOUT_MS},
		{"html", -EHOSTUNREACH, 2 * TIMEOUT_MS},
		{"hang", -EHOSTUNREACH, 2 * TIMEOUT_MS},
		{"drip", -EHOSTUNREACH, 2 * TIMEOUT_MS},
		{"flip", -EBADMSG, PATIENT_MS},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int delivered;
		int64_t start_ns = clock_mono_ns();

		print_message("mode %s\n", cases[i].mode);
		assert_int_equal(
			fetch_bad(cases[i].mode, cases[i].deadline_ms, &delivered),
			cases[i].error);
		assert_true(clock_mono_ns() - start_ns < PATIENT_MS / 2 * NS_PER_MS);
		if (cases[i].error != -EBADMSG)
			assert_int_equal(delivered, 0);
	}
}

static void what_a_source_has_not_is_told_with_its_address(void **state)
{
	struct server server;
	struct source_status st;
	struct waited w;
	char wanted[sizeof(st.missing_last)];

	(void)state;
	server_start(&server, depot.dir, "404", NULL, NULL);
	struct fetcher *fetcher = open_fetcher(server.url);

	source_status(fetcher_source(fetcher), &st);
	assert_int_equal(st.missing, 0);
	assert_string_equal(st.missing_last, "");
	wait_init(&w, &depot);
	wait_fetch_frames(&w, fetcher_source(fetcher), 0, 1, PATIENT_MS);
	assert_int_equal(wait_end(&w, PATIENT_S), -ENOENT);
	source_status(fetcher_source(fetcher), &st);
	(void)snprintf(wanted, sizeof(wanted), "%s: HTTP 404", server.url);
	assert_int_equal(st.missing, 1);
	assert_string_equal(st.missing_last, wanted);
	fetcher_free(fetcher);
	wait_release(&w);
	server_stop(&server);
}

static void a_broken_body_is_continued_where_it_broke(void **state)
{
	static const char *const modes[] = {"short", "close"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct server server;
		unsigned int delivered;

		server_start(&server, depot.dir, modes[i], NULL, NULL);
		(void)fetch_until(
			server.url, 0, DEPOT_FRAMES, 4 * TIMEOUT_MS, &delivered);
		server_stop(&server);
		/* each try brings half of what is left, none of it twice */
		assert_in_range(delivered, DEPOT_FRAMES / 2 - 1, DEPOT_FRAMES);
	}
}

static void an_endless_body_brings_what_was_asked_for_and_no_more(void **state)
{
	unsigned int delivered;

	(void)state;
	assert_int_equal(fetch_bad("endless", PATIENT_MS, &delivered), 0);
	assert_int_equal(delivered, DEPOT_FRAMES);
}

static void another_source_helps_out(void **state)
{
	static const char *const modes[] = {"404", "500", "redirect", "no-range", "short",
		"endless", "html", "close", "hang", "flip", "drip"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct server server;
		char urls[256];
		unsigned int delivered;

		print_message("mode %s\n", modes[i]);
		server_start(&server, depot.dir, modes[i], NULL, NULL);
		(void)snprintf(urls, sizeof(urls), "%s,%s", server.url, depot.url);
		assert_int_equal(fetch(urls, 0, DEPOT_FRAMES, &delivered), 0);
		assert_int_equal(delivered, DEPOT_FRAMES);
		server_stop(&server);
	}
}

static int64_t fetch_within(struct fetcher *fetcher, size_t count)
{
	int64_t start_ns = clock_mono_ns();
	struct waited w;

	wait_init(&w, &depot);
	wait_fetch_frames(&w, fetcher_source(fetcher), 0, count, PATIENT_MS);
	assert_int_equal(wait_end(&w, PATIENT_S), 0);
	assert_int_equal(w.delivered, count);
	wait_release(&w);
	return (clock_mono_ns() - start_ns) / NS_PER_MS;
}

static void a_tarpit_does_not_keep_from_a_healthy_source(void **state)
{
	struct source_status st;
	struct server tarpit;
	char urls[256];

	(void)state;
	server_start(&tarpit, depot.dir, "tarpit", NULL, NULL);
	(void)snprintf(urls, sizeof(urls), "%s,%s", tarpit.url, depot.url);
	/* the healthy one has a third of its time to bring what takes the tarpit most of a minute */
	struct fetcher *fetcher = open_patient_fetcher(urls, 6 * TIMEOUT_MS);

	(void)fetch_within(fetcher, DEPOT_FRAMES);
	source_status(fetcher_source(fetcher), &st);
	assert_int_equal(st.requests, 2);
	assert_string_equal(st.url, depot.url);
	/* and for a while it comes last */
	for (uint64_t i = 1; i <= 3; i++) {
		(void)fetch_within(fetcher, DEPOT_FRAMES);
		source_status(fetcher_source(fetcher), &st);
		assert_int_equal(st.requests, 2 + i);
		usleep(300 * 1000);
	}
	fetcher_free(fetcher);
	server_stop(&tarpit);
}

static void a_tarpit_is_better_than_nothing(void **state)
{
	struct server tarpit;
	struct server dead;
	char urls[256];

	(void)state;
	server_start(&tarpit, depot.dir, "tarpit", NULL, NULL);
	server_start(&dead, depot.dir, "500", NULL, NULL);
	for (int turn = 0; turn < 3; turn++) {
		if (turn)
			(void)snprintf(urls, sizeof(urls), "%s,%s", tarpit.url,
				turn == 1 ? tarpit.url : dead.url);
		else
			(void)snprintf(urls, sizeof(urls), "%s", tarpit.url);
		struct fetcher *fetcher = open_fetcher(urls);

		/* four frames are some four seconds' worth */
		assert_true(fetch_within(fetcher, 4) >= 2 * TIMEOUT_MS);
		fetcher_free(fetcher);
	}
	server_stop(&dead);
	server_stop(&tarpit);
}

static void headers_without_end_are_the_sources_fault(void **state)
{
	static const char *const modes[] = {"header", "headers"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct server server;
		unsigned int delivered;
		char urls[256];
		char reason[TRANSFER_REASON_SIZE];
		AUTO_BUFFER struct buffer out = BUFFER_INIT(100);

		server_start(&server, depot.dir, modes[i], NULL, NULL);
		(void)snprintf(urls, sizeof(urls), "%s,%s", server.url, depot.url);
		struct fetcher *patient = open_patient_fetcher(urls, PATIENT_MS);

		/* it shows before the third of a time-out in which a source must get on */
		assert_true(fetch_within(patient, DEPOT_FRAMES) < PATIENT_MS / 4);
		fetcher_free(patient);
		assert_int_equal(
			fetch_until(server.url, 0, 1, 2 * TIMEOUT_MS, &delivered),
			-EHOSTUNREACH);
		struct fetcher *fetcher = open_fetcher(server.url);

		assert_int_equal(
			fetcher_fetch_small(fetcher, "trust", 100, 0, &out, reason),
			-EHOSTUNREACH);
		assert_non_null(strstr(reason, "header"));
		fetcher_free(fetcher);
		server_stop(&server);
	}
}

static void a_missing_pack_is_not_a_dead_source(void **state)
{
	struct fetcher *fetcher = open_fetcher(depot.url);
	struct depot other = depot;
	struct waited w;

	(void)state;
	other.pack.bytes[0] ^= 0xff;
	wait_init(&w, &other);
	wait_fetch_frames(&w, fetcher_source(fetcher), 0, 1, PATIENT_MS);
	assert_int_equal(wait_end(&w, PATIENT_S), -ENOENT);
	fetcher_free(fetcher);
	wait_release(&w);
}

static void a_receivers_own_error_ends_the_request(void **state)
{
	struct fetcher *fetcher = open_fetcher(depot.url);
	struct waited w;

	(void)state;
	wait_init(&w, &depot);
	w.receiver_error = -ENOSPC;
	wait_fetch_frames(&w, fetcher_source(fetcher), 0, DEPOT_FRAMES, PATIENT_MS);
	assert_int_equal(wait_end(&w, PATIENT_S), -ENOSPC);
	fetcher_free(fetcher);
	wait_release(&w);
}

static void frames_beyond_their_pack_are_never_asked_for(void **state)
{
	struct fetcher *fetcher = open_fetcher(depot.url);
	struct depot other = depot;
	struct waited w;

	(void)state;
	other.frames[1].offset = other.pack_bytes - 10;
	wait_init(&w, &other);
	wait_fetch_frames(&w, fetcher_source(fetcher), 1, 1, PATIENT_MS);
	assert_int_equal(wait_end(&w, PATIENT_S), -EBADMSG);
	fetcher_free(fetcher);
	wait_release(&w);
}

static void shutdown_ends_what_waits(void **state)
{
	enum { COUNT = 50 };
	static struct waited w[COUNT];
	struct server server;

	(void)state;
	server_start(&server, depot.dir, "hang", NULL, NULL);
	struct fetcher *fetcher = open_fetcher(server.url);

	wait_init_all(w, COUNT, FETCH_DEMAND);
	for (size_t i = 0; i < COUNT; i++)
		wait_fetch_frames(&w[i], fetcher_source(fetcher), 0, 2, PATIENT_MS);
	usleep(50 * 1000);
	wait_shut_down(w, COUNT, fetcher);
	server_stop(&server);
}

static void many_requests_at_once_all_end_well(void **state)
{
	enum { COUNT = 200 };
	static struct waited w[COUNT];
	struct server server;

	(void)state;
	server_start(&server, depot.dir, "ok", NULL, NULL);
	struct fetcher *fetcher = open_fetcher(server.url);

	wait_init_all(w, COUNT, FETCH_DEMAND);
	for (size_t i = 0; i < COUNT; i++)
		wait_fetch_frames(&w[i], fetcher_source(fetcher), i % DEPOT_FRAMES,
			1 + i % (DEPOT_FRAMES - i % DEPOT_FRAMES), PATIENT_MS);
	wait_end_all(w, COUNT, PATIENT_S);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(w[i].delivered, w[i].frames.frame_count);
	struct source_status st;

	source_status(fetcher_source(fetcher), &st);
	assert_true(st.is_online);
	assert_string_equal(st.url, server.url);
	assert_int_equal(st.requests, COUNT);
	fetcher_free(fetcher);
	wait_release_all(w, COUNT);
	server_stop(&server);
}

static void slow_receivers_hold_the_network_back_and_lose_nothing(void **state)
{
	enum { COUNT = 24 };
	static struct waited w[COUNT];
	struct server server;

	(void)state;
	server_start(&server, depot.dir, "ok", NULL, NULL);
	for (int turn = 0; turn < 2; turn++) {
		struct fetcher *fetcher = open_fetcher(turn ? depot.url : server.url);

		wait_init_all(w, COUNT, FETCH_DEMAND);
		for (size_t i = 0; i < COUNT; i++) {
			w[i].delay_us = 3000;
			wait_fetch_frames(&w[i], fetcher_source(fetcher), 0, DEPOT_FRAMES,
				PATIENT_MS);
		}
		wait_end_all(w, COUNT, PATIENT_S);
		for (size_t i = 0; i < COUNT; i++)
			assert_int_equal(w[i].delivered, DEPOT_FRAMES);
		fetcher_free(fetcher);
		wait_release_all(w, COUNT);
	}
	server_stop(&server);
}

static void a_queue_for_a_dead_source_moves_to_a_living_one(void **state)
{
	enum { COUNT = 100 };
	static struct waited w[COUNT];
	struct server server;
	char urls[256];

	(void)state;
	server_start(&server, depot.dir, "hang", NULL, NULL);
	(void)snprintf(urls, sizeof(urls), "%s,%s", server.url, depot.url);
	struct fetcher *fetcher = open_fetcher(urls);
	int64_t start_ns = clock_mono_ns();

	wait_init_all(w, COUNT, FETCH_DEMAND);
	for (size_t i = 0; i < COUNT; i++)
		wait_fetch_frames(&w[i], fetcher_source(fetcher), 0, 1, PATIENT_MS);
	wait_end_all(w, COUNT, PATIENT_S);
	/* not one time-out after the other */
	assert_true(clock_mono_ns() - start_ns < COUNT / 2 * TIMEOUT_MS * NS_PER_MS);
	fetcher_free(fetcher);
	wait_release_all(w, COUNT);
	server_stop(&server);
}

/* Nobody is to wait behind read-ahead for having joined some of it. */
static void a_reader_takes_what_it_joins_out_of_the_queue(void **state)
{
	enum { COUNT = 20 };
	static struct waited w[COUNT];
	struct server server;

	(void)state;
	/* hardly gets on with as many as read-ahead may have under way; were it silent, they would be
	 * turned back */
	server_start_for(&server, depot.dir, "drip", "14");
	struct fetcher *fetcher = open_patient_fetcher(server.url, 8 * TIMEOUT_MS);
	int64_t start_ns = clock_mono_ns();

	wait_init_all(w, COUNT, FETCH_READ_AHEAD);
	for (size_t i = 0; i < COUNT; i++)
		wait_fetch_frames(&w[i], fetcher_source(fetcher), i, 1, PATIENT_MS);
	usleep(100 * 1000);
	assert_false(w[COUNT - 1].is_done);
	atomic_store(&w[COUNT - 1].frames.is_awaited, true);
	source_hurry(fetcher_source(fetcher));
	assert_int_equal(wait_end(&w[COUNT - 1], PATIENT_S), 0);
	assert_true(clock_mono_ns() - start_ns < 8 * TIMEOUT_MS * NS_PER_MS);
	wait_end_all(w, COUNT, PATIENT_S);
	fetcher_free(fetcher);
	wait_release_all(w, COUNT);
	server_stop(&server);
}

static void a_mirror_long_offline_fails_fast(void **state)
{
	struct source_status st;
	int64_t ended_ns = 0;
	struct server server;
	struct waited w;

	(void)state;
	server_start(&server, depot.dir, "hang", NULL, NULL);
	struct fetcher *fetcher = open_fetcher(server.url);

	wait_init(&w, &depot);
	wait_fetch_frames(&w, fetcher_source(fetcher), 0, 1, 2 * TIMEOUT_MS);
	assert_int_equal(wait_end(&w, PATIENT_S), -EHOSTUNREACH);
	wait_release(&w);
	usleep(TIMEOUT_MS * 1000);
	/* the second one after a failed quick attempt costs nothing at all, for half a second */
	for (int i = 0; i < 3; i++) {
		int64_t start_ns = clock_mono_ns();
		bool is_soon = i && start_ns - ended_ns < 200 * NS_PER_MS;

		source_status(fetcher_source(fetcher), &st);
		uint64_t requests = st.requests;

		wait_init(&w, &depot);
		wait_fetch_frames(&w, fetcher_source(fetcher), 0, 1, PATIENT_MS);
		assert_int_equal(wait_end(&w, PATIENT_S), -EHOSTUNREACH);
		wait_release(&w);
		ended_ns = clock_mono_ns();
		assert_true(ended_ns - start_ns < PATIENT_MS / 4 * NS_PER_MS);
		source_status(fetcher_source(fetcher), &st);
		if (is_soon)
			assert_int_equal(st.requests, requests);
	}
	fetcher_free(fetcher);
	server_stop(&server);
}

static void without_any_source_requests_fail_at_once(void **state)
{
	unsigned int delivered;

	(void)state;
	assert_int_equal(fetch("none", 0, 1, &delivered), -EHOSTUNREACH);
}

static void an_address_of_another_kind_is_refused(void **state)
{
	const struct fetcher_config config = {.urls = "ftp://user:secret@host/x"};
	struct fetcher *fetcher = NULL;
	char last[512];

	(void)state;
	assert_int_equal(fetcher_new(&config, &fetcher), -EINVAL);
	assert_null(fetcher);
	log_last_error(last, sizeof(last));
	assert_null(strstr(last, "secret"));
	assert_non_null(strstr(last, "ftp://host/x"));
}

static void small_objects_come_from_the_first_source_that_has_them(void **state)
{
	struct server server;
	char urls[256];
	char reason[TRANSFER_REASON_SIZE];
	AUTO_BUFFER struct buffer out = BUFFER_INIT(1 << 20);
	char path[128];

	(void)state;
	server_start(&server, depot.dir, "404", NULL, NULL);
	(void)snprintf(urls, sizeof(urls), "%s,%s", server.url, depot.url);
	(void)snprintf(path, sizeof(path), "small");
	(void)snprintf(urls + 128, 128, "%s/small", depot.dir);
	FILE *f = fopen(urls + 128, "w");

	assert_non_null(f);
	assert_int_equal(fputs("hello", f) < 0, 0);
	assert_int_equal(fclose(f), 0);
	struct fetcher *fetcher = open_fetcher(urls);

	assert_int_equal(fetcher_fetch_small(fetcher, path, 100, 0, &out, reason), 0);
	assert_int_equal(out.len, 5);
	assert_memory_equal(out.data, "hello", 5);
	assert_int_equal(
		fetcher_fetch_small(fetcher, path, 4, 0, &out, reason), -EHOSTUNREACH);
	assert_non_null(strstr(reason, "more than"));
	assert_int_equal(
		fetcher_fetch_small(fetcher, "nothing", 4, 0, &out, reason), -ENOENT);
	assert_int_equal(out.len, 5);
	fetcher_free(fetcher);
	server_stop(&server);
}

static void a_small_object_does_not_take_for_ever(void **state)
{
	struct server tarpit;
	char object[OBJECT_PATH_SIZE];
	char reason[TRANSFER_REASON_SIZE];
	AUTO_BUFFER struct buffer out = BUFFER_INIT(4 << 20);

	(void)state;
	server_start(&tarpit, depot.dir, "tarpit", NULL, NULL);
	object_path("pack", &depot.pack, object);
	struct fetcher *fetcher = open_fetcher(tarpit.url);
	int64_t start_ns = clock_mono_ns();

	assert_int_equal(fetcher_fetch_small(fetcher, object, 4 << 20, 0, &out, reason),
		-EHOSTUNREACH);
	/* all of it takes most of a minute */
	assert_true(clock_mono_ns() - start_ns < 20 * NS_PER_SEC);
	fetcher_free(fetcher);
	server_stop(&tarpit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_from_a_local_path),
		cmocka_unit_test(frames_come_over_http),
		cmocka_unit_test(a_catalog_comes_whole_and_checked),
		cmocka_unit_test(no_misbehaviour_gets_a_wrong_byte_through),
		cmocka_unit_test(what_a_source_has_not_is_told_with_its_address),
		cmocka_unit_test(a_broken_body_is_continued_where_it_broke),
		cmocka_unit_test(an_endless_body_brings_what_was_asked_for_and_no_more),
		cmocka_unit_test(another_source_helps_out),
		cmocka_unit_test(a_tarpit_does_not_keep_from_a_healthy_source),
		cmocka_unit_test(a_tarpit_is_better_than_nothing),
		cmocka_unit_test(headers_without_end_are_the_sources_fault),
		cmocka_unit_test(a_missing_pack_is_not_a_dead_source),
		cmocka_unit_test(a_receivers_own_error_ends_the_request),
		cmocka_unit_test(frames_beyond_their_pack_are_never_asked_for),
		cmocka_unit_test(shutdown_ends_what_waits),
		cmocka_unit_test(many_requests_at_once_all_end_well),
		cmocka_unit_test(slow_receivers_hold_the_network_back_and_lose_nothing),
		cmocka_unit_test(a_queue_for_a_dead_source_moves_to_a_living_one),
		cmocka_unit_test(a_reader_takes_what_it_joins_out_of_the_queue),
		cmocka_unit_test(a_mirror_long_offline_fails_fast),
		cmocka_unit_test(without_any_source_requests_fail_at_once),
		cmocka_unit_test(an_address_of_another_kind_is_refused),
		cmocka_unit_test(small_objects_come_from_the_first_source_that_has_them),
		cmocka_unit_test(a_small_object_does_not_take_for_ever),
	};

	return cmocka_run_group_tests(tests, make_depot, drop_depot);
}
