/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who reads the next request; a pair of sockets stands for /dev/fuse. */
#include "tests/cache/support.h"

#include "fs/session/turns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS	  4
#define PATIENT_S 120

static struct turns turns;
static int sockets[2]; /* ours, theirs */
static pthread_t threads[THREADS];
static atomic_uint served;
static atomic_int last;	    /* who served the last one */
static atomic_uint changes; /* how often that was another one than before */
static atomic_uint work_us; /* how long each takes */
static sem_t stuck, go_on;  /* one whose number is STUCK is, until it may go on */

#define STUCK 7
#define PASS  8 /* stuck likewise, and says so before */
#define QUIT  9 /* its thread ends with it, as libfuse may end one */

static void answer(int who, const struct fuse_in_header *request)
{
	if (request->unique == PASS)
		turns_pass(&turns);
	if (request->unique == STUCK || request->unique == PASS) {
		(void)sem_post(&stuck);
		while (sem_wait(&go_on) < 0)
			;
	}
	if (atomic_load(&work_us))
		usleep(atomic_load(&work_us));
	if (atomic_exchange(&last, who) != who)
		atomic_fetch_add(&changes, 1);
	atomic_fetch_add(&served, 1);
}

/* As libfuse's workers: they can be cancelled while they read, and at no other time. */
static void *work(void *arg)
{
	/* not on the stack: ASan takes amiss what a thread that is cancelled leaves there */
	static struct fuse_in_header requests[THREADS];
	int who = (int)(intptr_t)arg;
	struct fuse_in_header *request = &requests[who];

	for (;;) {
		(void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		ssize_t n = turns_read(&turns, sockets[1], request, sizeof(*request));

		(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		if (n == sizeof(*request))
			answer(who, request);
		if (n == 0 || (n > 0 && request->unique == QUIT))
			return arg;
	}
}

static struct scratch scratch;
static char device[PATH_MAX];

static int make_with(unsigned int asleep)
{
	scratch_make(&scratch);
	(void)snprintf(device, sizeof(device), "%s/device", scratch.path);
	scratch_write(&scratch, "device", "", 0);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(turns_init(&turns, device, asleep), 0);
	(void)sem_init(&stuck, 0, 0);
	(void)sem_init(&go_on, 0, 0);
	atomic_store(&served, 0);
	atomic_store(&changes, 0);
	atomic_store(&last, -1);
	atomic_store(&work_us, 0);
	for (intptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
	return 0;
}

/* As if processors were always awake. */
static int make(void **state)
{
	(void)state;
	return make_with(1);
}

static int make_many(void **state)
{
	(void)state;
	return make_with(THREADS);
}

static int drop(void **state)
{
	(void)state;
	(void)sem_post(&go_on);
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_cancel(threads[i]);
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	turns_end(&turns);
	turns_release(&turns);
	close(sockets[0]);
	close(sockets[1]);
	(void)sem_destroy(&stuck);
	(void)sem_destroy(&go_on);
	scratch_remove(&scratch);
	return 0;
}

static void ask(uint32_t opcode, uint64_t unique)
{
	struct fuse_in_header request = {
		.len = sizeof(request), .opcode = opcode, .unique = unique};

	assert_int_equal(write(sockets[0], &request, sizeof(request)), sizeof(request));
}

/* Whether `value` comes to be at least `wanted`. */
static bool comes_to(atomic_uint *value, unsigned int wanted)
{
	for (int i = 0; i < PATIENT_S * 1000 && atomic_load(value) < wanted; i++)
		(void)poll(NULL, 0, 1);
	return atomic_load(value) >= wanted;
}

/* Asks as a reader does who waits for each answer. */
static void ask_one_by_one(uint32_t opcode, unsigned int count)
{
	unsigned int before = atomic_load(&served);

	for (unsigned int i = 0; i < count; i++) {
		ask(opcode, 0);
		while (atomic_load(&served) == before + i)
			(void)sched_yield();
	}
}

/* Nobody looks after them from here on: who would is asleep, and is not told. */
static void leave_unwatched(void)
{
	(void)poll(NULL, 0, 50);
	atomic_store(&turns.is_watched, true);
}

static void one_thread_serves_what_is_quick(void **state)
{
	(void)state;
	leave_unwatched();
	ask_one_by_one(FUSE_OPEN, 2000);
	ask_one_by_one(FUSE_GETXATTR, 2000);
	assert_in_range(atomic_load(&changes), 1, 200);
}

static void what_may_wait_passes_the_turn_on(void **state)
{
	(void)state;
	leave_unwatched();
	ask(FUSE_READ, STUCK);
	assert_int_equal(sem_wait(&stuck), 0);
	for (int i = 0; i < 10; i++)
		ask(FUSE_LOOKUP, 0);
	assert_true(comes_to(&served, 10));
	assert_int_equal(atomic_load(&turns.count), 1);
	(void)sem_post(&go_on);
	assert_true(comes_to(&served, 11));
}

static void who_does_not_come_back_is_not_waited_for(void **state)
{
	(void)state;
	ask(FUSE_LOOKUP, STUCK);
	assert_int_equal(sem_wait(&stuck), 0);
	for (int i = 0; i < 10; i++)
		ask(FUSE_LOOKUP, 0);
	assert_true(comes_to(&served, 10));
	(void)sem_post(&go_on);
	assert_true(comes_to(&served, 11));
	/* and the turns are lessened again, by whoever has none to answer */
	for (int i = 0; i < PATIENT_S * 1000 && atomic_load(&turns.count) > 1; i++) {
		ask_one_by_one(FUSE_OPEN, 1);
		(void)poll(NULL, 0, 1);
	}
	assert_int_equal(atomic_load(&turns.count), 1);
	for (int i = 0; i < PATIENT_S * 1000 && atomic_load(&turns.reading) != 1; i++)
		(void)poll(NULL, 0, 1);
	assert_int_equal(atomic_load(&turns.reading), 1);
}

/* Nobody looks after them once the one who would has fallen asleep again. */
static void wait_until_unwatched(void)
{
	for (int i = 0; i < PATIENT_S * 1000 && atomic_load(&turns.is_watched); i++)
		(void)poll(NULL, 0, 1);
	assert_false(atomic_load(&turns.is_watched));
	leave_unwatched();
}

static void beside_one_who_is_stuck_others_are_served_as_ever(void **state)
{
	(void)state;
	ask(FUSE_LOOKUP, STUCK);
	assert_int_equal(sem_wait(&stuck), 0);
	ask(FUSE_LOOKUP, 0);
	assert_true(comes_to(&served, 1));
	wait_until_unwatched();
	/* nobody gives these another turn, should theirs get lost */
	for (unsigned int i = 2; i < 12; i++) {
		(void)poll(NULL, 0, 1);
		ask(FUSE_LOOKUP, 0);
		assert_true(comes_to(&served, i));
	}
	assert_int_equal(atomic_load(&turns.count), 2);
	(void)sem_post(&go_on);
}

static void who_says_that_it_takes_long_is_not_waited_for(void **state)
{
	(void)state;
	leave_unwatched();
	ask(FUSE_OPEN, PASS);
	assert_int_equal(sem_wait(&stuck), 0);
	ask(FUSE_LOOKUP, 0);
	assert_true(comes_to(&served, 1));
	(void)sem_post(&go_on);
	assert_true(comes_to(&served, 2));
	assert_int_equal(atomic_load(&turns.count), 1);
}

static void turns_that_go_with_their_threads_are_made_good(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 24; i++) {
		ask(FUSE_LOOKUP, QUIT);
		assert_true(comes_to(&served, i + 1));
		intptr_t who = atomic_load(&last);

		assert_int_equal(pthread_join(threads[who], NULL), 0);
		assert_int_equal(
			pthread_create(&threads[who], NULL, work, (void *)who), 0);
	}
}

static void slow_requests_that_queue_up_get_more_readers(void **state)
{
	(void)state;
	turns.wanted = 2;
	atomic_store(&work_us, 600);
	for (unsigned int asked = 0; asked < 500 && atomic_load(&turns.count) < 2;) {
		if (asked - atomic_load(&served) > 20) {
			(void)sched_yield();
			continue;
		}
		ask(FUSE_READDIRPLUS, 0);
		asked++;
	}
	assert_int_equal(atomic_load(&turns.count), 2);
}

static void requests_that_queue_up_get_more_readers(void **state)
{
	unsigned int asked = 0;

	(void)state;
	turns.wanted = 3;
	atomic_store(&work_us, 20);
	for (int i = 0; i < 300000 && atomic_load(&turns.count) < 3; i++) {
		while (asked - atomic_load(&served) > 100)
			(void)sched_yield();
		ask(FUSE_OPEN, 0);
		asked++;
	}
	assert_int_equal(atomic_load(&turns.count), 3);
	assert_true(comes_to(&served, asked));
}

/* The kernel wakes the one that has slept longest, of all that sleep in read(2). */
static void while_processors_may_sleep_all_threads_read(void **state)
{
	(void)state;
	assert_true(comes_to(&turns.reading, THREADS));
	/* and one of them, once somebody is in a hurry */
	for (int i = 0; i < 100000 && atomic_load(&turns.count) > 1; i++)
		ask_one_by_one(FUSE_OPEN, 1);
	assert_int_equal(atomic_load(&turns.count), 1);
	/* and all again when he is not */
	assert_true(comes_to(&turns.count, THREADS));
	assert_true(comes_to(&turns.reading, THREADS));
}

static void who_waits_for_each_answer_finds_the_processors_awake(void **state)
{
	struct stat st = {0};

	(void)state;
	for (int i = 0; i < 1000 && st.st_size == 0; i++) {
		for (int k = 0; k < 100; k++) {
			ask_one_by_one(FUSE_OPEN, 1);
			usleep(20); /* so that they fall asleep */
		}
		assert_int_equal(stat(device, &st), 0);
	}
	assert_int_equal(st.st_size, sizeof(int32_t));
}

static void a_turn_that_is_lost_holds_up_nobody_in_the_end(void **state)
{
	struct fuse_in_header request;

	(void)state;
	leave_unwatched();
	ask_one_by_one(FUSE_OPEN, 1);
	/* one sleeps in read(2), with the turn */
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_cancel(threads[i]), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	turns_end(&turns);
	ask(FUSE_RELEASE, 0);
	assert_int_equal(turns_read(&turns, sockets[1], &request, sizeof(request)),
		sizeof(request));
	for (intptr_t i = 0; i < THREADS; i++) /* for drop() */
		assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_thread_serves_what_is_quick),
		T(what_may_wait_passes_the_turn_on),
		T(who_does_not_come_back_is_not_waited_for),
		T(beside_one_who_is_stuck_others_are_served_as_ever),
		T(who_says_that_it_takes_long_is_not_waited_for),
		T(turns_that_go_with_their_threads_are_made_good),
		T(slow_requests_that_queue_up_get_more_readers),
		T(requests_that_queue_up_get_more_readers),
		cmocka_unit_test_setup_teardown(
			while_processors_may_sleep_all_threads_read, make_many, drop),
		T(who_waits_for_each_answer_finds_the_processors_awake),
		T(a_turn_that_is_lost_holds_up_nobody_in_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
