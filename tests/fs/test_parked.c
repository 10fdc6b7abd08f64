/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Parked requests without a kernel: this program brings its own struct fuse_req and the three
 * functions of libfuse that fs/session/parked.c calls on it, which the linker takes before the
 * library's.
 */
#include "tests/cache/support.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "fs/session/session_state.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define FOREVER (3600 * NS_PER_SEC)

struct fuse_req {
	struct mutex lock;
	struct condition changed;
	/* lock, all below */
	unsigned int answers;
	int error;
	fuse_interrupt_func_t interrupt;
	void *interrupt_data;
	bool is_interrupted;
};

static struct session session;

/* What run() and wait() of the test's operation do and see. */
static struct {
	struct mutex lock;
	bool is_here;	       /* run() may answer */
	int wait_result;       /* of wait(); -EINPROGRESS keeps the waiter */
	struct waiter *waiter; /* that was queued last */
	unsigned int runs;
	unsigned int waits;
	const char *name_seen;
	int64_t deadline_seen;
} op;

int fuse_reply_err(fuse_req_t req, int err)
{
	mutex_lock(&req->lock);
	req->answers++;
	req->error = err;
	condition_broadcast(&req->changed);
	mutex_unlock(&req->lock);
	return 0;
}

void *fuse_req_userdata(fuse_req_t req)
{
	(void)req;
	return &session;
}

/* As libfuse does: at once, when the interrupt was first. */
void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	mutex_lock(&req->lock);
	req->interrupt = func;
	req->interrupt_data = data;
	bool now = req->is_interrupted;

	mutex_unlock(&req->lock);
	if (now)
		func(req, data);
}

static void req_init(struct fuse_req *req)
{
	*req = (struct fuse_req){0};
	mutex_init(&req->lock);
	condition_init(&req->changed);
}

static void req_release(struct fuse_req *req)
{
	condition_release(&req->changed);
	mutex_release(&req->lock);
}

static unsigned int answers(struct fuse_req *req)
{
	mutex_lock(&req->lock);
	unsigned int n = req->answers;

	mutex_unlock(&req->lock);
	return n;
}

/* Waits for the answer and returns its error. */
static int answer_of(struct fuse_req *req)
{
	int64_t deadline_ns = clock_mono_ns() + 120 * NS_PER_SEC;
	int r = 0;

	mutex_lock(&req->lock);
	while (!req->answers && r == 0)
		r = condition_wait_until(&req->changed, &req->lock, deadline_ns);
	unsigned int n = req->answers;
	int error = req->error;

	mutex_unlock(&req->lock);
	assert_int_equal(n, 1);
	return error;
}

static void interrupt(struct fuse_req *req)
{
	mutex_lock(&req->lock);
	fuse_interrupt_func_t func = req->interrupt;
	void *data = req->interrupt_data;

	req->is_interrupted = true;
	mutex_unlock(&req->lock);
	if (func)
		func(req, data);
}

static int op_run(struct session *s, struct fuse_req *req, const struct parked_args *args)
{
	(void)s;
	mutex_lock(&op.lock);
	op.runs++;
	op.name_seen = args->name;
	bool is_here = op.is_here;

	mutex_unlock(&op.lock);
	if (!is_here)
		return -EAGAIN;
	fuse_reply_err(req, 0);
	return 0;
}

static int op_wait(struct session *s, const struct parked_args *args, struct waiter *w)
{
	(void)s;
	mutex_lock(&op.lock);
	op.waits++;
	op.deadline_seen = args->deadline_ns;
	int r = op.wait_result;

	if (r == -EINPROGRESS)
		op.waiter = w;
	else if (r == 0)
		op.is_here = true;
	mutex_unlock(&op.lock);
	return r;
}

static const struct parked_op test_op = {.run = op_run, .wait = op_wait};

static struct waiter *queued(void)
{
	mutex_lock(&op.lock);
	struct waiter *w = op.waiter;

	op.waiter = NULL;
	mutex_unlock(&op.lock);
	assert_non_null(w);
	return w;
}

static int make(void **state)
{
	(void)state;
	memset(&op, 0, sizeof(op));
	mutex_init(&op.lock);
	op.wait_result = -EINPROGRESS;
	return parked_list_init(&session.parked);
}

static int drop(void **state)
{
	(void)state;
	parked_list_end(&session.parked);
	parked_list_release(&session.parked);
	mutex_release(&op.lock);
	return 0;
}

static void start(struct fuse_req *req, int64_t timeout_ns)
{
	struct parked_args args = {.timeout_ns = timeout_ns};

	parked_start(&session, req, &test_op, &args);
}

static void what_is_here_is_answered_at_once(void **state)
{
	struct fuse_req req;

	(void)state;
	req_init(&req);
	op.is_here = true;
	start(&req, FOREVER);
	assert_int_equal(answer_of(&req), 0);
	assert_int_equal(op.waits, 0);
	req_release(&req);
}

static void a_parked_request_is_answered_when_its_content_comes(void **state)
{
	struct fuse_req req;

	(void)state;
	req_init(&req);
	start(&req, FOREVER);
	assert_int_equal(answers(&req), 0);
	op.is_here = true;
	struct waiter *w = queued();

	w->wake(w, 0);
	assert_int_equal(answer_of(&req), 0);
	req_release(&req);
}

static void it_is_parked_again_as_often_as_it_must_and_keeps_its_deadline(void **state)
{
	struct fuse_req req;

	(void)state;
	req_init(&req);
	start(&req, FOREVER);
	int64_t deadline_ns = op.deadline_seen;

	assert_true(deadline_ns > clock_mono_ns());
	for (int i = 0; i < 5; i++) {
		struct waiter *w = queued();

		w->wake(w, 0);
		assert_int_equal(answers(&req), 0);
		assert_true(op.deadline_seen == deadline_ns);
	}
	op.is_here = true;
	struct waiter *w = queued();

	w->wake(w, 0);
	assert_int_equal(answer_of(&req), 0);
	req_release(&req);
}

static void a_failure_is_told_in_the_kernels_words(void **state)
{
	static const struct {
		int error;
		int told;
	} cases[] = {{-EHOSTUNREACH, EIO}, {-EBADMSG, EIO}, {-ENOMEM, ENOMEM},
		{-ECANCELED, ENOTCONN}, {-ESTALE, ESTALE}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fuse_req req;

		req_init(&req);
		start(&req, FOREVER);
		struct waiter *w = queued();

		w->wake(w, cases[i].error);
		assert_int_equal(answer_of(&req), cases[i].told);
		req_release(&req);
	}
}

static void what_came_meanwhile_is_run_without_waiting(void **state)
{
	struct fuse_req req;

	(void)state;
	req_init(&req);
	op.wait_result = 0;
	start(&req, FOREVER);
	assert_int_equal(answer_of(&req), 0);
	assert_int_equal(op.runs, 2);
	req_release(&req);
}

static void what_cannot_be_waited_for_fails_at_once(void **state)
{
	struct fuse_req req;

	(void)state;
	req_init(&req);
	op.wait_result = -EHOSTUNREACH;
	start(&req, FOREVER);
	assert_int_equal(answer_of(&req), EIO);
	req_release(&req);
}

static void the_deadline_answers_and_a_late_arrival_does_not_again(void **state)
{
	struct fuse_req req;

	(void)state;
	req_init(&req);
	int64_t before_ns = clock_mono_ns();

	start(&req, 50 * NS_PER_MS);
	assert_int_equal(answer_of(&req), EIO);
	assert_true(clock_mono_ns() - before_ns >= 50 * NS_PER_MS);
	op.is_here = true;
	struct waiter *w = queued();

	w->wake(w, 0);
	assert_int_equal(answers(&req), 1);
	req_release(&req);
}

static void deadlines_are_kept_in_any_order(void **state)
{
	static const int ms[] = {90, 30, 60, 10};
	struct waiter *waiters[ARRAY_SIZE(ms)];
	struct fuse_req reqs[ARRAY_SIZE(ms)];

	(void)state;
	int64_t start_ns = clock_mono_ns();

	for (size_t i = 0; i < ARRAY_SIZE(ms); i++) {
		req_init(&reqs[i]);
		start(&reqs[i], ms[i] * NS_PER_MS);
		waiters[i] = queued();
	}
	assert_int_equal(answer_of(&reqs[3]), EIO);
	assert_int_equal(answer_of(&reqs[1]), EIO);
	assert_int_equal(answer_of(&reqs[2]), EIO);
	assert_int_equal(answer_of(&reqs[0]), EIO);
	assert_true(clock_mono_ns() - start_ns >= 90 * NS_PER_MS);
	for (size_t i = 0; i < ARRAY_SIZE(ms); i++) {
		waiters[i]->wake(waiters[i], -ECANCELED);
		assert_int_equal(answers(&reqs[i]), 1);
		req_release(&reqs[i]);
	}
}

static void the_sessions_end_fails_what_is_parked_and_what_comes(void **state)
{
	struct fuse_req reqs[3];
	struct waiter *waiters[2];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		req_init(&reqs[i]);
	for (size_t i = 0; i < 2; i++) {
		start(&reqs[i], FOREVER);
		waiters[i] = queued();
	}
	parked_list_end(&session.parked);
	assert_int_equal(answer_of(&reqs[0]), ENOTCONN);
	assert_int_equal(answer_of(&reqs[1]), ENOTCONN);
	start(&reqs[2], FOREVER);
	assert_int_equal(answer_of(&reqs[2]), ENOTCONN);
	for (size_t i = 0; i < 2; i++)
		waiters[i]->wake(waiters[i], 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(answers(&reqs[i]), 1);
		req_release(&reqs[i]);
	}
}

static void an_interrupt_answers_once_and_a_late_one_does_nothing(void **state)
{
	struct fuse_req req;
	struct fuse_req other;

	(void)state;
	req_init(&req);
	req_init(&other);
	start(&other, FOREVER);
	struct waiter *w_other = queued();

	start(&req, FOREVER);
	struct waiter *w = queued();

	interrupt(&req);
	assert_int_equal(answer_of(&req), EINTR);
	interrupt(&req);
	w->wake(w, 0);
	assert_int_equal(answers(&req), 1);
	/* the neighbour still waits */
	assert_int_equal(answers(&other), 0);
	op.is_here = true;
	w_other->wake(w_other, 0);
	assert_int_equal(answer_of(&other), 0);
	interrupt(&other);
	assert_int_equal(answers(&other), 1);
	req_release(&req);
	req_release(&other);
}

static void one_interrupted_before_it_is_parked_never_waits(void **state)
{
	struct fuse_req req;

	(void)state;
	req_init(&req);
	req.is_interrupted = true;
	start(&req, FOREVER);
	assert_int_equal(answer_of(&req), EINTR);
	assert_int_equal(op.waits, 0);
	req_release(&req);
}

static void the_name_is_copied_when_it_is_parked(void **state)
{
	struct fuse_req req;
	char name[] = "name";
	struct parked_args args = {.timeout_ns = FOREVER, .name = name};

	(void)state;
	req_init(&req);
	parked_start(&session, &req, &test_op, &args);
	memset(name, 'x', sizeof(name) - 1);
	op.is_here = true;
	struct waiter *w = queued();

	/* still parked: the copy is alive until it is woken */
	w->wake(w, -EIO);
	assert_int_equal(answer_of(&req), EIO);
	assert_ptr_equal(op.name_seen, name);
	req_release(&req);
}

static void without_memory_it_fails_instead_of_waiting(void **state)
{
	struct fuse_req req;

	(void)state;
	req_init(&req);
	mem_fail_after(0);
	start(&req, FOREVER);
	mem_fail_after(-1);
	assert_int_equal(answer_of(&req), ENOMEM);
	assert_int_equal(op.waits, 0);
	req_release(&req);
}

struct race {
	pthread_barrier_t start;
	struct waiter *waiter;
	struct fuse_req *req;
};

static void *race_wake(void *arg)
{
	struct race *race = arg;

	pthread_barrier_wait(&race->start);
	race->waiter->wake(race->waiter, -EHOSTUNREACH);
	return NULL;
}

static void *race_interrupt(void *arg)
{
	struct race *race = arg;

	pthread_barrier_wait(&race->start);
	interrupt(race->req);
	return NULL;
}

/* Arrival, interrupt and deadline at the same moment. */
static void whoever_is_first_answers_alone(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		struct fuse_req req;
		struct race race = {.req = &req};
		pthread_t threads[2];

		req_init(&req);
		start(&req, 1 + i * 5000);
		if (answers(&req) && !op.waiter) {
			/* its time was up before it could be parked */
			req_release(&req);
			continue;
		}
		race.waiter = queued();
		assert_int_equal(pthread_barrier_init(&race.start, NULL, 2), 0);
		assert_int_equal(pthread_create(&threads[0], NULL, race_wake, &race), 0);
		assert_int_equal(
			pthread_create(&threads[1], NULL, race_interrupt, &race), 0);
		assert_int_equal(pthread_join(threads[0], NULL), 0);
		assert_int_equal(pthread_join(threads[1], NULL), 0);
		(void)answer_of(&req);
		pthread_barrier_destroy(&race.start);
		req_release(&req);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(what_is_here_is_answered_at_once),
		T(a_parked_request_is_answered_when_its_content_comes),
		T(it_is_parked_again_as_often_as_it_must_and_keeps_its_deadline),
		T(a_failure_is_told_in_the_kernels_words),
		T(what_came_meanwhile_is_run_without_waiting),
		T(what_cannot_be_waited_for_fails_at_once),
		T(the_deadline_answers_and_a_late_arrival_does_not_again),
		T(deadlines_are_kept_in_any_order),
		T(the_sessions_end_fails_what_is_parked_and_what_comes),
		T(an_interrupt_answers_once_and_a_late_one_does_nothing),
		T(one_interrupted_before_it_is_parked_never_waits),
		T(the_name_is_copied_when_it_is_parked),
		T(without_memory_it_fails_instead_of_waiting),
		T(whoever_is_first_answers_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
