/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/disk/io.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* At `offset`, or without one where the descriptor stands. */
static int write_all(int fd, const char *data, size_t len, const off_t *offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = offset ? pwrite(fd, data + done, len - done,
					     *offset + (off_t)done)
				   : write(fd, data + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

int io_write(int fd, const void *data, size_t len)
{
	return write_all(fd, data, len, NULL);
}

int io_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return write_all(fd, data, len, &offset);
}

/* As write_all(); less than `len` at the end of the file. */
static ssize_t read_up_to(int fd, char *out, size_t len, const off_t *offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n =
			offset ? pread(fd, out + done, len - done, *offset + (off_t)done)
			       : read(fd, out + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t io_read(int fd, void *data, size_t len)
{
	return read_up_to(fd, data, len, NULL);
}

ssize_t io_pread(int fd, void *data, size_t len, off_t offset)
{
	return read_up_to(fd, data, len, &offset);
}

int io_pread_exact(int fd, void *data, size_t len, off_t offset)
{
	ssize_t n = io_pread(fd, data, len, offset);

	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -EBADMSG;
}

static int read_all(int fd, struct buffer *out)
{
	for (;;) {
		size_t step = 16 * 1024;

		/* at the maximum one more byte tells a full file from a too long one */
		if (out->max - out->len < step)
			step = out->max - out->len;
		if (step == 0) {
			char more;
			ssize_t n = io_read(fd, &more, 1);

			return n < 0 ? (int)n : n ? -EFBIG : 0;
		}
		int r = buffer_reserve(out, step);

		if (r < 0)
			return r;
		ssize_t n = io_read(fd, out->data + out->len, step);

		if (n < 0)
			return (int)n;
		out->len += (size_t)n;
		if ((size_t)n < step)
			return 0;
	}
}

int io_read_file(int dirfd, const char *path, struct buffer *out)
{
	AUTO_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : read_all(fd, out);
}

int io_read_regular(int dirfd, const char *path, struct buffer *out)
{
	AUTO_CLOSE int fd =
		openat(dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? read_all(fd, out) : -EINVAL;
}

int io_mkdirs(const char *path, mode_t mode)
{
	AUTO_FREE char *copy = mem_strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1; copy[0]; p++) {
		if (*p != '/' && *p != '\0')
			continue;
		char end = *p;

		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = end;
		if (!end)
			break;
	}
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

void io_raise_nofile(void)
{
	struct rlimit lim;
	static const rlim_t wanted = 1 << 20;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	struct rlimit more = {.rlim_cur = wanted, .rlim_max = wanted};

	/* only the privileged may go beyond the hard limit */
	if (lim.rlim_max < wanted && setrlimit(RLIMIT_NOFILE, &more) == 0)
		return;
	lim.rlim_cur = lim.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &lim);
}

int io_parse_u64(const char *text, unsigned long long *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);

	if (errno)
		return -errno;
	if (*end)
		return -EINVAL;
	*out = v;
	return 0;
}
