/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/disk/file_lock.h"

#include "cache/base/disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

int file_lock_take(int dirfd, const char *name, pid_t *out_holder)
{
	AUTO_CLOSE int fd =
		openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char text[32] = "";

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int r = -errno;
		ssize_t n = io_pread(fd, text, sizeof(text) - 1, 0);

		*out_holder = n > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
		return r;
	}
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (ftruncate(fd, 0) < 0)
		return -errno;
	int r = io_pwrite(fd, text, (size_t)len, 0);

	if (r < 0)
		return r;
	return TAKE_FD(fd);
}
