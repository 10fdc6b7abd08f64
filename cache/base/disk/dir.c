/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/disk/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

int dir_each(int dirfd, const char *path, dir_callback each, void *arg)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	DIR *dir = fdopendir(fd);

	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	for (;;) {
		errno = 0;
		const struct dirent *d = readdir(dir);

		if (!d) {
			r = -errno;
			break;
		}
		if (d->d_name[0] == '.')
			continue;
		r = each(arg, fd, d->d_name);
		if (r != 0)
			break;
	}
	closedir(dir);
	return r;
}
