/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/temporary.h"

#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "sync/reconcile/run/run_queue.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static char directory[32];
static struct state_db *db;
static struct run_queue *queue;

static void open_queue(void)
{
	assert_int_equal(state_db_open(directory, &db), 0);
	assert_int_equal(run_queue_new(db, &queue), 0);
}

static void close_queue(void)
{
	run_queue_stop(queue);
	run_queue_free(queue);
	state_db_close(db);
}

static int64_t add(const char *job, const char *selection, bool is_dry)
{
	const struct run_record run = {.job = job,
		.trigger = RUN_BY_HAND,
		.selection = selection,
		.is_dry = is_dry};
	int64_t id = 0;

	assert_int_equal(run_queue_add(queue, &run, &id), 0);
	assert_true(id > 0);
	return id;
}

static void take(int64_t id, struct run_record **out)
{
	assert_int_equal(run_queue_take(queue, out), 0);
	assert_int_equal((*out)->id, id);
	assert_int_equal((*out)->state, RUN_RUNNING);
}

static void finish(struct run_record *run, enum run_state state)
{
	run->state = state;
	run_queue_finish(queue, run);
}

static enum run_state state_of(int64_t id)
{
	struct run_list list;

	assert_int_equal(state_db_run_find(db, id, &list), 0);
	enum run_state state = list.items[0].state;

	run_list_release(&list);
	return state;
}

static void runs_are_taken_in_order(void **state)
{
	struct run_record *run;

	(void)state;
	open_queue();
	int64_t a = add("a", "", false);
	int64_t b = add("b", "npm/x", false);

	take(a, &run);
	assert_int_equal(run_queue_running(queue), a);
	assert_int_equal((int)run_queue_waiting(queue), 1);
	finish(run, RUN_DONE);
	assert_int_equal(state_of(a), RUN_DONE);
	take(b, &run);
	assert_string_equal(run->selection, "npm/x");
	finish(run, RUN_FAILED);
	assert_int_equal(state_of(b), RUN_FAILED);
	close_queue();
}

static void the_same_again_joins_what_waits_but_not_what_runs(void **state)
{
	struct run_record *run;

	(void)state;
	open_queue();
	int64_t a = add("sync", "", false);

	assert_int_equal(add("sync", "", false), a);
	take(a, &run);
	int64_t b = add("sync", "", false);

	assert_true(b != a);
	assert_int_equal(add("sync", "", false), b);
	assert_true(add("sync", "npm/*", false) != b);
	finish(run, RUN_DONE);
	close_queue();
}

static void a_cancelled_run_is_over(void **state)
{
	struct run_record *run;

	(void)state;
	open_queue();
	/* the one that the test before left */
	while (run_queue_waiting(queue)) {
		assert_int_equal(run_queue_take(queue, &run), 0);
		finish(run, RUN_DONE);
	}
	int64_t a = add("a", "", false);
	int64_t b = add("b", "", false);

	take(a, &run);
	assert_int_equal(run_queue_cancel(queue, b), 0);
	assert_int_equal(state_of(b), RUN_CANCELLED);
	assert_int_equal((int)run_queue_waiting(queue), 0);
	assert_false(atomic_load(run_queue_cancelled(queue)));
	assert_int_equal(run_queue_cancel(queue, a), 0);
	assert_true(atomic_load(run_queue_cancelled(queue)));
	finish(run, RUN_CANCELLED);
	assert_int_equal(run_queue_cancel(queue, a), -ENOENT);
	assert_int_equal(run_queue_cancel(queue, b), -ENOENT);
	int64_t c = add("c", "", false);

	take(c, &run);
	assert_false(atomic_load(run_queue_cancelled(queue)));
	finish(run, RUN_DONE);
	close_queue();
}

static void what_a_kill_interrupted_waits_again(void **state)
{
	struct run_record *run;

	(void)state;
	open_queue();
	int64_t a = add("a", "npm/y", false);
	int64_t b = add("b", "", false);
	int64_t dry = add("c", "", true);

	take(a, &run);
	/* no end is written, as after a kill; the queue alone is let go */
	run->state = RUN_RUNNING;
	run_queue_finish(queue, run);
	close_queue();
	open_queue();
	assert_int_equal(state_of(dry), RUN_CANCELLED);
	take(a, &run);
	assert_int_equal(run->trigger, RUN_BY_RESUME);
	assert_string_equal(run->selection, "npm/y");
	finish(run, RUN_DONE);
	take(b, &run);
	assert_int_equal(run->trigger, RUN_BY_HAND);
	finish(run, RUN_DONE);
	close_queue();
}

static void a_run_that_owes_its_hook_is_taken_even_if_it_is_cancelled(void **state)
{
	struct run_record *run;

	(void)state;
	open_queue();
	int64_t a = add("owing", "", false);

	take(a, &run);
	run->is_post_owed = true;
	/* no end is written, as after a kill */
	run_queue_finish(queue, run);
	close_queue();
	open_queue();
	assert_int_equal(run_queue_cancel(queue, a), 0);
	assert_int_equal(state_of(a), RUN_QUEUED);
	/* what is asked for now must not join it */
	int64_t b = add("owing", "", false);

	assert_true(b != a);
	take(a, &run);
	assert_true(run->is_post_owed);
	assert_true(atomic_load(run_queue_cancelled(queue)));
	finish(run, RUN_CANCELLED);
	take(b, &run);
	assert_false(atomic_load(run_queue_cancelled(queue)));
	finish(run, RUN_DONE);
	close_queue();
}

static void *stop_soon(void *arg)
{
	usleep(100000);
	run_queue_stop(arg);
	return NULL;
}

static void a_stop_wakes_who_waits(void **state)
{
	struct run_record *run;
	pthread_t thread;

	(void)state;
	open_queue();
	assert_int_equal(thread_start(&thread, "stop", stop_soon, queue), 0);
	assert_int_equal(run_queue_take(queue, &run), -ECANCELED);
	pthread_join(thread, NULL);
	close_queue();
}

static int set_up(void **state)
{
	(void)state;
	return temporary_dir(directory, sizeof(directory), "queue") ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"state.db", "state.db-wal", "state.db-shm"};
	char path[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		(void)unlink(path);
	}
	return rmdir(directory);
}

/* A full disk, as files may not grow. */
static void what_the_database_does_not_take_has_ended_all_the_same(void **state)
{
	struct rlimit before;
	struct run_record *run;
	struct run_record seen;
	char message[64];

	(void)state;
	open_queue();
	int64_t first = add("early", "", false);
	int64_t second = add("late", "", false);

	assert_int_equal(run_queue_take(queue, &run), 0);
	while (run->id != first) { /* what the tests before left waiting */
		finish(run, RUN_DONE);
		assert_int_equal(run_queue_take(queue, &run), 0);
	}
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	finish(run, RUN_FAILED);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(state_of(first), RUN_RUNNING);
	seen = (struct run_record){.id = first, .state = RUN_RUNNING};
	assert_true(run_queue_correct(queue, &seen, message, sizeof(message)));
	assert_int_equal(seen.state, RUN_FAILED);
	assert_true(seen.end_ns > 0);
	seen = (struct run_record){.id = second};
	assert_false(run_queue_correct(queue, &seen, message, sizeof(message)));
	take(second, &run);
	finish(run, RUN_DONE);
	assert_int_equal(state_of(first), RUN_FAILED);
	seen = (struct run_record){.id = first};
	assert_false(run_queue_correct(queue, &seen, message, sizeof(message)));
	close_queue();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_are_taken_in_order),
		cmocka_unit_test(the_same_again_joins_what_waits_but_not_what_runs),
		cmocka_unit_test(what_the_database_does_not_take_has_ended_all_the_same),
		cmocka_unit_test(a_cancelled_run_is_over),
		cmocka_unit_test(what_a_kill_interrupted_waits_again),
		cmocka_unit_test(
			a_run_that_owes_its_hook_is_taken_even_if_it_is_cancelled),
		cmocka_unit_test(a_stop_wakes_who_waits),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
