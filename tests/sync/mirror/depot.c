/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/mirror/depot.h"
#include "tests/support/temporary.h"

#include "cache/base/data/compress.h"
#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/catalog/stored/catalog_codec.h"
#include "sync/mirror/fetch_job.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void write_object(const struct depot *d, const char *kind,
	const struct digest *digest, const void *data, size_t len)
{
	char object[OBJECT_PATH_SIZE];
	char path[256];

	object_path(kind, digest, object);
	(void)snprintf(path, sizeof(path), "%s/%s/%.2s", d->dir, kind,
		object + strlen(kind) + 1);
	assert_int_equal(io_mkdirs(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/%s", d->dir, object);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, data, len), 0);
}

/* Half noise, half text: packs well, but not to nothing. Every fifth frame is stored raw.
 */
static void make_pack(struct depot *d)
{
	size_t bound = compress_bound(DEPOT_FRAME_RAW);
	AUTO_FREE uint8_t *pack = mem_alloc(DEPOT_FRAMES * bound);
	uint32_t seed = 1;
	size_t at = 0;

	assert_non_null(pack);
	d->raw = mem_alloc((size_t)DEPOT_FRAMES * DEPOT_FRAME_RAW);
	assert_non_null(d->raw);
	for (size_t i = 0; i < (size_t)DEPOT_FRAMES * DEPOT_FRAME_RAW; i++) {
		seed = seed * 1664525 + 1013904223;
		d->raw[i] =
			i & 1 ? (uint8_t)(seed >> 24) : (uint8_t) "depotfs "[i / 2 % 8];
	}
	for (size_t i = 0; i < DEPOT_FRAMES; i++) {
		const uint8_t *raw = d->raw + i * DEPOT_FRAME_RAW;
		size_t len = DEPOT_FRAME_RAW;
		bool is_raw = i % 5 == 4;

		if (is_raw)
			memcpy(pack + at, raw, len);
		else
			assert_int_equal(
				compress_encode(raw, len, 3, pack + at, bound, &len), 0);
		d->frames[i] = (struct catalog_frame){.offset = at,
			.stored_bytes = (uint32_t)len,
			.raw_bytes = DEPOT_FRAME_RAW,
			.flags = is_raw ? CATALOG_FRAME_RAW : 0};
		at += len;
	}
	d->pack_bytes = at;
	assert_int_equal(digest_of(pack, at, &d->pack), 0);
	write_object(d, "pack", &d->pack, pack, at);
}

/* As long as the pack: most of it is attributes, which hold the same bytes. */
static void make_catalog(struct depot *d)
{
	AUTO_BUFFER struct buffer stored = BUFFER_INIT(CATALOG_STORED_MAX);
	struct catalog_builder *b = builder_new("");
	char name[16];

	for (size_t i = 0; i < DEPOT_FRAMES; i++) {
		(void)snprintf(name, sizeof(name), "file-%zu", i);
		uint32_t file = builder_file(b, BUILDER_TOP, name, "", 0, 1);

		builder_xattr(b, file, "user.noise", d->raw + i * DEPOT_FRAME_RAW,
			DEPOT_FRAME_RAW);
	}
	d->built = builder_finish(b);
	assert_int_equal(catalog_encode(d->built->data, d->built->len, 3, &stored), 0);
	d->catalog = d->built->ref;
	d->catalog.stored_bytes = stored.len;
	write_object(d, "catalog", &d->catalog.digest, stored.data, stored.len);
}

void depot_make(struct depot *d)
{
	*d = (struct depot){0};
	assert_true(temporary_dir(d->dir, sizeof(d->dir), "depot"));
	(void)snprintf(d->url, sizeof(d->url), "file://%s", d->dir);
	make_pack(d);
	make_catalog(d);
}

static int remove_entry(
	const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void depot_remove(struct depot *d)
{
	free(d->raw);
	d->raw = NULL;
	built_free(d->built);
	d->built = NULL;
	assert_int_equal(nftw(d->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void start(struct server *s, const char *const argv[])
{
	int out[2];
	char line[32];
	FILE *f;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0) {
		/* a test that fails midway leaves no server behind */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(out[1], STDOUT_FILENO);
		(void)execv(BAD_SERVER, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	s->port = (int)strtol(line, NULL, 10);
	assert_true(s->port > 0);
	(void)fclose(f);
	(void)snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", s->port);
}

void server_start(struct server *s, const char *dir, const char *mode, const char *only,
	const char *after)
{
	const char *const argv[] = {"bad_server", "0", dir, mode, "--only",
		only ? only : "*", "--after", after ? after : "0", NULL};

	start(s, argv);
}

void server_start_for(
	struct server *s, const char *dir, const char *mode, const char *count)
{
	const char *const argv[] = {"bad_server", "0", dir, mode, "--for", count, NULL};

	start(s, argv);
}

void server_start_crowd(struct server *s, const char *dir, const char *hold,
	const char *option, const char *count)
{
	const char *const argv[] = {
		"bad_server", "0", dir, "ok", "--hold", hold, option, count, NULL};

	start(s, argv);
}

void server_stop(struct server *s)
{
	int status;

	assert_int_equal(kill(s->pid, SIGKILL), 0);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
}

/* A port on loopback: 0 takes a free one, which is returned; else whether it answers. */
static int probe_port(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port)};
	socklen_t len = sizeof(a);
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (port)
		return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	return ntohs(a.sin_port);
}

bool server_start_nginx(struct server *s, const char *dir, const char *log)
{
	char conf[128];
	FILE *f;

	if (access("/usr/sbin/nginx", X_OK) < 0)
		return false;
	assert_int_equal(chmod(dir, 0755), 0);
	s->port = probe_port(0);
	(void)snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", s->port);
	(void)snprintf(conf, sizeof(conf), "%s/nginx.conf", dir);
	f = fopen(conf, "w");
	assert_non_null(f);
	assert_true(
		fprintf(f,
			"daemon off; master_process off; pid %s/pid; error_log "
			"%s/errors;\n"
			"events {}\n"
			"http { log_format l '$status $request_length $bytes_sent';\n"
			"  access_log %s l;\n"
			"  client_body_temp_path %s; proxy_temp_path %s;\n"
			"  fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s;\n"
			"  server { listen 127.0.0.1:%d; root %s; } }\n",
			dir, dir, log, dir, dir, dir, dir, dir, s->port, dir) > 0);
	assert_int_equal(fclose(f), 0);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)execl("/usr/sbin/nginx", "nginx", "-c", conf, "-p", dir, NULL);
		_exit(127);
	}
	for (int i = 0; i < 3000 && !probe_port(s->port); i++)
		usleep(20 * 1000);
	return true;
}

void wait_init(struct waited *w, const struct depot *d)
{
	memset(w, 0, sizeof(*w));
	w->depot = d;
	mutex_init(&w->lock);
	condition_init(&w->has_ended);
}

void wait_release(struct waited *w)
{
	condition_release(&w->has_ended);
	mutex_release(&w->lock);
}

static int take(struct waited *w, bool is_right)
{
	if (w->delay_us)
		usleep(w->delay_us);
	mutex_lock(&w->lock);
	if (is_right)
		w->delivered++;
	else
		w->refused++;
	int r = is_right ? w->receiver_error : -EBADMSG;

	mutex_unlock(&w->lock);
	return r;
}

static void end(struct waited *w, int error)
{
	mutex_lock(&w->lock);
	w->is_done = true;
	w->error = error;
	condition_signal(&w->has_ended);
	mutex_unlock(&w->lock);
}

static struct waited *of_frames(struct frame_request *rq)
{
	return (struct waited *)((char *)rq - offsetof(struct waited, frames));
}

static struct waited *of_catalog(struct catalog_request *rq)
{
	return (struct waited *)((char *)rq - offsetof(struct waited, catalog));
}

static int deliver_frame(struct frame_request *rq, size_t index, const uint8_t *data)
{
	struct waited *w = of_frames(rq);
	const uint8_t *raw = w->depot->raw + (w->first + index) * DEPOT_FRAME_RAW;

	return take(w, memcmp(data, raw, DEPOT_FRAME_RAW) == 0);
}

static void frames_done(struct frame_request *rq, int error)
{
	end(of_frames(rq), error);
}

static int deliver_catalog(struct catalog_request *rq, const uint8_t *data)
{
	struct waited *w = of_catalog(rq);
	const struct built_catalog *built = w->depot->built;

	return take(w, memcmp(data, built->data, built->len) == 0);
}

static void catalog_done(struct catalog_request *rq, int error)
{
	end(of_catalog(rq), error);
}

void wait_fetch_frames(struct waited *w, struct source *source, size_t first,
	size_t count, int deadline_ms)
{
	w->first = first;
	w->frames = (struct frame_request){
		.pack = w->depot->pack,
		.pack_bytes = w->depot->pack_bytes,
		.frames = w->depot->frames + first,
		.frame_count = count,
		.class = w->class,
		.deadline_ns = clock_mono_ns() + deadline_ms * NS_PER_MS,
		.deliver = deliver_frame,
		.done = frames_done,
	};
	source_fetch_frames(source, &w->frames);
}

void wait_fetch_catalog(struct waited *w, struct source *source, int deadline_ms)
{
	w->catalog = (struct catalog_request){
		.ref = w->depot->catalog,
		.class = w->class,
		.deadline_ns = clock_mono_ns() + deadline_ms * NS_PER_MS,
		.deliver = deliver_catalog,
		.done = catalog_done,
	};
	source_fetch_catalog(source, &w->catalog);
}

int wait_end(struct waited *w, int seconds)
{
	int64_t until_ns = clock_mono_ns() + seconds * NS_PER_SEC;
	int r = 0;

	mutex_lock(&w->lock);
	while (!w->is_done && r == 0)
		r = condition_wait_until(&w->has_ended, &w->lock, until_ns);
	r = w->is_done ? w->error : -1;
	mutex_unlock(&w->lock);
	return r;
}

bool wait_is_done(struct waited *w)
{
	mutex_lock(&w->lock);
	bool is_done = w->is_done;

	mutex_unlock(&w->lock);
	return is_done;
}

unsigned int wait_delivered(struct waited *w)
{
	mutex_lock(&w->lock);
	unsigned int delivered = w->delivered;

	mutex_unlock(&w->lock);
	return delivered;
}
