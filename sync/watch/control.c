/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/watch/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define CALL_TIMEOUT_S 30
#define REPLY_STEP     (16 * 1024)

static int connect_to(const char *mountpoint, int *out_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	static const struct timeval timeout = {.tv_sec = CALL_TIMEOUT_S};
	int r = control_path(mountpoint, address.sun_path);

	if (r < 0)
		return r;
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == ECONNREFUSED ? -ENOENT : -errno;
	*out_fd = TAKE_FD(fd);
	return 0;
}

static int timeout_or(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK ? -ETIMEDOUT : -error;
}

static int send_request(int fd, const char *request)
{
	size_t left = strlen(request);

	while (left) {
		ssize_t n = send(fd, request, left, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return timeout_or(errno);
		request += n;
		left -= (size_t)n;
	}
	return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

static int receive_reply(int fd, struct buffer *reply)
{
	char step[REPLY_STEP];
	size_t before = reply->len;

	for (;;) {
		ssize_t n = recv(fd, step, sizeof(step), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return timeout_or(errno);
		if (n == 0)
			return reply->len > before ? 0 : -EBADMSG;
		int r = buffer_add(reply, step, (size_t)n);

		if (r < 0)
			return r;
	}
}

int control_call(const char *mountpoint, const char *request, struct buffer *reply)
{
	AUTO_CLOSE int fd = -1;
	int r = connect_to(mountpoint, &fd);

	if (r == 0)
		r = send_request(fd, request);
	return r < 0 ? r : receive_reply(fd, reply);
}
