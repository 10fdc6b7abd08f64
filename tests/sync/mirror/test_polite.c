/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How background work is held back, against a clock that the test moves. */
#include "cache/base/threads/clock.h"
#include "sync/mirror/polite/throttle.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define START  (1000 * NS_PER_SEC)
#define CHUNK  16384
#define MS     NS_PER_MS
#define TARGET (LEDBAT_TARGET_MS * NS_PER_MS)

/* Reads whatever the bucket gives, and looks every `step_ns`. */
static uint64_t drain(
	struct rate_bucket *b, int64_t from_ns, int64_t to_ns, int64_t step_ns)
{
	uint64_t bytes = 0;

	for (int64_t now = from_ns; now < to_ns; now += step_ns) {
		while (rate_bucket_wait_ns(b, now) == 0) {
			rate_bucket_take(b, CHUNK);
			bytes += CHUNK;
		}
	}
	return bytes;
}

static void a_bucket_holds_its_rate(void **state)
{
	static const uint64_t rates[] = {50000, 1000000, 80000000};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct rate_bucket b = {0};

		rate_bucket_set(&b, rates[i], START);
		uint64_t bytes = drain(&b, START, START + 10 * NS_PER_SEC, 7 * MS);

		assert_in_range(bytes, rates[i] * 10 * 97 / 100,
			rates[i] * 10 * 103 / 100 + CHUNK);
	}
}

static void a_bucket_saves_up_a_tenth_of_a_second_and_no_more(void **state)
{
	struct rate_bucket b = {0};

	(void)state;
	rate_bucket_set(&b, 10000000, START);
	assert_true(rate_bucket_wait_ns(&b, START) > 0);
	assert_in_range(
		drain(&b, START + 60 * NS_PER_SEC, START + 60 * NS_PER_SEC + 1, 1),
		1000000, 1000000 + CHUNK);
	/* what came above that is owed */
	rate_bucket_take(&b, 5000000);
	assert_in_range(
		rate_bucket_wait_ns(&b, START + 60 * NS_PER_SEC), 400 * MS, 600 * MS);
}

static void a_new_rate_does_not_forget_what_is_owed(void **state)
{
	struct rate_bucket b = {0};

	(void)state;
	rate_bucket_set(&b, 1000000, START);
	rate_bucket_take(&b, 1000000);
	rate_bucket_set(&b, 2000000, START);
	assert_in_range(rate_bucket_wait_ns(&b, START), 400 * MS, 600 * MS);
	rate_bucket_set(&b, 0, START);
	assert_int_equal(rate_bucket_wait_ns(&b, START), 0);
}

static void the_queue_is_what_answers_take_longer_than_at_best(void **state)
{
	struct delay d = {0};
	int64_t now = START;

	(void)state;
	assert_int_equal(delay_queue_ns(&d), 0);
	delay_add(&d, 40 * MS, now);
	for (int i = 0; i < DELAY_RECENT; i++)
		delay_add(&d, (90 + i) * MS, now += NS_PER_SEC);
	assert_int_equal(delay_queue_ns(&d), 50 * MS);
	/* one slow answer is not yet a queue */
	delay_add(&d, 41 * MS, now);
	delay_add(&d, 500 * MS, now);
	assert_int_equal(delay_queue_ns(&d), 1 * MS);
	/* a longer way: after ten minutes it is the way */
	for (int i = 0; i < 11; i++)
		delay_add(&d, 140 * MS, now += 60 * NS_PER_SEC);
	assert_int_equal(delay_base_ns(&d), 140 * MS);
	assert_int_equal(delay_queue_ns(&d), 0);
}

/* A window's worth of bytes, as it comes in a round trip. */
static void round_trip(struct ledbat *l, int64_t queue_ns)
{
	double left = l->window;
	double window = l->window;

	while (left > 0) {
		ledbat_arrived(l, CHUNK, (uint64_t)window, queue_ns);
		left -= CHUNK;
	}
}

static void ledbat_starts_fast_and_stops_before_a_queue_is_noticed(void **state)
{
	struct ledbat l;

	(void)state;
	ledbat_init(&l);
	for (int i = 0; i < 6; i++)
		round_trip(&l, 0);
	assert_true(l.window > 32.0 * LEDBAT_WINDOW_MIN);
	double before = l.window;

	round_trip(&l, TARGET * 3 / 4);
	/* from there on a segment each round trip, RFC 6817's GAIN, at most */
	assert_true(l.window > before && l.window < before + 2000);
}

static void ledbat_gives_way_to_a_standing_queue(void **state)
{
	struct ledbat l;

	(void)state;
	ledbat_init(&l);
	for (int i = 0; i < 8; i++)
		round_trip(&l, 0);
	for (int i = 0; i < 30; i++)
		round_trip(&l, 3 * TARGET);
	assert_int_equal((int)l.window, LEDBAT_WINDOW_MIN);
	/* and comes back when the others are gone */
	for (int i = 0; i < 6; i++)
		round_trip(&l, 0);
	assert_true(l.window > 32.0 * LEDBAT_WINDOW_MIN);
}

static void ledbat_settles_at_its_target(void **state)
{
	const double base_ns = 40.0 * MS;
	const double rate = 12.5e6 / (double)NS_PER_SEC;
	struct ledbat l;

	(void)state;
	ledbat_init(&l);
	for (int i = 0; i < 1000; i++) {
		double queue_ns = l.window / rate - base_ns;

		round_trip(&l, queue_ns > 0 ? (int64_t)queue_ns : 0);
	}
	double queue_ns = l.window / rate - base_ns;

	assert_true(queue_ns > 0.3 * TARGET && queue_ns < 1.1 * TARGET);
}

static void ledbat_halves_for_a_loss_once_a_round_trip(void **state)
{
	struct ledbat l;

	(void)state;
	ledbat_init(&l);
	l.window = 1e6;
	ledbat_lost(&l, 40 * MS, START);
	ledbat_lost(&l, 40 * MS, START + 20 * MS);
	assert_true(l.window > 4.9e5 && l.window < 5.1e5);
	ledbat_lost(&l, 40 * MS, START + 50 * MS);
	assert_true(l.window < 2.6e5);
}

static void an_idle_window_is_not_grown_by_what_it_does_not_use(void **state)
{
	struct ledbat l;

	(void)state;
	ledbat_init(&l);
	l.window = 1e6;
	for (int i = 0; i < 100; i++)
		ledbat_arrived(&l, CHUNK, CHUNK, 0);
	assert_true(l.window < 1.01e6);
}

/* A second of a line that carries `rate` and answers after `delay_ns`. */
static int64_t use_line(struct throttle *t, uint64_t rate, int64_t delay_ns, int64_t now)
{
	for (int i = 0; i < 200; i++) {
		now += 5 * MS;
		throttle_answered(t, 0, delay_ns, now);
		throttle_arrived(t, rate / 200, rate, now);
	}
	return now;
}

static void what_is_asked_for_at_once_fits_the_line(void **state)
{
	static const struct {
		uint64_t rate;
		int64_t delay_ns;
	} lines[] = {{12500000, 40 * MS}, {125000000, 40 * MS}, {2500000, 150 * MS}};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct throttle t;
		uint64_t most = (uint64_t)((double)lines[i].rate *
					   (double)(lines[i].delay_ns + 60 * MS) /
					   (double)NS_PER_SEC);
		size_t running = 0;

		throttle_init(&t);
		int64_t now = use_line(&t, lines[i].rate, lines[i].delay_ns, START);

		while (throttle_wait_start_ns(&t, running, now) == 0)
			running++;
		uint64_t asked = running * throttle_piece_bytes(&t);

		/* enough to keep the line busy, and no more than a reader can bear */
		assert_true(asked >= most / 2);
		assert_true(asked <= most);
	}
}

static void a_reader_stops_it_and_a_moment_later_it_goes_on(void **state)
{
	struct throttle t;

	(void)state;
	throttle_init(&t);
	assert_int_equal(throttle_wait_read_ns(&t, START), 0);
	throttle_yield(&t, true, START);
	assert_int_equal(throttle_wait_read_ns(&t, START + NS_PER_SEC), INT64_MAX);
	throttle_yield(&t, false, START + NS_PER_SEC);
	assert_in_range(throttle_wait_read_ns(&t, START + NS_PER_SEC), 1, 200 * MS);
	assert_int_equal(throttle_wait_read_ns(&t, START + 2 * NS_PER_SEC), 0);
}

/* What a line of 100 MB/s without a queue gives in ten seconds. */
static uint64_t fetch_idle(uint64_t bytes_per_sec)
{
	const struct rate_limit limit = {
		.kind = RATE_IDLE, .bytes_per_sec = bytes_per_sec};
	uint64_t total = 0;
	struct throttle t;

	throttle_init(&t);
	throttle_set(&t, &limit, false, START);
	for (int64_t now = START; now < START + 10 * NS_PER_SEC; now += MS) {
		uint64_t bytes = 0;

		while (throttle_wait_read_ns(&t, now) == 0 && bytes < 100000) {
			throttle_answered(&t, 0, 10 * MS, now);
			throttle_arrived(&t, CHUNK, 4 * 1024 * 1024, now);
			bytes += CHUNK;
		}
		total += bytes;
	}
	return total;
}

static void idle_may_have_a_limit_too(void **state)
{
	(void)state;
	assert_true(fetch_idle(0) > UINT64_C(400000000));
	assert_in_range(fetch_idle(20000000), 190000000, 206000000);
}

static void a_pause_lets_end_what_has_begun(void **state)
{
	const struct rate_limit none = {0};
	struct throttle t;

	(void)state;
	throttle_init(&t);
	throttle_set(&t, &none, true, START);
	assert_int_equal(throttle_wait_start_ns(&t, 0, START), INT64_MAX);
	assert_int_equal(throttle_wait_read_ns(&t, START), 0);
	throttle_set(&t, &none, false, START);
	assert_int_equal(throttle_wait_start_ns(&t, 0, START), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bucket_holds_its_rate),
		cmocka_unit_test(a_bucket_saves_up_a_tenth_of_a_second_and_no_more),
		cmocka_unit_test(a_new_rate_does_not_forget_what_is_owed),
		cmocka_unit_test(the_queue_is_what_answers_take_longer_than_at_best),
		cmocka_unit_test(ledbat_starts_fast_and_stops_before_a_queue_is_noticed),
		cmocka_unit_test(ledbat_gives_way_to_a_standing_queue),
		cmocka_unit_test(ledbat_settles_at_its_target),
		cmocka_unit_test(ledbat_halves_for_a_loss_once_a_round_trip),
		cmocka_unit_test(an_idle_window_is_not_grown_by_what_it_does_not_use),
		cmocka_unit_test(what_is_asked_for_at_once_fits_the_line),
		cmocka_unit_test(a_reader_stops_it_and_a_moment_later_it_goes_on),
		cmocka_unit_test(idle_may_have_a_limit_too),
		cmocka_unit_test(a_pause_lets_end_what_has_begun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
