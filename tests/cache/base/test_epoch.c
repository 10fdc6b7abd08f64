/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/threads/epoch.h"

#include <stdatomic.h>
#include <stdlib.h>

#define READERS 4
#define ROUNDS	2000
#define ALIVE	UINT64_C(0x600d600d600d600d)
#define DEAD	UINT64_C(0xdeaddeaddeaddead)

static atomic_bool is_over;
static atomic_bool is_waiting;

static void *wait_for_readers(void *arg)
{
	(void)arg;
	atomic_store(&is_waiting, true);
	epoch_wait();
	atomic_store(&is_over, true);
	return NULL;
}

static void without_readers_nobody_waits(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		epoch_leave(epoch_enter());
		epoch_wait();
	}
}

static void who_waits_waits_for_those_who_were_inside(void **state)
{
	pthread_t thread;

	(void)state;
	atomic_store(&is_over, false);
	atomic_store(&is_waiting, false);
	epoch_token outer = epoch_enter();
	epoch_token inner = epoch_enter();

	assert_int_equal(pthread_create(&thread, NULL, wait_for_readers, NULL), 0);
	while (!atomic_load(&is_waiting))
		pause_ms(1);
	pause_ms(20);
	assert_false(atomic_load(&is_over));
	epoch_leave(inner);
	pause_ms(20);
	assert_false(atomic_load(&is_over));
	epoch_leave(outer);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&is_over));
}

static void *enter_and_stay(void *arg)
{
	atomic_bool *may_leave = arg;
	AUTO_EPOCH epoch = epoch_enter();

	atomic_store(&is_waiting, true);
	while (!atomic_load(may_leave))
		pause_ms(1);
	return NULL;
}

static void who_waits_does_not_wait_for_those_who_come_later(void **state)
{
	atomic_bool may_leave = false;
	pthread_t waiter;
	pthread_t late;
	epoch_token later;

	(void)state;
	atomic_store(&is_over, false);
	atomic_store(&is_waiting, false);
	epoch_token token = epoch_enter();

	assert_int_equal(pthread_create(&waiter, NULL, wait_for_readers, NULL), 0);
	/* it has begun when who comes is counted in the other set than who was inside */
	do {
		pause_ms(1);
		later = epoch_enter();
		epoch_leave(later);
	} while ((later & 1) == (token & 1));
	atomic_store(&is_waiting, false);
	assert_int_equal(pthread_create(&late, NULL, enter_and_stay, &may_leave), 0);
	while (!atomic_load(&is_waiting))
		pause_ms(1);
	epoch_leave(token);
	pthread_join(waiter, NULL);
	assert_true(atomic_load(&is_over));
	atomic_store(&may_leave, true);
	pthread_join(late, NULL);
}

static _Atomic(uint64_t *) shown;
static atomic_bool must_end;
static atomic_uint dead_seen;

static void *read_what_is_shown(void *arg)
{
	(void)arg;
	while (!atomic_load(&must_end)) {
		AUTO_EPOCH epoch = epoch_enter();
		const uint64_t *p = atomic_load(&shown);

		for (int i = 0; i < 20; i++)
			if (__atomic_load_n(p, __ATOMIC_RELAXED) != ALIVE)
				atomic_fetch_add(&dead_seen, 1);
	}
	return NULL;
}

static void what_is_freed_after_a_wait_is_read_by_nobody(void **state)
{
	pthread_t readers[READERS];
	uint64_t *values = calloc(2, sizeof(*values));

	(void)state;
	assert_non_null(values);
	values[0] = ALIVE;
	atomic_store(&shown, &values[0]);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(
			pthread_create(&readers[i], NULL, read_what_is_shown, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t *old = atomic_load(&shown);
		uint64_t *fresh = old == &values[0] ? &values[1] : &values[0];

		__atomic_store_n(fresh, ALIVE, __ATOMIC_RELAXED);
		atomic_store(&shown, fresh);
		epoch_wait();
		__atomic_store_n(old, DEAD, __ATOMIC_RELAXED);
	}
	atomic_store(&must_end, true);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	free(values);
	assert_int_equal(atomic_load(&dead_seen), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_readers_nobody_waits),
		cmocka_unit_test(who_waits_waits_for_those_who_were_inside),
		cmocka_unit_test(who_waits_does_not_wait_for_those_who_come_later),
		cmocka_unit_test(what_is_freed_after_a_wait_is_read_by_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
