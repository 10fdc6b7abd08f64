/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * relay: a TCP relay on loopback that behaves like a long and narrow line.
 *
 *   relay LISTEN_PORT TARGET_PORT [--rtt-ms N] [--mbit N] [--window-kib 4096]
 * [--no-slow-start] [--queue-ms N]
 *
 * LISTEN_PORT 0 takes a free one; the first line of output is {"port":N}. SIGUSR1,
 * SIGTERM and SIGINT print {"connections":N,"open":N,"up_bytes":N,"down_bytes":N}; the
 * latter two end it. up is from client to target; bytes are payload, counted when they
 * are delivered.
 *
 * Each direction is one line that all connections share. Turns on it go round the flows
 * that have something to send and whose window has room: half a millisecond of line time
 * each, so a bulk flow delays the others little. A turn is read from the sender's socket
 * when the line is free and not before, so the kernel's own buffers hold back the sender.
 * The bytes take their time on the line, then half the round trip, and are written to the
 * receiver; half a round trip later the sender has its acknowledgement. A flow's window
 * starts at 14 KiB (ten segments, RFC 6928), grows by what is acknowledged, and ends at
 * --window-kib. With --queue-ms turns are given for so much of line time to come, too: a router's
 * buffer, in which whoever comes later waits behind whoever filled it. A new connection costs a round trip, as SYN and SYN-ACK would. No loss,
 * no jitter, no headers.
 *
 * All that happens later is an event in one heap, ordered by its time.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SEGMENT_BYTES  1460
#define TURN_MAX_BYTES 65536
#define TURN_NS	       500000  /* line time of one turn, at least a segment */
#define LATE_NS	       2000000 /* line time that may be caught up after a late wake-up */
#define FIRST_WINDOW   (14 * 1024)
#define SECOND_NS      INT64_C(1000000000)

enum direction { UP, DOWN };

enum event_kind {
	CLIENT_READY,	/* the handshake's first round trip is over */
	TARGET_CONNECT, /* the handshake's end has reached the target */
	DELIVER,
	ACKNOWLEDGE,
};

/* Bytes on their way; no bytes at all: the sender's end of stream. */
struct parcel {
	struct parcel *next;
	size_t size;
	size_t written;
	unsigned char bytes[];
};

struct connection;

/* One direction of a connection. */
struct flow {
	struct connection *connection;
	struct flow *next_turn;
	enum direction direction;
	int from, to; /* -1: not open yet */
	size_t window, in_flight;
	struct parcel *arrived,
		**arrived_end; /* due, but the receiver's socket is full */
	bool is_readable, has_turn, is_finished, is_delivered;
};

struct connection {
	struct flow flows[2];
	unsigned references; /* events that name it, and one for being open */
	bool is_dead;
};

struct event {
	int64_t due_ns;
	uint64_t order; /* events of one time stay in order */
	enum event_kind kind;
	struct connection *connection;
	struct flow *flow;
	struct parcel *parcel;
	size_t size; /* ACKNOWLEDGE */
};

/* One direction's line: the flows that wait for a turn, and when the line is free again.
 */
struct line {
	struct flow *first, **end;
	int64_t free_ns;
};

struct relay {
	int64_t half_rtt_ns;
	int64_t queue_ns;
	double byte_ns; /* 0: no limit */
	size_t turn_bytes, first_window, last_window;
	struct sockaddr_in target;
	int epoll, listener;
	struct line lines[2];
	struct event *events; /* a binary heap */
	size_t event_count, event_size;
	uint64_t order;
	uint64_t connections, open, bytes[2];
};

static volatile sig_atomic_t stop_wanted, counts_wanted;

static void on_signal(int number)
{
	counts_wanted = 1;
	if (number != SIGUSR1)
		stop_wanted = 1;
}

static void *must_have(void *memory)
{
	if (!memory) {
		(void)fputs("relay: out of memory\n", stderr);
		exit(1);
	}
	return memory;
}

static int64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND_NS + t.tv_nsec;
}

static void print_counts(const struct relay *relay)
{
	(void)printf("{\"connections\":%ju,\"open\":%ju,\"up_bytes\":%ju,\"down_bytes\":%"
		     "ju}\n",
		(uintmax_t)relay->connections, (uintmax_t)relay->open,
		(uintmax_t)relay->bytes[UP], (uintmax_t)relay->bytes[DOWN]);
	(void)fflush(stdout);
}

/* --- events
 * ------------------------------------------------------------------------------ */

static bool is_before(const struct event *a, const struct event *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void event_add(struct relay *relay, struct event event)
{
	size_t i = relay->event_count++;

	if (relay->event_count > relay->event_size) {
		relay->event_size = relay->event_size ? 2 * relay->event_size : 256;
		relay->events = must_have(realloc(
			relay->events, relay->event_size * sizeof(*relay->events)));
	}
	event.order = relay->order++;
	event.connection->references++;
	for (; i > 0 && is_before(&event, &relay->events[(i - 1) / 2]); i = (i - 1) / 2)
		relay->events[i] = relay->events[(i - 1) / 2];
	relay->events[i] = event;
}

/* Takes the first event; there must be one. */
static struct event event_take(struct relay *relay)
{
	struct event first = relay->events[0];
	struct event last = relay->events[--relay->event_count];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < relay->event_count &&
			is_before(&relay->events[child + 1], &relay->events[child]))
			child++;
		if (child >= relay->event_count ||
			!is_before(&relay->events[child], &last))
			break;
		relay->events[i] = relay->events[child];
		i = child;
	}
	relay->events[i] = last;
	return first;
}

/* --- connections
 * ------------------------------------------------------------------------- */

static void connection_put(struct relay *relay, struct connection *connection)
{
	if (--connection->references)
		return;
	for (int i = 0; i < 2; i++) {
		while (connection->flows[i].arrived) {
			struct parcel *parcel = connection->flows[i].arrived;

			connection->flows[i].arrived = parcel->next;
			free(parcel);
		}
	}
	free(connection);
	relay->open--;
}

static void line_remove(struct line *line, struct flow *flow)
{
	struct flow **link = &line->first;

	while (*link && *link != flow)
		link = &(*link)->next_turn;
	if (!*link)
		return;
	*link = flow->next_turn;
	if (!*link)
		line->end = link;
	flow->has_turn = false;
}

/* Closes both sockets; what is under way is dropped as its events come due. */
static void connection_end(struct relay *relay, struct connection *connection)
{
	struct flow *up = &connection->flows[UP];

	if (connection->is_dead)
		return;
	connection->is_dead = true;
	line_remove(&relay->lines[UP], up);
	line_remove(&relay->lines[DOWN], &connection->flows[DOWN]);
	(void)close(up->from);
	if (up->to >= 0)
		(void)close(up->to);
	connection_put(relay, connection);
}

/* Joins the queue for a turn if the flow has something to send that its window allows. */
static void flow_want_turn(struct relay *relay, struct flow *flow)
{
	struct line *line = &relay->lines[flow->direction];

	if (flow->has_turn || !flow->is_readable || flow->is_finished || flow->from < 0 ||
		flow->in_flight >= flow->window)
		return;
	flow->has_turn = true;
	flow->next_turn = NULL;
	*line->end = flow;
	line->end = &flow->next_turn;
}

static void watch(struct relay *relay, int fd, struct flow *reads)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = reads};
	int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (epoll_ctl(relay->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		perror("relay: epoll_ctl");
}

static void connection_open(struct relay *relay, int client)
{
	struct connection *connection = must_have(calloc(1, sizeof(*connection)));
	int64_t now = now_ns();

	connection->references = 1;
	for (int i = 0; i < 2; i++) {
		struct flow *flow = &connection->flows[i];

		flow->connection = connection;
		flow->direction = i ? DOWN : UP;
		flow->from = flow->to = -1;
		flow->window = relay->first_window;
		flow->arrived_end = &flow->arrived;
	}
	connection->flows[UP].from = connection->flows[DOWN].to = client;
	relay->connections++;
	relay->open++;
	event_add(relay, (struct event){.due_ns = now + 2 * relay->half_rtt_ns,
				 .kind = CLIENT_READY,
				 .connection = connection});
	event_add(relay, (struct event){.due_ns = now + 3 * relay->half_rtt_ns,
				 .kind = TARGET_CONNECT,
				 .connection = connection});
}

static void connect_target(struct relay *relay, struct connection *connection)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const struct sockaddr *address = (const struct sockaddr *)&relay->target;

	if (fd < 0) {
		connection_end(relay, connection);
		return;
	}
	connection->flows[UP].to = connection->flows[DOWN].from = fd;
	if (connect(fd, address, sizeof(relay->target)) < 0 && errno != EINPROGRESS)
		connection_end(relay, connection);
	else
		watch(relay, fd, &connection->flows[DOWN]);
}

/* --- the way of the bytes
 * ---------------------------------------------------------------- */

/* Puts one turn's bytes on the line; they are free to take at the time the line says. */
static void flow_send(struct relay *relay, struct flow *flow, int64_t now)
{
	static unsigned char bytes[TURN_MAX_BYTES];
	struct line *line = &relay->lines[flow->direction];
	size_t room = flow->window - flow->in_flight;
	struct parcel *parcel;
	ssize_t size;

	room = room < relay->turn_bytes ? room : relay->turn_bytes;
	size = read(flow->from, bytes, room);
	if (size < 0) {
		flow->is_readable = errno == EINTR;
		if (errno != EAGAIN && errno != EINTR)
			connection_end(relay, flow->connection);
		return;
	}
	parcel = must_have(malloc(sizeof(*parcel) + (size_t)size));
	*parcel = (struct parcel){.size = (size_t)size};
	memcpy(parcel->bytes, bytes, (size_t)size);
	flow->is_finished = size == 0;
	flow->in_flight += (size_t)size;
	if (line->free_ns < now - LATE_NS)
		line->free_ns = now - LATE_NS;
	line->free_ns += (int64_t)((double)size * relay->byte_ns);
	event_add(relay,
		(struct event){.due_ns = relay->half_rtt_ns +
					 (line->free_ns > now ? line->free_ns : now),
			.kind = DELIVER,
			.connection = flow->connection,
			.flow = flow,
			.parcel = parcel});
}

/* Gives turns while the line is free. */
static void line_run(struct relay *relay, struct line *line, int64_t now)
{
	while (line->first &&
		(relay->byte_ns <= 0 || line->free_ns <= now + relay->queue_ns)) {
		struct flow *flow = line->first;
		struct connection *connection = flow->connection;

		connection->references++; /* it may end here */
		line_remove(line, flow);
		flow_send(relay, flow, now);
		if (!connection->is_dead)
			flow_want_turn(relay, flow);
		connection_put(relay, connection);
	}
}

/* 1 if the parcel is written in full, 0 if the receiver takes no more now, -1 if it is
 * gone. */
static int parcel_write(struct relay *relay, struct flow *flow, struct parcel *parcel)
{
	if (flow->to < 0)
		return 0;
	while (parcel->written < parcel->size) {
		ssize_t n = send(flow->to, parcel->bytes + parcel->written,
			parcel->size - parcel->written, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == ENOTCONN || errno == EINTR
				       ? 0
				       : -1;
		parcel->written += (size_t)n;
		relay->bytes[flow->direction] += (uint64_t)n;
	}
	if (parcel->size == 0) {
		(void)shutdown(flow->to, SHUT_WR);
		flow->is_delivered = true;
	}
	return 1;
}

/* Writes what has arrived, in order, and sends the acknowledgements on their way. */
static void flow_deliver(struct relay *relay, struct flow *flow, int64_t now)
{
	struct connection *connection = flow->connection;
	int r = 1;

	while (flow->arrived && (r = parcel_write(relay, flow, flow->arrived)) > 0) {
		struct parcel *parcel = flow->arrived;

		flow->arrived = parcel->next;
		if (!flow->arrived)
			flow->arrived_end = &flow->arrived;
		event_add(relay, (struct event){.due_ns = now + relay->half_rtt_ns,
					 .kind = ACKNOWLEDGE,
					 .connection = connection,
					 .flow = flow,
					 .size = parcel->size});
		free(parcel);
	}
	if (r < 0 || (connection->flows[UP].is_delivered &&
			     connection->flows[DOWN].is_delivered))
		connection_end(relay, connection);
}

static void flow_acknowledge(struct relay *relay, struct flow *flow, size_t size)
{
	flow->in_flight -= size;
	flow->window += size;
	if (flow->window > relay->last_window)
		flow->window = relay->last_window;
	flow_want_turn(relay, flow);
}

/* --- the loop
 * ---------------------------------------------------------------------------- */

static void handle_event(struct relay *relay, struct event *event, int64_t now)
{
	struct connection *connection = event->connection;

	if (connection->is_dead) {
		free(event->parcel);
	} else if (event->kind == CLIENT_READY) {
		watch(relay, connection->flows[UP].from, &connection->flows[UP]);
	} else if (event->kind == TARGET_CONNECT) {
		connect_target(relay, connection);
	} else if (event->kind == DELIVER) {
		*event->flow->arrived_end = event->parcel;
		event->flow->arrived_end = &event->parcel->next;
		flow_deliver(relay, event->flow, now);
	} else {
		flow_acknowledge(relay, event->flow, event->size);
	}
	connection_put(relay, connection);
}

static void run_events(struct relay *relay, int64_t now)
{
	while (relay->event_count && relay->events[0].due_ns <= now) {
		struct event event = event_take(relay);

		handle_event(relay, &event, now);
	}
}

/* @flow reads from the socket that woke us; the other flow of its connection writes to
 * it. */
static void handle_socket(struct relay *relay, struct flow *flow, uint32_t events)
{
	struct connection *connection = flow->connection;
	struct flow *writer = &connection->flows[flow->direction == UP ? DOWN : UP];

	if (connection->is_dead)
		return;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		flow->is_readable = true;
		flow_want_turn(relay, flow);
	}
	if (events & EPOLLOUT)
		flow_deliver(relay, writer, now_ns());
}

static void accept_clients(struct relay *relay)
{
	int fd;

	while ((fd = accept4(
			relay->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		connection_open(relay, fd);
}

/* Sleeps until a socket is ready, the next event is due, or a line with a queue is free.
 */
static void wait_and_handle(struct relay *relay)
{
	struct epoll_event ready[64];
	struct timespec wait;
	int64_t wake_ns = relay->event_count ? relay->events[0].due_ns : INT64_MAX;
	int64_t sleep_ns;
	int count;

	for (int i = 0; i < 2; i++)
		if (relay->lines[i].first &&
			relay->lines[i].free_ns - relay->queue_ns < wake_ns)
			wake_ns = relay->lines[i].free_ns - relay->queue_ns;
	sleep_ns = wake_ns == INT64_MAX ? 60 * SECOND_NS : wake_ns - now_ns();
	sleep_ns = sleep_ns > 0 ? sleep_ns : 0;
	wait.tv_sec = sleep_ns / SECOND_NS;
	wait.tv_nsec = sleep_ns % SECOND_NS;
	count = epoll_pwait2(relay->epoll, ready, 64, &wait, NULL);
	/* A connection that ends here is freed no sooner than its last reference: hold
	 * them all. */
	for (int i = 0; i < count; i++)
		if (ready[i].data.ptr)
			((struct flow *)ready[i].data.ptr)->connection->references++;
	for (int i = 0; i < count; i++) {
		struct flow *flow = ready[i].data.ptr;

		if (flow)
			handle_socket(relay, flow, ready[i].events);
		else
			accept_clients(relay);
	}
	for (int i = 0; i < count; i++)
		if (ready[i].data.ptr)
			connection_put(
				relay, ((struct flow *)ready[i].data.ptr)->connection);
}

static int relay_listen(struct relay *relay, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event event = {.events = EPOLLIN};
	socklen_t size = sizeof(address);
	int one = 1;

	relay->epoll = epoll_create1(EPOLL_CLOEXEC);
	relay->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (relay->epoll < 0 || relay->listener < 0 ||
		setsockopt(relay->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) <
			0 ||
		bind(relay->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(relay->listener, 1024) < 0 ||
		getsockname(relay->listener, (struct sockaddr *)&address, &size) < 0 ||
		epoll_ctl(relay->epoll, EPOLL_CTL_ADD, relay->listener, &event) < 0) {
		perror("relay: cannot listen");
		return -1;
	}
	(void)printf("{\"port\":%u}\n", ntohs(address.sin_port));
	(void)fflush(stdout);
	return 0;
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	(void)sigaction(SIGUSR1, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
}

static void relay_run(struct relay *relay)
{
	while (!stop_wanted) {
		int64_t now;

		wait_and_handle(relay);
		now = now_ns();
		run_events(relay, now);
		line_run(relay, &relay->lines[UP], now);
		line_run(relay, &relay->lines[DOWN], now);
		if (counts_wanted) {
			counts_wanted = 0;
			print_counts(relay);
		}
	}
}

static int parse_number(const char *text, double max, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return !*text || *end || !(*out >= 0 && *out <= max) ? -1 : 0;
}

static int parse_arguments(int argc, char **argv, struct relay *relay, uint16_t *out_port)
{
	static const struct option long_options[] = {
		{"rtt-ms", required_argument, NULL, 'r'},
		{"mbit", required_argument, NULL, 'm'},
		{"window-kib", required_argument, NULL, 'w'},
		{"no-slow-start", no_argument, NULL, 'n'},
		{"queue-ms", required_argument, NULL, 'q'}, {NULL, 0, NULL, 0}};
	double rtt_ms = 0, mbit = 0, window_kib = 4096, queue_ms = 0, port, target;
	bool is_slow_start = true;
	int c, r = 0;

	while (r == 0 && (c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (c == 'r')
			r = parse_number(optarg, 60000, &rtt_ms);
		else if (c == 'm')
			r = parse_number(optarg, 1e6, &mbit);
		else if (c == 'w')
			r = parse_number(optarg, 1 << 20, &window_kib);
		else if (c == 'q')
			r = parse_number(optarg, 60000, &queue_ms);
		else if (c == 'n')
			is_slow_start = false;
		else
			r = -1;
	}
	if (r < 0 || optind + 2 != argc || parse_number(argv[optind], 65535, &port) < 0 ||
		parse_number(argv[optind + 1], 65535, &target) < 0)
		return -1;
	relay->half_rtt_ns = (int64_t)(rtt_ms * 500000);
	relay->queue_ns = (int64_t)(queue_ms * 1000000);
	relay->byte_ns = mbit > 0 ? 8000 / mbit : 0;
	relay->turn_bytes = TURN_MAX_BYTES;
	if (mbit > 0 && TURN_NS / relay->byte_ns < TURN_MAX_BYTES)
		relay->turn_bytes = (size_t)(TURN_NS / relay->byte_ns);
	if (relay->turn_bytes < SEGMENT_BYTES)
		relay->turn_bytes = SEGMENT_BYTES;
	relay->last_window = (size_t)(window_kib * 1024);
	if (relay->last_window < FIRST_WINDOW)
		relay->last_window = FIRST_WINDOW;
	relay->first_window =
		is_slow_start && relay->half_rtt_ns ? FIRST_WINDOW : relay->last_window;
	relay->target = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons((uint16_t)target),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	*out_port = (uint16_t)port;
	return 0;
}

int main(int argc, char **argv)
{
	struct relay relay = {0};
	uint16_t port;

	if (parse_arguments(argc, argv, &relay, &port) < 0) {
		(void)fputs(
			"usage: relay LISTEN_PORT TARGET_PORT [--rtt-ms N] [--mbit N] "
			"[--window-kib N] [--no-slow-start] [--queue-ms N]\n",
			stderr);
		return 2;
	}
	relay.lines[UP].end = &relay.lines[UP].first;
	relay.lines[DOWN].end = &relay.lines[DOWN].first;
	catch_signals();
	if (relay_listen(&relay, port) < 0)
		return 1;
	relay_run(&relay);
	_exit(0); /* what open connections hold goes with the process */
}
