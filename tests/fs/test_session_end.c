/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How a session's loop ends, and what it says of it. This program brings its own read(2), which the
 * linker takes before the C library's, for libfuse, too: it says what a test wants the kernel
 * to say when a mount is gone.
 */
#include "tests/fs/mounted_view.h"

#include "cache/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int
	said_instead; /* to the first who would be told that the mount is gone; 0: nothing */
static atomic_bool is_said;
static pthread_t main_thread;

/* readv(2), as that is the same to the kernel, and threads can be cancelled in it likewise */
ssize_t read(int fd, void *buffer, size_t size)
{
	struct iovec part = {.iov_base = buffer, .iov_len = size};
	ssize_t n = readv(fd, &part, 1);

	/* who has just taken the RELEASE is told the latter, and must not end it before the first one */
	bool is_gone = n < 0 && (errno == ENODEV || errno == ECONNABORTED);

	if (!is_gone || !atomic_load(&said_instead))
		return n;
	if (!atomic_exchange(&is_said, true))
		errno = atomic_load(&said_instead);
	else if (!pthread_equal(pthread_self(), main_thread))
		(void)pause(); /* the end is the first one's: libfuse cancels the others */
	return n;
}

static int make(void **state)
{
	assert_int_equal(mounted_make(state), 0);
	mount_tree(tree("first", NULL, 0));
	atomic_store(&said_instead, 0);
	atomic_store(&is_said, false);
	return 0;
}

/* Lazily while a file is open, so that its RELEASE is asked for as the connection goes. */
static int unmount_with_a_file_open(void)
{
	int fd = open(at("busy/lib/text"), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(umount2(mountpoint, MNT_DETACH), 0);
	close(fd);
	return mounted_wait();
}

static void an_unmount_ends_the_session_well(void **state)
{
	(void)state;
	assert_int_equal(unmount_with_a_file_open(), 0);
}

static void so_does_one_that_cuts_off_a_request_just_taken(void **state)
{
	(void)state;
	atomic_store(&said_instead, ECONNABORTED);
	assert_int_equal(unmount_with_a_file_open(), 0);
	assert_true(atomic_load(&is_said));
}

static void a_device_that_cannot_be_read_ends_it_with_the_reason(void **state)
{
	(void)state;
	atomic_store(&said_instead, EIO);
	assert_int_equal(unmount_with_a_file_open(), -EIO);
	assert_true(atomic_load(&is_said));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, mounted_drop)
	const struct CMUnitTest tests[] = {
		T(an_unmount_ends_the_session_well),
		T(so_does_one_that_cuts_off_a_request_just_taken),
		T(a_device_that_cannot_be_read_ends_it_with_the_reason),
	};

	if (!mounted_is_possible())
		return 77;
	main_thread = pthread_self();
	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
