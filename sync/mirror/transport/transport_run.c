/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/transport/transport_run.h"

#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"
#include "sync/mirror/transport/url.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define RECEIVE_BUFFER_BYTES (256L * 1024)
#define POLITE_BUFFER_BYTES  (32L * 1024) /* so little is read after the word to stop */
#define WINDOW_FREE	     (64 * 1024 * 1024)
#define DRAIN_MAX_BYTES	     (16 * 1024)
#define HEADERS_MAX_BYTES    (256 * 1024)

/* A transfer that moves less than this in its time-out stands still: one byte now and
 * then must not hold a reader for ever. Whoever has another source asks for more. */
#define PROGRESS_MIN_BYTES 4096

static int run_fail(struct run *run, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int run_fail(struct run *run, int error, const char *fmt, ...)
{
	va_list args;

	if (run->error)
		return run->error;
	run->error = error;
	va_start(args, fmt);
	(void)vsnprintf(run->reason, sizeof(run->reason), fmt, args);
	va_end(args);
	return error;
}

static bool header_is(
	const char *line, size_t len, const char *name, const char **out_value)
{
	size_t n = strlen(name);

	if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	const char *value = line + n + 1;

	while (value < line + len && (*value == ' ' || *value == '\t'))
		value++;
	*out_value = value;
	return true;
}

static bool take_number(const char **p, const char *end, uint64_t *out)
{
	const char *start = *p;
	uint64_t n = 0;

	while (*p < end && **p >= '0' && **p <= '9') {
		if (__builtin_mul_overflow(n, (uint64_t)10, &n) ||
			__builtin_add_overflow(n, (uint64_t)(**p - '0'), &n))
			return false;
		(*p)++;
	}
	*out = n;
	return *p > start;
}

/* `bytes FIRST-LAST/TOTAL`, RFC 9110, 14.4. */
static void read_content_range(struct run *run, const char *p, const char *end)
{
	if (end - p < 6 || strncasecmp(p, "bytes ", 6) != 0)
		return;
	p += 6;
	if (!take_number(&p, end, &run->range_first) || p == end || *p++ != '-')
		return;
	if (!take_number(&p, end, &run->range_last) || p == end || *p != '/')
		return;
	run->has_content_range = true;
}

/* A value that does not fit, or has what no header may have, is as good as none. */
static void keep_value(char *out, size_t size, const char *value, const char *end)
{
	size_t len = strcspn(value, "\r\n");

	out[0] = '\0';
	if (value + len > end || len >= size)
		return;
	for (size_t i = 0; i < len; i++)
		if (value[i] < ' ' || value[i] > '~')
			return;
	memcpy(out, value, len);
	out[len] = '\0';
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
	struct run *run = arg;
	size_t len = size * count;
	const char *value;

	if (!run->is_http)
		return len;
	/* curl keeps all that it is sent */
	run->header_bytes += len;
	if (run->header_bytes > HEADERS_MAX_BYTES) {
		(void)run_fail(run, -EPROTO, "sent headers without end");
		return 0;
	}
	if (len > 5 && strncmp(line, "HTTP/", 5) == 0) {
		run->has_content_range = false;
		run->location[0] = '\0';
		run->date[0] = '\0';
		run->version = (struct transfer_version){0};
	} else if (header_is(line, len, "Content-Range", &value)) {
		read_content_range(run, value, line + len);
	} else if (header_is(line, len, "Location", &value)) {
		char raw[sizeof(run->location)];
		size_t n = strcspn(value, "\r\n");

		(void)snprintf(raw, sizeof(raw), "%.*s", (int)n, value);
		url_strip(raw, run->location, sizeof(run->location));
	} else if (header_is(line, len, "ETag", &value)) {
		keep_value(
			run->version.etag, sizeof(run->version.etag), value, line + len);
	} else if (header_is(line, len, "Last-Modified", &value)) {
		keep_value(run->version.last_modified, sizeof(run->version.last_modified),
			value, line + len);
	} else if (header_is(line, len, "Date", &value)) {
		keep_value(run->date, sizeof(run->date), value, line + len);
	}
	return len;
}

static int judge_range(struct run *run)
{
	const struct transfer *t = run->transfer;

	if (run->status == 200)
		return run_fail(run, -EPROTO,
			"answered 200 to a range request (the server or a proxy "
			"does not support ranges)");
	if (run->status != 206)
		return run_fail(run, -EPROTO, "HTTP %ld", run->status);
	if (!run->has_content_range)
		return run_fail(run, -EPROTO, "HTTP 206 without a Content-Range");
	if (run->range_first != t->offset || run->range_last != t->offset + t->length - 1)
		return run_fail(run, -EPROTO,
			"answered bytes %" PRIu64 "-%" PRIu64 " where %" PRIu64
			"-%" PRIu64 " were asked for",
			run->range_first, run->range_last, t->offset,
			t->offset + t->length - 1);
	return 0;
}

/* The status says whether the body is what was asked for. */
static int judge(struct run *run)
{
	if (run->is_judged || !run->is_http)
		return run->error;
	run->is_judged = true;
	(void)curl_easy_getinfo(run->easy, CURLINFO_RESPONSE_CODE, &run->status);
	if (run->status == 304 && run->headers) {
		run->is_unchanged = true;
		return 0;
	}
	if (run->status >= 300 && run->status < 400 && run->status != 304)
		return run_fail(run, -EPROTO,
			"HTTP %ld: redirects to %s: name the final "
			"address as the source",
			run->status, run->location[0] ? run->location : "nowhere");
	if (run->status == 404 || run->status == 410)
		return run_fail(run, -ENOENT, "HTTP %ld", run->status);
	if (run->status == 401 || run->status == 403 || run->status == 407)
		return run_fail(run, -EACCES, "HTTP %ld", run->status);
	if (run->status >= 400)
		return run_fail(run, run->status >= 500 ? -EIO : -EPROTO, "HTTP %ld",
			run->status);
	if (run->transfer->is_range)
		return judge_range(run);
	if (run->status != 200)
		return run_fail(run, -EPROTO, "HTTP %ld", run->status);
	return 0;
}

/* The body of an error is read to its end if that is near, so that the connection lives.
 */
static size_t drain(struct run *run, size_t len)
{
	if (run->status < 300)
		return 0;
	run->drained += len;
	return run->drained > DRAIN_MAX_BYTES ? 0 : len;
}

enum fetch_class transfer_class(const struct transfer *t)
{
	return t->is_awaited && atomic_load(t->is_awaited) ? FETCH_DEMAND : t->class;
}

/* What the other side may send before we read: it is all that comes once we do not. A reader's
 * transfer may get a connection that had little. */
static void limit_window(curl_socket_t fd, const struct run *run)
{
	int window = run->background
			     ? (int)throttle_window_bytes(&run->background->throttle)
			     : WINDOW_FREE;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &window, sizeof(window));
}

/* Segments that came out of order, which is how a receiver sees a loss. */
static unsigned int late_segments(curl_socket_t fd)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return 0;
	return info.tcpi_rcv_ooopack;
}

static curl_socket_t socket_of(const struct run *run)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	(void)curl_easy_getinfo(run->easy, CURLINFO_ACTIVESOCKET, &fd);
	return fd;
}

/* The time from the request to the first byte of its answer; a connection's own set-up is not in
 * it. */
static int64_t answer_ns(const struct run *run)
{
	curl_off_t sent_us = 0;
	curl_off_t came_us = 0;

	(void)curl_easy_getinfo(run->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
	(void)curl_easy_getinfo(run->easy, CURLINFO_STARTTRANSFER_TIME_T, &came_us);
	return (came_us - sent_us) * 1000;
}

static void note_first_byte(struct run *run)
{
	struct background *b = run->background;
	curl_socket_t fd = run->is_polite ? socket_of(run) : CURL_SOCKET_BAD;

	run->first_byte_ns = clock_mono_ns();
	if (b)
		throttle_answered(&b->throttle, run->transfer->site, answer_ns(run),
			run->first_byte_ns);
	if (b)
		throttle_arrived(&b->throttle, run->header_bytes, b->in_flight,
			run->first_byte_ns);
	if (fd == CURL_SOCKET_BAD)
		return;
	limit_window(fd, run);
	run->late_segments = late_segments(fd);
}

/* A local file is read in one go, whatever curl is told; what is too much slows down the next. */
static bool must_hold(struct run *run)
{
	struct background *b = run->background;
	int64_t now_ns = clock_mono_ns();

	if (!b || run->is_file ||
		(!atomic_load(&b->is_yielding) &&
			throttle_wait_read_ns(&b->throttle, now_ns) == 0))
		return false;
	run->is_held = true;
	if (!run->held_ns)
		run->held_ns = now_ns;
	return true;
}

static void note_bytes(struct run *run, size_t len)
{
	struct background *b = run->background;

	run->bytes += len;
	run->held_ns = 0;
	if (!b)
		return;
	int64_t now_ns = clock_mono_ns();

	throttle_arrived(&b->throttle, len, b->in_flight, now_ns);
	b->in_flight -= len;
	if (run->bytes < run->transfer->length || run->is_file)
		return;
	curl_socket_t fd = socket_of(run);

	if (fd != CURL_SOCKET_BAD && late_segments(fd) != run->late_segments)
		throttle_lost(&b->throttle, now_ns);
}

void run_leave_background(struct run *run)
{
	struct background *b = run->background;

	if (!b)
		return;
	b->in_flight -= run->transfer->length - run->bytes;
	b->running--;
	run->background = NULL;
}

void run_continue(struct run *run, int64_t now_ns)
{
	/* before the call, which may deliver and stop again */
	run->is_paused = false;
	run->is_held = false;
	run->mark_ns = now_ns;
	(void)curl_easy_pause(run->easy, CURLPAUSE_CONT);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct run *run = arg;
	struct transfer *t = run->transfer;
	size_t len = size * count;
	static const size_t abort_it = 0;

	if (len == 0)
		return 0;
	if (!run->first_byte_ns)
		note_first_byte(run);
	if (must_hold(run))
		return CURL_WRITEFUNC_PAUSE;
	if (judge(run) < 0)
		return drain(run, len);
	/* what was asked for is taken before the rest is refused */
	size_t room =
		t->length - run->bytes < len ? (size_t)(t->length - run->bytes) : len;
	int r = room ? t->on_data(t, (const uint8_t *)data, room) : 0;

	if (r == TRANSFER_PAUSE) {
		run->is_paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (r < 0) {
		(void)run_fail(run, r, "stopped by the receiver");
		return abort_it;
	}
	note_bytes(run, room);
	if (room < len) {
		(void)run_fail(run, -EPROTO, "sent more than the %" PRIu64 " bytes %s",
			t->length, t->is_range || t->is_exact ? "asked for" : "allowed");
		return abort_it;
	}
	return len;
}

/* Only a key that the file of known hosts has is taken; nothing is ever added to it. */
static int on_host_key(CURL *easy, const struct curl_khkey *known,
	const struct curl_khkey *found, enum curl_khmatch match, void *arg)
{
	struct run *run = arg;

	(void)easy;
	(void)known;
	(void)found;
	if (match == CURLKHMATCH_OK)
		return CURLKHSTAT_FINE;
	(void)run_fail(run, -EACCES,
		match == CURLKHMATCH_MISMATCH
			? "the host's key is not the one in the file of "
			  "known hosts"
			: "the host's key is not in the file of known "
			  "hosts: add it after checking it");
	return CURLKHSTAT_REJECT;
}

void run_release(struct run *run)
{
	if (run->easy)
		curl_easy_cleanup(run->easy);
	run->easy = NULL;
	curl_slist_free_all(run->headers);
	run->headers = NULL;
}

static CURLcode set_common(struct run *run, const struct run_options *options)
{
	CURL *e = run->easy;
	CURLcode c = CURLE_OK;

	c |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "file,http,https,sftp");
	c |= curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	c |= curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	c |= curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	c |= curl_easy_setopt(e, CURLOPT_NOPROGRESS, 1L);
	c |= curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
	c |= curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	c |= curl_easy_setopt(e, CURLOPT_BUFFERSIZE,
		run->is_polite ? POLITE_BUFFER_BYTES : RECEIVE_BUFFER_BYTES);
	c |= curl_easy_setopt(e, CURLOPT_USERAGENT, "depotfs/" DEPOTFS_VERSION);
	c |= curl_easy_setopt(e, CURLOPT_PRIVATE, run);
	c |= curl_easy_setopt(e, CURLOPT_ERRORBUFFER, run->curl_error);
	c |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	c |= curl_easy_setopt(e, CURLOPT_HEADERDATA, run);
	c |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	c |= curl_easy_setopt(e, CURLOPT_WRITEDATA, run);
	if (options->cafile) {
		c |= curl_easy_setopt(e, CURLOPT_CAINFO, options->cafile);
		c |= curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	}
	/* a name that does not resolve must not hold the thread when it is given up */
	(void)curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	return c;
}

static CURLcode set_ssh(struct run *run, const struct run_options *options)
{
	CURL *e = run->easy;
	CURLcode c = CURLE_OK;

	c |= curl_easy_setopt(e, CURLOPT_SSH_AUTH_TYPES,
		(long)(CURLSSH_AUTH_PUBLICKEY | CURLSSH_AUTH_PASSWORD));
	c |= curl_easy_setopt(e, CURLOPT_SSH_KNOWNHOSTS, options->knownhosts);
	c |= curl_easy_setopt(e, CURLOPT_SSH_KEYFUNCTION, on_host_key);
	c |= curl_easy_setopt(e, CURLOPT_SSH_KEYDATA, run);
	if (options->sshkey)
		c |= curl_easy_setopt(e, CURLOPT_SSH_PRIVATE_KEYFILE, options->sshkey);
	return c;
}

static CURLcode add_header(struct run *run, const char *name, const char *value)
{
	char line[200];

	(void)snprintf(line, sizeof(line), "%s:%s", name, value);
	struct curl_slist *headers = curl_slist_append(run->headers, line);

	if (!headers)
		return CURLE_OUT_OF_MEMORY;
	run->headers = headers;
	return CURLE_OK;
}

/* RFC 9110, 13.1: the ETag goes before the time. */
static CURLcode set_condition(struct run *run)
{
	const struct transfer_version *known = run->transfer->known;
	CURLcode c;

	if (!known || !run->is_http || (!known->etag[0] && !known->last_modified[0]))
		return CURLE_OK;
	c = known->etag[0] ? add_header(run, "If-None-Match", known->etag)
			   : add_header(run, "If-Modified-Since", known->last_modified);
	/* one that curl would send; such requests are many, and said to be small */
	c |= add_header(run, "Accept", "");
	c |= curl_easy_setopt(run->easy, CURLOPT_HTTPHEADER, run->headers);
	return c;
}

static CURLcode set_request(struct run *run)
{
	CURL *e = run->easy;
	const struct transfer *t = run->transfer;
	char range[48];
	/* what is held up must not share a connection: HTTP/1.1 for all of its transport */
	bool is_multi = !run->is_polite && strncasecmp(t->url, "https://", 8) == 0;
	long connect_ms = TRANSPORT_CONNECT_TIMEOUT_MS;
	CURLcode c = curl_easy_setopt(e, CURLOPT_URL, t->url);

	/* without TLS there is no way to offer HTTP/2 that costs no round trip; waiting
	 * for a connection that could be shared would then only cost time */
	c |= curl_easy_setopt(e, CURLOPT_HTTP_VERSION,
		is_multi ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
	c |= curl_easy_setopt(e, CURLOPT_PIPEWAIT, is_multi ? 1L : 0L);
	if (connect_ms > run->timeout_ms)
		connect_ms = run->timeout_ms;
	c |= curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
	c |= set_condition(run);
	if (t->is_range) {
		(void)snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, t->offset,
			t->offset + t->length - 1);
		c |= curl_easy_setopt(e, CURLOPT_RANGE, range);
	}
	return c;
}

int run_start(struct run *run, struct transfer *t, const struct run_options *options,
	int64_t now_ns)
{
	/* a new handle each time: libcurl 7.88 leaves one that ended an HTTP/2 stream in the
	 * middle with a buffer that it then refuses to set up again */
	run_release(run);
	*run = (struct run){
		.easy = curl_easy_init(),
		.transfer = t,
		.is_http = url_is_http(t->url),
		.is_file = url_is_file(t->url),
		.is_polite = options->background,
		.start_ns = now_ns,
		.mark_ns = now_ns,
		.timeout_ms = t->timeout_ms ? t->timeout_ms : options->timeout_ms,
		.pace_bytes = t->pace_bytes > PROGRESS_MIN_BYTES ? t->pace_bytes
								 : PROGRESS_MIN_BYTES,
	};
	if (options->background && transfer_class(t) == FETCH_BACKGROUND) {
		run->background = options->background;
		run->background->running++;
		run->background->in_flight += t->length;
	}
	if (!run->easy)
		return -ENOMEM;
	CURLcode c = set_common(run, options);

	if (strncasecmp(t->url, "sftp://", 7) == 0)
		c |= set_ssh(run, options);
	c |= set_request(run);
	return c == CURLE_OK ? 0 : -ENOMEM;
}

bool run_overdue(struct run *run, int64_t now_ns)
{
	if (run->background && run->held_ns &&
		now_ns - run->held_ns > run->background->hold_ns) {
		(void)run_fail(run, -EAGAIN, "gives way to readers");
		return true;
	}
	if (run->is_paused || run->is_held ||
		run->bytes - run->mark_bytes >= run->pace_bytes) {
		run->mark_ns = now_ns;
		run->mark_bytes = run->bytes;
		return false;
	}
	if (now_ns - run->mark_ns < run->timeout_ms * NS_PER_MS)
		return false;
	double seconds = run->timeout_ms / 1000.0;

	run->is_slow = run->bytes > run->mark_bytes;
	if (!run->is_slow)
		(void)run_fail(run, -ETIMEDOUT, "no byte for %g s", seconds);
	else
		(void)run_fail(run, -ETIMEDOUT, "only %" PRIu64 " bytes in %g s",
			run->bytes - run->mark_bytes, seconds);
	return true;
}

/* curl says that a local file could not be opened, but not why. */
static int file_error(struct run *run)
{
	int len = 0;
	char *path = curl_easy_unescape(
		run->easy, run->transfer->url + strlen("file://"), 0, &len);

	if (!path)
		return run_fail(run, -ENOMEM, "out of memory");
	int error = access(path, R_OK) < 0 ? errno : EIO;

	curl_free(path);
	return run_fail(run, -error, "%s", strerrordesc_np(error));
}

static int errno_of(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -EHOSTUNREACH;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_REMOTE_FILE_NOT_FOUND:
		return -ENOENT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_LOGIN_DENIED:
	case CURLE_REMOTE_ACCESS_DENIED:
	case CURLE_SSL_CACERT_BADFILE:
		return -EACCES;
	case CURLE_BAD_DOWNLOAD_RESUME:
	case CURLE_RANGE_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return -EPROTO;
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_SSL_CONNECT_ERROR:
		return -ECONNRESET;
	default:
		return -EIO;
	}
}

/* A complete answer that is shorter than what was asked for. */
static void check_length(struct run *run)
{
	const struct transfer *t = run->transfer;

	if (!run->is_unchanged && (t->is_range || t->is_exact) && run->bytes != t->length)
		(void)run_fail(run, -EPROTO,
			"body of %" PRIu64 " bytes where %" PRIu64 " were asked for",
			run->bytes, t->length);
}

/* A time in whole seconds names a version only once that second, and one for clocks that differ, is
 * over when it is sent; what web servers make an ETag of has no more (RFC 9110, 8.8.2.2). */
static bool is_version_certain(const struct run *run)
{
	const struct transfer_version *v = &run->version;

	if (!v->last_modified[0])
		return v->etag[0] != '\0';
	time_t modified = curl_getdate(v->last_modified, NULL);
	time_t date = curl_getdate(run->date, NULL);

	return modified >= 0 && date >= 0 && date - modified >= 2;
}

void run_finish(struct run *run, CURLcode code, struct transfer_result *out)
{
	run_leave_background(run);
	/* a refusal without a body, or a short body under the right status */
	if (code == CURLE_OK && judge(run) == 0)
		check_length(run);
	if (code == CURLE_FILE_COULDNT_READ_FILE)
		(void)file_error(run);
	if (code == CURLE_BAD_DOWNLOAD_RESUME || code == CURLE_RANGE_ERROR)
		(void)run_fail(run, -EPROTO, "it ends before the range asked for");
	/* curl 7.88 says so of a header line without end, too: this source's fault, and no
	 * reason to spare the others */
	if (code == CURLE_OUT_OF_MEMORY)
		(void)run_fail(run, -EIO, "a header line without end, or no memory left");
	if (code != CURLE_OK)
		(void)run_fail(run, errno_of(code), "%s",
			run->curl_error[0] ? run->curl_error : curl_easy_strerror(code));
	*out = (struct transfer_result){
		.error = run->error,
		.status = run->status,
		.bytes = run->bytes,
		.is_slow = run->is_slow,
		.latency_ns = run->first_byte_ns ? run->first_byte_ns - run->start_ns : 0,
		.is_unchanged = run->is_unchanged,
	};
	if (is_version_certain(run))
		out->version = run->version;
	(void)snprintf(out->reason, sizeof(out->reason), "%s", run->reason);
}
