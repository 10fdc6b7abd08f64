/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/watch/control.h"

#include "cache/base/disk/file_lock.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CLIENTS_MAX  32
#define HANDLERS_MAX 8
#define READ_STEP    4096

/* To send a request, or to take a step of the reply: nobody may hold a place by silence. */
#define CLIENT_TIMEOUT_NS (5 * NS_PER_SEC)
#define POLL_MS		  500

enum client_state {
	CLIENT_ASKS,
	CLIENT_WAITS, /* for one of the HANDLERS_MAX to be free */
	CLIENT_HANDLED,
	CLIENT_IS_TOLD,
};

/* All of it is the control thread's own, but while it is CLIENT_HANDLED request, reply and error are
 * its handler's, until this sets `is_over`. */
struct client {
	int fd; /* -1: free */
	enum client_state state;
	int64_t deadline_ns;
	size_t sent;
	struct control *control;
	pthread_t handler;
	atomic_bool is_over;
	int error;
	struct buffer request;
	struct buffer reply;
};

struct control {
	control_handler handle;
	void *arg;
	struct sockaddr_un address;
	int listener;
	int wake; /* an eventfd: look whether to stop, and for handlers that are over */
	atomic_bool is_stopping;
	pthread_t thread;
	size_t handlers; /* running */
	struct client clients[CLIENTS_MAX];
};

static void client_end(struct client *c)
{
	close(c->fd);
	c->fd = -1;
	buffer_release(&c->request);
	buffer_release(&c->reply);
}

/* Root and the daemon's own user; the modes of file and directory say the same. */
static bool peer_is_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

static void client_accept(struct control *control)
{
	int fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		/* it stays readable: without the pause this would spin until one comes free */
		if (errno == EMFILE || errno == ENFILE)
			(void)poll(NULL, 0, POLL_MS);
		return;
	}
	struct client *c = control->clients;
	const struct client *end = c + CLIENTS_MAX;

	while (c < end && c->fd >= 0)
		c++;
	if (c == end || !peer_is_allowed(fd)) {
		close(fd);
		return;
	}
	*c = (struct client){
		.fd = fd,
		.control = control,
		.deadline_ns = clock_mono_ns() + CLIENT_TIMEOUT_NS,
		.request = BUFFER_INIT(CONTROL_REQUEST_MAX + 1),
		.reply = BUFFER_INIT(CONTROL_REPLY_MAX),
	};
}

static void *run_handler(void *arg)
{
	struct client *c = arg;
	struct control *control = c->control;

	c->error =
		control->handle(control->arg, (const char *)c->request.data, &c->reply);
	atomic_store(&c->is_over, true);
	(void)eventfd_write(control->wake, 1);
	return NULL;
}

static void handler_begin(struct control *control, struct client *c)
{
	atomic_store(&c->is_over, false);
	if (thread_start(&c->handler, "control-verb", run_handler, c) < 0) {
		client_end(c);
		return;
	}
	c->state = CLIENT_HANDLED;
	control->handlers++;
}

/* Ends with the client told, or gone when there is nothing to tell it. */
static void handler_end(struct control *control, struct client *c)
{
	int r = 0;

	(void)pthread_join(c->handler, NULL);
	control->handlers--;
	if (c->error < 0) {
		c->reply.len = 0;
		r = buffer_printf(
			&c->reply, "{\"error\": \"%s\"}", log_strerror(c->error));
	}
	c->state = CLIENT_IS_TOLD;
	c->deadline_ns = clock_mono_ns() + CLIENT_TIMEOUT_NS;
	if (r < 0)
		client_end(c);
}

/* Who waits longest first: its deadline, set when it had asked, is the earliest. */
static void handlers_begin(struct control *control)
{
	while (control->handlers < HANDLERS_MAX) {
		struct client *first = NULL;

		for (struct client *c = control->clients;
			c < control->clients + CLIENTS_MAX; c++)
			if (c->fd >= 0 && c->state == CLIENT_WAITS &&
				(!first || c->deadline_ns < first->deadline_ns))
				first = c;
		if (!first)
			return;
		handler_begin(control, first);
	}
}

/* Both return 0 while there is more to come, 1 at the end, or -errno. */
static int client_read(struct client *c)
{
	char step[READ_STEP];
	ssize_t n = recv(c->fd, step, sizeof(step), 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0) {
		c->state = CLIENT_WAITS;
		c->deadline_ns = clock_mono_ns();
		return buffer_add(&c->request, "", 1);
	}
	if (c->request.len + (size_t)n > CONTROL_REQUEST_MAX)
		return -EMSGSIZE;
	return buffer_add(&c->request, step, (size_t)n);
}

static int client_write(struct client *c)
{
	ssize_t n = send(
		c->fd, c->reply.data + c->sent, c->reply.len - c->sent, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->sent += (size_t)n;
	c->deadline_ns = clock_mono_ns() + CLIENT_TIMEOUT_NS;
	return c->sent == c->reply.len;
}

static bool is_talking(const struct client *c)
{
	return c->fd >= 0 && (c->state == CLIENT_ASKS || c->state == CLIENT_IS_TOLD);
}

static void client_serve(struct control *control, struct client *c, short events)
{
	int r = 0;

	if (c->state == CLIENT_HANDLED && atomic_load(&c->is_over)) {
		handler_end(control, c);
		return;
	}
	if (!is_talking(c))
		return;
	if (events)
		r = c->state == CLIENT_IS_TOLD ? client_write(c) : client_read(c);
	if (r != 0 || (is_talking(c) && clock_mono_ns() > c->deadline_ns))
		client_end(c);
}

static void *run_control(void *arg)
{
	struct control *control = arg;
	struct pollfd polled[CLIENTS_MAX + 2];
	eventfd_t woken;

	while (!atomic_load(&control->is_stopping)) {
		polled[CLIENTS_MAX] = (struct pollfd){control->listener, POLLIN, 0};
		polled[CLIENTS_MAX + 1] = (struct pollfd){control->wake, POLLIN, 0};
		for (size_t i = 0; i < CLIENTS_MAX; i++) {
			const struct client *c = &control->clients[i];

			/* one whose request is being handled is not listened to */
			polled[i] = (struct pollfd){is_talking(c) ? c->fd : -1,
				c->state == CLIENT_IS_TOLD ? POLLOUT : POLLIN, 0};
		}
		if (poll(polled, ARRAY_SIZE(polled), POLL_MS) < 0 && errno != EINTR)
			break;
		(void)eventfd_read(control->wake, &woken);
		for (size_t i = 0; i < CLIENTS_MAX; i++)
			if (control->clients[i].fd >= 0)
				client_serve(
					control, &control->clients[i], polled[i].revents);
		handlers_begin(control);
		if (polled[CLIENTS_MAX].revents)
			client_accept(control);
	}
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &control->clients[i];

		if (c->fd >= 0 && c->state == CLIENT_HANDLED)
			handler_end(control, c);
		if (c->fd >= 0)
			client_end(c);
	}
	return NULL;
}

/* The socket's directory: made if missing, refused if others may enter it. */
static int open_directory(const char *path, int *out_fd)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return log_error_errno(-EPERM,
			"%s must belong to the daemon's user with mode 0700", path);
	*out_fd = TAKE_FD(fd);
	return 0;
}

static bool is_alive(const struct sockaddr_un *address)
{
	AUTO_CLOSE int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	/* a full backlog is a living daemon's too */
	return connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
	       errno == EAGAIN;
}

static int bind_socket(struct control *control)
{
	const struct sockaddr_un *address = &control->address;

	if (is_alive(address))
		return -EADDRINUSE;
	if (unlink(address->sun_path) < 0 && errno != ENOENT)
		return -errno;
	control->listener =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->listener < 0)
		return -errno;
	if (bind(control->listener, (const struct sockaddr *)address, sizeof(*address)) <
		0)
		return -errno;
	if (chmod(address->sun_path, 0600) < 0 || listen(control->listener, 64) < 0) {
		int error = -errno;

		(void)unlink(address->sun_path);
		return error;
	}
	return 0;
}

/* Under a lock in the directory, so that of two daemons that start together only one finds
 * the place free. */
static int claim(struct control *control)
{
	char dir[CONTROL_PATH_SIZE];
	char lock[CONTROL_PATH_SIZE];
	const char *path = control->address.sun_path;
	const char *slash = strrchr(path, '/');
	AUTO_CLOSE int dirfd = -1;
	AUTO_CLOSE int held = -1;
	pid_t holder;

	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	(void)snprintf(lock, sizeof(lock), "%.16s.lock", slash + 1);
	int r = open_directory(dir, &dirfd);

	if (r < 0)
		return r;
	held = file_lock_take(dirfd, lock, &holder);
	if (held < 0)
		return held == -EWOULDBLOCK ? -EADDRINUSE : held;
	/* the lock's file stays: removing it would let a third one lock another of its name */
	return bind_socket(control);
}

static void control_release(struct control *control)
{
	if (control->listener >= 0)
		close(control->listener);
	if (control->wake >= 0)
		close(control->wake);
	free(control);
}

int control_start(
	const char *mountpoint, control_handler handle, void *arg, struct control **out)
{
	struct control *control = mem_calloc(1, sizeof(*control));

	if (!control)
		return -ENOMEM;
	control->handle = handle;
	control->arg = arg;
	control->listener = -1;
	control->address.sun_family = AF_UNIX;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		control->clients[i].fd = -1;
	control->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = control->wake < 0 ? -errno : 0;

	if (r == 0)
		r = control_path(mountpoint, control->address.sun_path);
	if (r == 0)
		r = claim(control);
	if (r < 0) {
		control_release(control);
		return r;
	}
	r = thread_start(&control->thread, "control", run_control, control);
	if (r < 0) {
		(void)unlink(control->address.sun_path);
		control_release(control);
		return r;
	}
	*out = control;
	return 0;
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	/* gone first: who comes now is told that nobody serves the mountpoint */
	(void)unlink(control->address.sun_path);
	atomic_store(&control->is_stopping, true);
	(void)eventfd_write(control->wake, 1);
	(void)pthread_join(control->thread, NULL);
	control_release(control);
}
