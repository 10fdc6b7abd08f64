/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/log.h"

#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define PROGRAM "depotfs: " /* not in the log's own file */

static atomic_int max_level = LOG_INFO;
static atomic_int log_fd = -1;
static atomic_bool to_stderr = true;

static struct mutex last_lock = MUTEX_INIT;
static char last_error[512] GUARDED_BY(last_lock);
static int64_t last_error_ns GUARDED_BY(last_lock); /* real time */

int log_open_file(const char *path)
{
	struct stat st;
	/* a pipe that nobody reads would hold up whoever opens it */
	int fd = open(path,
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		0640);

	if (fd < 0)
		return -errno;
	int r = fstat(fd, &st) < 0 ? -errno : 0;

	if (r == 0 && !S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		r = -EPERM;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int log_open(const char *path)
{
	int fd = log_open_file(path);

	if (fd < 0)
		return fd;
	int old = atomic_load(&log_fd);

	if (old < 0) {
		atomic_store(&log_fd, fd);
		return 0;
	}
	/* the number stays: somebody may be writing to it */
	int r = dup3(fd, old, O_CLOEXEC) < 0 ? -errno : 0;

	close(fd);
	return r;
}

bool log_goes_to(const struct stat *file)
{
	int fd = atomic_load(&log_fd);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == file->st_dev &&
	       st.st_ino == file->st_ino;
}

void log_set_level(enum log_level level)
{
	atomic_store(&max_level, (int)level);
}

void log_detach_stderr(void)
{
	atomic_store(&to_stderr, false);
}

void log_make_plain(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		/* U+0080 to U+009F are controls, too, and begin with 0xc2 in UTF-8 */
		bool is_upper = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;

		if (is_upper)
			*c++ = '?';
		if (is_upper || (*c < ' ' && *c != '\t') || *c == 0x7f)
			*c = '?';
	}
}

/* One write per line, so that lines of several threads do not mix. */
static void write_line(int fd, const char *line, size_t len)
{
	while (len) {
		ssize_t n = write(fd, line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		line += n;
		len -= (size_t)n;
	}
}

static PRINTF_LIKE(2, 0) void print_args(
	enum log_level level, const char *fmt, va_list args)
{
	static const char *const words[] = {"error: ", "warning: ", "", "debug: "};
	char line[2048];
	char stamp[40];
	int fd = atomic_load(&log_fd);

	int head = snprintf(line, sizeof(line), PROGRAM "%s", words[level]);
	int n = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, args);

	if (n < 0)
		return;
	log_make_plain(line);
	size_t len = strlen(line);

	if (level == LOG_ERR) {
		mutex_lock(&last_lock);
		(void)snprintf(last_error, sizeof(last_error), "%.500s", line + head);
		last_error_ns = clock_real_ns();
		mutex_unlock(&last_lock);
	}
	line[len++] = '\n';
	if (atomic_load(&to_stderr))
		write_line(STDERR_FILENO, line, len);
	if (fd >= 0) {
		struct timespec now;
		struct tm tm;

		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &tm);
		size_t s = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ ", &tm);
		size_t skip = strlen(PROGRAM);
		char whole[sizeof(stamp) + sizeof(line)];

		memcpy(whole, stamp, s);
		memcpy(whole + s, line + skip, len - skip);
		write_line(fd, whole, s + len - skip);
	}
}

void log_print(enum log_level level, const char *fmt, ...)
{
	va_list args;

	if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	va_start(args, fmt);
	print_args(level, fmt, args);
	va_end(args);
}

int log_error_errno(int r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print_args(LOG_ERR, fmt, args);
	va_end(args);
	return r;
}

const char *log_strerror(int r)
{
	switch (r < 0 ? -r : r) {
	case EBADMSG:
		return "the data is corrupt";
	case EKEYREJECTED:
		return "the signature is not valid for this key";
	case EHOSTUNREACH:
		return "no source answers";
	case ESTALE:
		return "superseded";
	case ENOSPC:
		return "the disk is full";
	default: {
		const char *text = strerrordesc_np(r < 0 ? -r : r);

		return text ? text : "unknown error";
	}
	}
}

int64_t log_last_error(char *out, size_t size)
{
	mutex_lock(&last_lock);
	(void)snprintf(out, size, "%s", last_error);
	int64_t time_ns = last_error_ns;

	mutex_unlock(&last_lock);
	return time_ns;
}
