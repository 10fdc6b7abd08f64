/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/temporary.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "sync/watch/control.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char mountpoint[64];

static atomic_bool is_held;
static atomic_int holding;

/* Answers with the request itself; "fail" fails, "big" brings a mebibyte, "hold" waits while
 * is_held. */
static int echo(void *arg, const char *request, struct buffer *reply)
{
	(void)arg;
	if (strcmp(request, "fail") == 0)
		return -ENOSPC;
	if (strcmp(request, "big") == 0)
		return buffer_add_zero(reply, 1 << 20);
	if (strcmp(request, "hold") == 0) {
		atomic_fetch_add(&holding, 1);
		while (atomic_load(&is_held))
			(void)usleep(1000);
		atomic_fetch_sub(&holding, 1);
	}
	return buffer_printf(reply, "{\"you said\": \"%s\"}", request);
}

static int connect_raw(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(control_path(mountpoint, address.sun_path), 0);
	assert_int_equal(
		connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void expect_reply(const char *request, const char *reply)
{
	AUTO_BUFFER struct buffer out = BUFFER_INIT(CONTROL_REPLY_MAX);

	assert_int_equal(control_call(mountpoint, request, &out), 0);
	assert_int_equal(out.len, strlen(reply));
	assert_memory_equal(out.data, reply, out.len);
}

static void a_request_gets_its_reply(void **state)
{
	struct control *control;

	(void)state;
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	expect_reply("hello", "{\"you said\": \"hello\"}");
	expect_reply("", "{\"you said\": \"\"}");
	expect_reply("fail", "{\"error\": \"the disk is full\"}");
	control_stop(control);
}

static void a_large_reply_arrives_whole(void **state)
{
	AUTO_BUFFER struct buffer out = BUFFER_INIT(CONTROL_REPLY_MAX);
	AUTO_BUFFER struct buffer small = BUFFER_INIT(1000);
	struct control *control;

	(void)state;
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	assert_int_equal(control_call(mountpoint, "big", &out), 0);
	assert_int_equal(out.len, 1 << 20);
	assert_int_equal(control_call(mountpoint, "big", &small), -EFBIG);
	control_stop(control);
}

static void a_request_that_is_too_long_is_dropped(void **state)
{
	AUTO_FREE char *request = mem_alloc(CONTROL_REQUEST_MAX + 2);
	AUTO_BUFFER struct buffer out = BUFFER_INIT(CONTROL_REPLY_MAX);
	struct control *control;

	(void)state;
	assert_non_null(request);
	memset(request, 'x', CONTROL_REQUEST_MAX + 1);
	request[CONTROL_REQUEST_MAX + 1] = '\0';
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	assert_true(control_call(mountpoint, request, &out) < 0);
	request[CONTROL_REQUEST_MAX] = '\0';
	assert_int_equal(control_call(mountpoint, request, &out), 0);
	control_stop(control);
}

static void nobody_at_home_is_said_plainly(void **state)
{
	AUTO_BUFFER struct buffer out = BUFFER_INIT(1000);
	struct control *control;

	(void)state;
	assert_int_equal(control_call(mountpoint, "hello", &out), -ENOENT);
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	control_stop(control);
	assert_int_equal(control_call(mountpoint, "hello", &out), -ENOENT);
	assert_int_equal(control_call("/no/such/place", "hello", &out), -ENOENT);
}

static void silent_clients_keep_nobody_waiting(void **state)
{
	struct control *control;
	int fds[40];
	char byte;

	(void)state;
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	for (size_t i = 0; i < 20; i++)
		fds[i] = connect_raw();
	int64_t start_ns = clock_mono_ns();

	expect_reply("hello", "{\"you said\": \"hello\"}");
	assert_true(clock_mono_ns() - start_ns < 4 * NS_PER_SEC);
	/* and are shown out after a while */
	assert_int_equal(recv(fds[0], &byte, 1, 0), 0);
	assert_true(clock_mono_ns() - start_ns < 60 * NS_PER_SEC);
	control_stop(control);
	for (size_t i = 0; i < 20; i++)
		close(fds[i]);
}

static void a_second_daemon_is_refused_while_the_first_lives(void **state)
{
	struct control *control;
	struct control *second;

	(void)state;
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	assert_int_equal(control_start(mountpoint, echo, NULL, &second), -EADDRINUSE);
	expect_reply("hello", "{\"you said\": \"hello\"}");
	control_stop(control);
}

static void a_dead_daemons_socket_is_replaced(void **state)
{
	struct control *control;
	char path[CONTROL_PATH_SIZE];
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(control_start(mountpoint, echo, NULL, &control) == 0 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(control_path(mountpoint, path), 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	expect_reply("hello", "{\"you said\": \"hello\"}");
	control_stop(control);
	assert_int_equal(access(path, F_OK), -1);
}

static void the_socket_is_for_its_owner_only(void **state)
{
	struct control *control;
	char path[CONTROL_PATH_SIZE];
	struct stat st;

	(void)state;
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	assert_int_equal(control_path(mountpoint, path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	*strrchr(path, '/') = '\0';
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	control_stop(control);
}

static void all_spellings_of_a_mountpoint_are_one(void **state)
{
	char a[CONTROL_PATH_SIZE];
	char b[CONTROL_PATH_SIZE];
	char odd[128];

	(void)state;
	(void)snprintf(odd, sizeof(odd), "%s/../%s/", mountpoint, mountpoint + 5);
	assert_int_equal(control_path(mountpoint, a), 0);
	assert_int_equal(control_path(odd, b), 0);
	assert_string_equal(a, b);
}

static void *call_often(void *arg)
{
	int *bad = arg;

	for (int i = 0; i < 100; i++) {
		AUTO_BUFFER struct buffer out = BUFFER_INIT(1000);

		if (control_call(mountpoint, "x", &out) != 0 ||
			out.len != strlen("{\"you said\": \"x\"}"))
			(*bad)++;
	}
	return NULL;
}

static void many_callers_all_get_their_replies(void **state)
{
	enum { CALLERS = 8 };
	struct control *control;
	pthread_t threads[CALLERS];
	int bad[CALLERS] = {0};

	(void)state;
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	for (size_t i = 0; i < CALLERS; i++)
		assert_int_equal(
			thread_start(&threads[i], "caller", call_often, &bad[i]), 0);
	for (size_t i = 0; i < CALLERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(bad[i], 0);
	}
	control_stop(control);
}

static void *call_hold(void *arg)
{
	AUTO_BUFFER struct buffer out = BUFFER_INIT(1000);
	int *result = arg;

	*result = control_call(mountpoint, "hold", &out);
	if (*result == 0 && (out.len != strlen("{\"you said\": \"hold\"}")))
		*result = -EBADMSG;
	return NULL;
}

static void wait_for_holding(int count)
{
	int64_t deadline_ns = clock_mono_ns() + 120 * NS_PER_SEC;

	while (atomic_load(&holding) != count && clock_mono_ns() < deadline_ns)
		(void)usleep(1000);
	assert_int_equal(atomic_load(&holding), count);
}

static void a_slow_answer_keeps_nobody_waiting(void **state)
{
	struct control *control;
	pthread_t thread;
	int result;

	(void)state;
	atomic_store(&is_held, true);
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	assert_int_equal(thread_start(&thread, "caller", call_hold, &result), 0);
	wait_for_holding(1);
	expect_reply("hello", "{\"you said\": \"hello\"}");
	assert_int_equal(atomic_load(&holding), 1);
	atomic_store(&is_held, false);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(result, 0);
	control_stop(control);
}

static void more_than_eight_slow_answers_take_turns(void **state)
{
	enum { CALLERS = 12 };
	struct control *control;
	pthread_t threads[CALLERS];
	int results[CALLERS];

	(void)state;
	atomic_store(&is_held, true);
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	for (size_t i = 0; i < CALLERS; i++)
		assert_int_equal(
			thread_start(&threads[i], "caller", call_hold, &results[i]), 0);
	wait_for_holding(8);
	(void)usleep(100000);
	assert_int_equal(atomic_load(&holding), 8);
	atomic_store(&is_held, false);
	for (size_t i = 0; i < CALLERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(results[i], 0);
	}
	control_stop(control);
}

static void *let_go_later(void *arg)
{
	(void)arg;
	(void)usleep(200000);
	atomic_store(&is_held, false);
	return NULL;
}

static void the_end_waits_for_what_is_being_answered(void **state)
{
	struct control *control;
	pthread_t caller;
	pthread_t letter;
	int result;

	(void)state;
	atomic_store(&is_held, true);
	assert_int_equal(control_start(mountpoint, echo, NULL, &control), 0);
	assert_int_equal(thread_start(&caller, "caller", call_hold, &result), 0);
	wait_for_holding(1);
	assert_int_equal(thread_start(&letter, "letter", let_go_later, NULL), 0);
	control_stop(control);
	assert_false(atomic_load(&is_held));
	assert_int_equal(atomic_load(&holding), 0);
	assert_int_equal(pthread_join(letter, NULL), 0);
	/* whether the answer still reached it is nobody's promise */
	assert_int_equal(pthread_join(caller, NULL), 0);
}

static int make(void **state)
{
	(void)state;
	if (!temporary_dir(mountpoint, sizeof(mountpoint), "control"))
		return -1;
	if (geteuid() != 0 && !getenv("XDG_RUNTIME_DIR"))
		return setenv("XDG_RUNTIME_DIR", mountpoint, 1);
	return 0;
}

static int clean(void **state)
{
	char path[CONTROL_PATH_SIZE];
	char lock[CONTROL_PATH_SIZE + 8];

	(void)state;
	if (control_path(mountpoint, path) < 0)
		return -1;
	*strrchr(path, '.') = '\0';
	(void)snprintf(lock, sizeof(lock), "%s.lock", path);
	(void)unlink(lock);
	*strrchr(path, '/') = '\0';
	if (strncmp(path, mountpoint, strlen(mountpoint)) == 0)
		(void)rmdir(path);
	return rmdir(mountpoint);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_gets_its_reply),
		cmocka_unit_test(a_large_reply_arrives_whole),
		cmocka_unit_test(a_request_that_is_too_long_is_dropped),
		cmocka_unit_test(nobody_at_home_is_said_plainly),
		cmocka_unit_test(silent_clients_keep_nobody_waiting),
		cmocka_unit_test(a_second_daemon_is_refused_while_the_first_lives),
		cmocka_unit_test(a_dead_daemons_socket_is_replaced),
		cmocka_unit_test(the_socket_is_for_its_owner_only),
		cmocka_unit_test(all_spellings_of_a_mountpoint_are_one),
		cmocka_unit_test(many_callers_all_get_their_replies),
		cmocka_unit_test(a_slow_answer_keeps_nobody_waiting),
		cmocka_unit_test(more_than_eight_slow_answers_take_turns),
		cmocka_unit_test(the_end_waits_for_what_is_being_answered),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
