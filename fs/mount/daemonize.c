/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mount/daemonize.h"

#include "cache/base/cli.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

/* The parent: one byte from the child is its exit status; none means that it died. */
static int await_child(int fd, pid_t child, int *out_status)
{
	unsigned char status;
	ssize_t n = io_read(fd, &status, 1);

	if (n < 0)
		return (int)n;
	if (n == 0) {
		log_error("the daemon (process %d) died before it was ready", (int)child);
		*out_status = EXIT_FAILED;
	} else {
		*out_status = status;
	}
	return 0;
}

int daemonize_begin(bool in_background, struct daemonize *d, int *out_status)
{
	int pipe_fds[2];

	*d = (struct daemonize){.is_daemon = true, .ready_fd = -1};
	if (!in_background)
		return 0;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	pid_t child = fork();

	if (child < 0) {
		int r = -errno;

		close(pipe_fds[0]);
		close(pipe_fds[1]);
		return r;
	}
	if (child == 0) {
		close(pipe_fds[0]);
		d->ready_fd = pipe_fds[1];
		return setsid() < 0 ? -errno : 0;
	}
	close(pipe_fds[1]);
	d->is_daemon = false;
	int r = await_child(pipe_fds[0], child, out_status);

	close(pipe_fds[0]);
	return r;
}

static void tell_parent(struct daemonize *d, int status)
{
	unsigned char byte = (unsigned char)status;

	if (d->ready_fd < 0)
		return;
	if (io_write(d->ready_fd, &byte, 1) < 0)
		log_warn("the command that started this daemon is gone");
	close(d->ready_fd);
	d->ready_fd = -1;
}

int daemonize_ready(struct daemonize *d)
{
	if (d->ready_fd < 0)
		return 0;
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	if (chdir("/") < 0)
		return -errno;
	log_detach_stderr();
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	tell_parent(d, EXIT_DONE);
	return 0;
}

void daemonize_end(struct daemonize *d, int status)
{
	tell_parent(d, status);
}
