/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How many transfers run at a time, by the rules and as a server sees it. */
#include "sync/mirror/transport/places.h"

#include "cache/base/threads/clock.h"
#include "tests/sync/mirror/fetch_scene.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define NOW   (1000 * NS_PER_SEC)
#define COUNT 48

static const char http[] = "http://depot.example/pack/a";

static const struct transfer small = {.url = http, .length = PLACES_SMALL_BYTES};
static const struct transfer large = {.url = http, .length = PLACES_SMALL_BYTES + 1};

static const struct transfer_result busy = {.error = -EIO, .status = 503};
static const struct transfer_result reset = {.error = -ECONNRESET};

/* Takes places until there is none. */
static size_t fill(struct places *p, const struct transfer *t, enum fetch_class class)
{
	size_t n = 0;

	while (places_have_one(p, t, class, NOW)) {
		places_take(p, t, NOW);
		n++;
	}
	return n;
}

static void more_small_ones_run_than_large_ones(void **state)
{
	struct places s = {0};
	struct places l = {0};

	(void)state;
	assert_int_equal(fill(&s, &small, FETCH_DEMAND), 16);
	assert_int_equal(fill(&s, &large, FETCH_DEMAND), 0);
	assert_int_equal(fill(&l, &large, FETCH_DEMAND), 8);
	/* beside them there is room for small ones still */
	assert_int_equal(fill(&l, &small, FETCH_DEMAND), 8);
	places_leave(&l, &small);
	assert_int_equal(fill(&l, &large, FETCH_DEMAND), 0);
	places_leave(&l, &large);
	assert_int_equal(fill(&l, &large, FETCH_DEMAND), 1);
}

static void what_nobody_waits_for_leaves_places_to_a_reader(void **state)
{
	struct places p = {0};
	struct places l = {0};

	(void)state;
	assert_int_equal(fill(&p, &small, FETCH_BACKGROUND), 8);
	assert_int_equal(fill(&p, &small, FETCH_READ_AHEAD), 6);
	assert_int_equal(fill(&p, &large, FETCH_DEMAND), 2);
	assert_int_equal(fill(&l, &large, FETCH_READ_AHEAD), 6);
	assert_int_equal(fill(&l, &large, FETCH_DEMAND), 2);
}

/* A login takes many round trips, and an sshd counts those that are under way. */
static void only_over_http_more_small_ones_run(void **state)
{
	static const char *const urls[] = {"sftp://depot.example/a", "file:///depot/a"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct places p = {0};
		struct transfer t = small;

		t.url = urls[i];
		assert_int_equal(fill(&p, &t, FETCH_DEMAND), 8);
	}
}

static void over_http2_all_run_on_one_connection(void **state)
{
	struct places p = {0};

	(void)state;
	places_set_multi(&p, &large, true);
	assert_int_equal(fill(&p, &large, FETCH_READ_AHEAD), 30);
	assert_int_equal(fill(&p, &large, FETCH_DEMAND), 2);
	/* what a stream is refused for has other reasons */
	assert_false(places_too_many(&p, &large, &busy, NOW, NOW));
}

static void sources_have_their_places_each(void **state)
{
	struct places p = {0};
	struct transfer other = large;

	(void)state;
	other.site = 1;
	places_set_multi(&p, &other, true);
	assert_int_equal(fill(&p, &large, FETCH_DEMAND), 8);
	assert_int_equal(fill(&p, &small, FETCH_DEMAND), 8);
	assert_int_equal(fill(&p, &other, FETCH_DEMAND), 16);
}

static void a_source_that_refuses_many_is_asked_for_fewer_for_an_hour(void **state)
{
	static const struct transfer_result *const refusals[] = {&busy, &reset};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct places p = {0};

		assert_int_equal(fill(&p, &small, FETCH_DEMAND), 16);
		/* those that it served are done before it is known what it refused */
		for (size_t left = 16; left > 6; left--)
			places_leave(&p, &small);
		for (size_t left = 6; left > 0; left--) {
			assert_true(
				places_too_many(&p, &small, refusals[i], NOW, NOW + 1));
			places_leave(&p, &small);
		}
		assert_int_equal(fill(&p, &small, FETCH_DEMAND), 8);
		/* as few as ever: now it is the source's fault */
		assert_false(places_too_many(&p, &small, refusals[i], NOW + 2, NOW + 3));
		places_leave(&p, &small);
		assert_false(places_have_one(&p, &small, FETCH_READ_AHEAD, NOW));
		assert_int_equal(fill(&p, &large, FETCH_DEMAND), 1);
		assert_true(places_have_one(
			&p, &small, FETCH_DEMAND, NOW + 1 + PLACES_NARROW_NS));
	}
}

static void other_failures_say_nothing_of_their_number(void **state)
{
	static const struct transfer_result good = {.status = 200};
	static const struct transfer_result missing = {.error = -ENOENT, .status = 404};
	static const struct transfer_result broken = {.error = -EIO, .status = 500};
	static const struct transfer_result midway = {
		.error = -ECONNRESET, .status = 206, .bytes = 1};
	static const struct transfer_result unknown = {.error = -EHOSTUNREACH};
	static const struct transfer_result *const others[] = {
		&good, &missing, &broken, &midway, &unknown};
	struct places p = {0};

	(void)state;
	assert_int_equal(fill(&p, &small, FETCH_DEMAND), 16);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_false(places_too_many(&p, &small, others[i], NOW, NOW));
	places_leave(&p, &small);
	assert_int_equal(fill(&p, &small, FETCH_DEMAND), 1);
}

/* The try has taken its time already, and another source may do better; but the next ones are fewer. */
static void what_a_firewall_drops_is_not_tried_again_by_itself(void **state)
{
	static const struct transfer_result dropped = {.error = -ETIMEDOUT};
	struct places p = {0};

	(void)state;
	assert_int_equal(fill(&p, &small, FETCH_DEMAND), 16);
	assert_false(places_too_many(&p, &small, &dropped, NOW, NOW));
	places_leave(&p, &small);
	assert_int_equal(fill(&p, &small, FETCH_DEMAND), 0);
}

/* Against a server that counts. */

struct crowd {
	unsigned int most;
	unsigned int now;
	unsigned int connections; /* the one who asks has one of them */
	unsigned int closed;
};

static struct server server;
static struct fetcher *fetcher;
static struct fetcher *observer;
static struct waited w[COUNT];

static void open_limited(const char *hold, const char *option, const char *count)
{
	server_start_crowd(&server, depot.dir, hold, option, count);
	/* on a busy machine a crowd takes its time to come together */
	fetcher = open_patient_fetcher(server.url, PATIENT_MS);
	observer = open_patient_fetcher(server.url, PATIENT_MS);
}

static void open_holding(const char *hold)
{
	open_limited(hold, NULL, NULL);
}

static void close_all(void)
{
	fetcher_free(fetcher);
	fetcher_free(observer);
	server_stop(&server);
}

static struct crowd look(void)
{
	char reason[TRANSFER_REASON_SIZE];
	AUTO_BUFFER struct buffer out = BUFFER_INIT(256);
	struct crowd c = {0};
	char text[64];

	assert_int_equal(
		fetcher_fetch_small(observer, "crowd", 64, PATIENT_MS, &out, reason), 0);
	(void)snprintf(text, sizeof(text), "%.*s", (int)out.len, (const char *)out.data);
	/* NOLINTNEXTLINE(cert-err34-c): our own server's */
	assert_int_equal(
		sscanf(text, "%u %u %u %u", &c.most, &c.now, &c.connections, &c.closed),
		4);
	return c;
}

static void wait_for_crowd(unsigned int now)
{
	int64_t until_ns = clock_mono_ns() + PATIENT_S * NS_PER_SEC;

	while (look().now < now) {
		assert_true(clock_mono_ns() < until_ns);
		usleep(5000);
	}
}

static void start(size_t first, size_t count, size_t frames, enum fetch_class class)
{
	wait_init_all(w + first, count, class);
	for (size_t i = first; i < first + count; i++)
		wait_fetch_frames(&w[i], fetcher_source(fetcher), i % (DEPOT_FRAMES - 8),
			frames, PATIENT_MS);
}

static uint64_t tries(void)
{
	struct source_status status;

	source_status(fetcher_source(fetcher), &status);
	return status.requests;
}

/* Each at its first try: what is given up while it is held still counts as there. */
static void end(size_t count)
{
	wait_end_all(w, count, PATIENT_S);
	wait_release_all(w, count);
	assert_int_equal(tries(), count);
}

/* It answers none before all are there. */
static void sixteen_small_ones_are_at_the_server_at_once(void **state)
{
	(void)state;
	open_holding("16");
	start(0, COUNT, 1, FETCH_DEMAND);
	end(COUNT);
	assert_int_equal(look().most, 16);
	close_all();
}

static void eight_large_ones_are_and_they_hold_no_small_ones_up(void **state)
{
	(void)state;
	open_holding("8");
	start(0, COUNT, 8, FETCH_DEMAND);
	end(COUNT);
	assert_int_equal(look().most, 8);
	close_all();
	/* the small ones are behind the large ones that wait */
	open_holding("16");
	start(0, 20, 8, FETCH_DEMAND);
	start(20, COUNT - 20, 1, FETCH_DEMAND);
	end(COUNT);
	assert_int_equal(look().most, 16);
	close_all();
}

static void a_reader_of_much_finds_room_beside_small_read_ahead(void **state)
{
	(void)state;
	open_holding("16");
	start(0, COUNT - 2, 1, FETCH_READ_AHEAD);
	wait_for_crowd(14);
	start(COUNT - 2, 2, 8, FETCH_DEMAND);
	end(COUNT);
	assert_int_equal(look().most, 16);
	close_all();
}

/* The readers keep eight connections, so that two are the background's, as ever. Each transfer that
 * ends lets one go that is too many, and one or two of those turned back may have been the last ones.
 * Returns how many were wanted still. */
static size_t let_go(void)
{
	int64_t until_ns = clock_mono_ns() + PATIENT_S * NS_PER_SEC;
	size_t count = 0;

	while (look().connections > 8 + 1) {
		assert_true(clock_mono_ns() < until_ns);
		usleep(5000);
		if (count == 8)
			continue;
		start(0, 1, 1, FETCH_DEMAND);
		wait_end_all(w, 1, PATIENT_S);
		wait_release_all(w, 1);
		count++;
	}
	return count;
}

static void a_server_of_ten_connections_fails_no_request(void **state)
{
	(void)state;
	/* and one is ours; it answers none before it has closed one */
	open_limited("11", "--connections", "11");
	assert_int_equal(look().connections, 1);
	start(0, COUNT, 1, FETCH_DEMAND);
	end(COUNT);
	size_t count = COUNT + let_go();
	unsigned int closed = look().closed;

	assert_true(closed > 0);
	start(0, COUNT, 1, FETCH_DEMAND);
	wait_end_all(w, COUNT, PATIENT_S);
	wait_release_all(w, COUNT);
	assert_int_equal(tries(), count + COUNT);
	assert_int_equal(look().closed, closed);
	close_all();
}

/* As one whose every process serves a connection that is kept. */
static void a_server_that_lets_some_wait_fails_no_request(void **state)
{
	(void)state;
	open_limited("11", "--served", "11");
	assert_int_equal(look().connections, 1);
	start(0, COUNT, 1, FETCH_DEMAND);
	end(COUNT);
	(void)let_go();
	close_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_small_ones_run_than_large_ones),
		cmocka_unit_test(what_nobody_waits_for_leaves_places_to_a_reader),
		cmocka_unit_test(only_over_http_more_small_ones_run),
		cmocka_unit_test(over_http2_all_run_on_one_connection),
		cmocka_unit_test(sources_have_their_places_each),
		cmocka_unit_test(
			a_source_that_refuses_many_is_asked_for_fewer_for_an_hour),
		cmocka_unit_test(other_failures_say_nothing_of_their_number),
		cmocka_unit_test(what_a_firewall_drops_is_not_tried_again_by_itself),
		cmocka_unit_test(sixteen_small_ones_are_at_the_server_at_once),
		cmocka_unit_test(eight_large_ones_are_and_they_hold_no_small_ones_up),
		cmocka_unit_test(a_reader_of_much_finds_room_beside_small_read_ahead),
		cmocka_unit_test(a_server_of_ten_connections_fails_no_request),
		cmocka_unit_test(a_server_that_lets_some_wait_fails_no_request),
	};

	return cmocka_run_group_tests(tests, make_depot, drop_depot);
}
