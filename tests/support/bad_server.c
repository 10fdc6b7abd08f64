/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A web server over a directory that misbehaves on request:
 *
 *	bad_server PORT DIR MODE [--only PATTERN] [--after N] [--for N] [--hold N]
 *		[--connections N] [--served N]
 *
 * PORT 0 takes a free one; the port is printed on a line of its own. PATTERN (fnmatch) limits
 * the misbehaviour to some paths, --after N to what follows the first N such requests, --for N to
 * the N that come then. Modes: ok 404 500 redirect no-range short endless html close hang flip
 * drip tarpit header headers. Runs until it is killed; one thread a connection.
 *
 * --hold N: none is answered before N requests are there at once. --connections N: what connects
 * beyond N is closed at once. --served N: what connects beyond N is never read. Both count as there,
 * and for good. /crowd is always answered: how many requests were there at once at most, how many are
 * now, how many connections are open, and how many were closed at once.
 */
#include "cache/base/cleanup.h"
#include "cache/base/disk/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define REQUEST_MAX 8192
#define STEP_BYTES  (64 * 1024)
#define TARPIT_STEP 4000
#define LINGER_US   (50 * 1000) /* so that one who comes too many is counted */

enum mode {
	MODE_OK,
	MODE_404,
	MODE_500,
	MODE_REDIRECT,
	MODE_NO_RANGE,
	MODE_SHORT,
	MODE_ENDLESS,
	MODE_HTML,
	MODE_CLOSE,
	MODE_HANG,
	MODE_FLIP,
	MODE_DRIP,
	MODE_TARPIT,
	MODE_HEADER,
	MODE_HEADERS,
};

static const char *const mode_names[] = {"ok", "404", "500", "redirect", "no-range",
	"short", "endless", "html", "close", "hang", "flip", "drip", "tarpit", "header",
	"headers"};

static const char *root;
static enum mode mode;
static const char *only = "*";
static long good_first;
static long bad_count = LONG_MAX;
static atomic_long matched;

static long hold;
static long connections = LONG_MAX;
static long served_connections = LONG_MAX;
static atomic_long open_connections;
static atomic_long closed_at_once;
static pthread_mutex_t crowd_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static pthread_cond_t crowd_is_there = PTHREAD_COND_INITIALIZER;
static long crowd;
static long crowd_most;

struct request {
	char path[1024];
	bool is_range;
	unsigned long long first;
	unsigned long long last;
};

static int say(int fd, const char *text)
{
	return io_write(fd, text, strlen(text));
}

/* Reads up to the empty line. Returns false at the end of the connection. */
static bool read_head(int fd, char head[REQUEST_MAX])
{
	size_t len = 0;

	while (len < REQUEST_MAX - 1) {
		ssize_t n = read(fd, head + len, 1);

		if (n <= 0)
			return false;
		len += (size_t)n;
		head[len] = '\0';
		if (len >= 4 && strcmp(head + len - 4, "\r\n\r\n") == 0)
			return true;
	}
	return false;
}

static bool read_request(int fd, struct request *rq)
{
	char head[REQUEST_MAX];

	memset(rq, 0, sizeof(*rq));
	if (!read_head(fd, head) || sscanf(head, "GET %1023s", rq->path) != 1)
		return false;
	const char *range = strcasestr(head, "\r\nRange: bytes=");

	if (range) {
		char *end;

		rq->first = strtoull(range + strlen("\r\nRange: bytes="), &end, 10);
		rq->is_range = *end == '-';
		rq->last = rq->is_range ? strtoull(end + 1, &end, 10) : 0;
	}
	return !strstr(rq->path, "..");
}

static bool is_bad(const struct request *rq)
{
	if (fnmatch(only, rq->path, 0) != 0)
		return false;
	long n = atomic_fetch_add(&matched, 1);

	return n >= good_first && n - good_first < bad_count;
}

static void count_in(void)
{
	crowd++;
	if (crowd > crowd_most)
		crowd_most = crowd;
	pthread_cond_broadcast(&crowd_is_there);
}

static void join_crowd(void)
{
	pthread_mutex_lock(&crowd_lock);
	count_in();
	while (crowd_most < hold)
		pthread_cond_wait(&crowd_is_there, &crowd_lock);
	pthread_mutex_unlock(&crowd_lock);
	if (hold)
		usleep(LINGER_US);
}

/* One that is turned away, or never read. */
static void count_for_good(void)
{
	pthread_mutex_lock(&crowd_lock);
	count_in();
	pthread_mutex_unlock(&crowd_lock);
}

static void leave_crowd(void)
{
	pthread_mutex_lock(&crowd_lock);
	crowd--;
	pthread_mutex_unlock(&crowd_lock);
}

static int send_crowd(int fd)
{
	char body[128];
	char head[128];

	pthread_mutex_lock(&crowd_lock);
	(void)snprintf(body, sizeof(body), "%ld %ld %ld %ld\n", crowd_most, crowd,
		atomic_load(&open_connections), atomic_load(&closed_at_once));
	pthread_mutex_unlock(&crowd_lock);
	(void)snprintf(head, sizeof(head),
		"HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(body));
	int r = say(fd, head);

	return r < 0 ? r : say(fd, body);
}

static void wait_for_ever(void)
{
	for (;;)
		pause();
}

/* Eight bytes over and over, until the other side has enough. */
static int send_endless(int fd, const char *eight)
{
	char rubbish[STEP_BYTES];
	int r = 0;

	for (size_t i = 0; i < sizeof(rubbish); i += 8)
		memcpy(rubbish + i, eight, 8);
	while (r == 0)
		r = io_write(fd, rubbish, sizeof(rubbish));
	return r;
}

/* Answers that need no file. Returns -1 if `how` is none of them. */
static int send_refusal(int fd, enum mode how)
{
	static const char html[] = "<html><body>Please log in.</body></html>\n";
	char line[256];

	switch (how) {
	case MODE_404:
		return say(
			fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nno.\n");
	case MODE_500:
		return say(fd, "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\noops\n");
	case MODE_REDIRECT:
		return say(fd, "HTTP/1.1 302 Found\r\nLocation: "
			       "http://user:secret@elsewhere.example/depot\r\n"
			       "Content-Length: 0\r\n\r\n");
	case MODE_HTML:
		(void)snprintf(line, sizeof(line),
			"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
			"Content-Length: %zu\r\n\r\n%s",
			sizeof(html) - 1, html);
		return say(fd, line);
	case MODE_HANG:
		wait_for_ever();
		return 0;
	case MODE_HEADER:
		return say(fd, "HTTP/1.1 200 OK\r\nX: ") < 0
			       ? -EPIPE
			       : send_endless(fd, "aaaaaaaa");
	case MODE_HEADERS:
		return say(fd, "HTTP/1.1 200 OK\r\n") < 0
			       ? -EPIPE
			       : send_endless(fd, "X: bcd\r\n");
	default:
		return -1;
	}
}

/* Never silent, never done: 40 KB a second. */
static int send_slowly(int fd, const uint8_t *data, size_t len)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i += TARPIT_STEP) {
		r = io_write(fd, data + i, len - i < TARPIT_STEP ? len - i : TARPIT_STEP);
		usleep(100 * 1000);
	}
	return r;
}

/* A body that breaks off, comes a byte at a time, or has wrong bytes in it. */
static int send_part(int fd, enum mode how, uint8_t *data, size_t len,
	unsigned long long sent, unsigned long long total)
{
	if (how == MODE_DRIP) {
		for (size_t i = 0; i < len; i++) {
			if (io_write(fd, data + i, 1) < 0)
				return -EPIPE;
			usleep(100 * 1000);
		}
		return 0;
	}
	if (how == MODE_TARPIT)
		return send_slowly(fd, data, len);
	if (how == MODE_CLOSE && sent + len > total / 2)
		len = (size_t)(total / 2 - sent);
	if (how == MODE_FLIP)
		for (size_t i = len / 2; i < len; i += 4096)
			data[i] ^= 0x40;
	int r = io_write(fd, data, len);

	return r == 0 && how == MODE_CLOSE && sent + len >= total / 2 ? -EPIPE : r;
}

static int send_body(int fd, int file, enum mode how, unsigned long long first,
	unsigned long long total)
{
	static _Thread_local uint8_t data[STEP_BYTES];
	unsigned long long sent = 0;

	while (sent < total) {
		size_t len =
			total - sent < STEP_BYTES ? (size_t)(total - sent) : STEP_BYTES;
		ssize_t n = io_pread(file, data, len, (off_t)(first + sent));

		if (n <= 0)
			return -EIO;
		int r = send_part(fd, how, data, (size_t)n, sent, total);

		if (r < 0)
			return r;
		sent += (unsigned long long)n;
	}
	return how == MODE_ENDLESS ? send_endless(fd, "rubbish\n") : 0;
}

static int send_file(int fd, const struct request *rq, enum mode how)
{
	char path[2048];
	char head[512];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s%s", root, rq->path);
	AUTO_CLOSE int file = open(path, O_RDONLY | O_CLOEXEC);

	if (file < 0 || fstat(file, &st) < 0 || !S_ISREG(st.st_mode))
		return send_refusal(fd, MODE_404);
	bool is_range = rq->is_range && how != MODE_NO_RANGE;
	unsigned long long size = (unsigned long long)st.st_size;
	unsigned long long first = is_range ? rq->first : 0;
	unsigned long long last = is_range && rq->last < size ? rq->last : size - 1;

	if (first >= size)
		return say(fd, "HTTP/1.1 416 Past the end\r\nContent-Length: 0\r\n\r\n");
	unsigned long long total = last - first + 1;
	unsigned long long body = how == MODE_SHORT ? total / 2 : total;
	int n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n",
		is_range ? "206 Partial Content" : "200 OK");

	if (how != MODE_ENDLESS)
		n += snprintf(head + n, sizeof(head) - (size_t)n,
			"Content-Length: %llu\r\n", body);
	if (is_range)
		n += snprintf(head + n, sizeof(head) - (size_t)n,
			"Content-Range: bytes %llu-%llu/%llu\r\n", first, last, size);
	(void)snprintf(head + n, sizeof(head) - (size_t)n, "\r\n");
	int r = say(fd, head);

	return r < 0 ? r : send_body(fd, file, how, first, body);
}

static int answer(int fd, const struct request *rq)
{
	if (strcmp(rq->path, "/crowd") == 0)
		return send_crowd(fd);
	enum mode how = is_bad(rq) ? mode : MODE_OK;

	join_crowd();
	int r = send_refusal(fd, how);

	if (r == -1)
		r = send_file(fd, rq, how);
	leave_crowd();
	return r;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct request rq;

	while (read_request(fd, &rq) && answer(fd, &rq) == 0)
		;
	close(fd);
	(void)atomic_fetch_sub(&open_connections, 1);
	return NULL;
}

static int listen_at(const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
	socklen_t len = sizeof(address);
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, 128) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
		close(fd);
		return -1;
	}
	(void)printf("%d\n", ntohs(address.sin_port));
	(void)fflush(stdout);
	return fd;
}

static bool parse_arguments(int argc, char **argv)
{
	if (argc < 4 || argc % 2)
		return false;
	root = argv[2];
	while (mode < ARRAY_SIZE(mode_names) && strcmp(mode_names[mode], argv[3]) != 0)
		mode++;
	for (int i = 4; i < argc; i += 2) {
		if (strcmp(argv[i], "--only") == 0)
			only = argv[i + 1];
		else if (strcmp(argv[i], "--after") == 0)
			good_first = strtol(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--for") == 0)
			bad_count = strtol(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--hold") == 0)
			hold = strtol(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--connections") == 0)
			connections = strtol(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--served") == 0)
			served_connections = strtol(argv[i + 1], NULL, 10);
		else
			return false;
	}
	return mode < ARRAY_SIZE(mode_names);
}

int main(int argc, char **argv)
{
	if (!parse_arguments(argc, argv)) {
		(void)fprintf(stderr, "usage: bad_server PORT DIR MODE [--only PATTERN] "
				      "[--after N] [--for N] [--hold N] "
				      "[--connections N] [--served N]\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	int listener = listen_at(argv[1]);

	if (listener < 0) {
		perror("bad_server");
		return 1;
	}
	for (;;) {
		int one = 1;
		pthread_t thread;
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		if (atomic_fetch_add(&open_connections, 1) >= connections) {
			(void)atomic_fetch_sub(&open_connections, 1);
			(void)atomic_fetch_add(&closed_at_once, 1);
			count_for_good();
			close(fd);
			continue;
		}
		if (atomic_load(&open_connections) > served_connections) {
			(void)atomic_fetch_sub(&open_connections, 1);
			count_for_good();
			continue; /* and stays open until this program ends */
		}
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0)
			(void)pthread_detach(thread);
		else
			close(fd);
	}
}
