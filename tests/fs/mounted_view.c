/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/fs/mounted_view.h"

#include "cache/base/threads/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

char mountpoint[96];
enum session_open_mode open_mode;
struct fake_source *fake;
struct view *view;
struct session *session;
uint64_t revision;

static pthread_t runner;
static int run_result; /* the runner's, until it is joined */
static bool is_running;

/* What was built; the source serves it to the end of the test. */
static struct built_catalog *built[64];
static size_t built_count;

bool mounted_is_possible(void)
{
	if (geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0)
		return true;
	printf("SKIP: root and /dev/fuse are needed to mount\n");
	return false;
}

struct built_catalog *keep_built(struct catalog_builder *b)
{
	struct built_catalog *done = builder_finish(b);

	assert_true(built_count < ARRAY_SIZE(built));
	built[built_count++] = done;
	fake_source_serve(fake, done);
	built_keep(done, catalogs);
	return done;
}

static struct built_catalog *package(const char *path, const char *text)
{
	struct catalog_builder *b = builder_new(path);
	uint32_t lib = builder_dir(b, BUILDER_TOP, "lib");

	builder_file(b, lib, "text", text, strlen(text), 64);
	return keep_built(b);
}

struct built_catalog *tree(const char *busy, const char *const *names, size_t count)
{
	struct catalog_builder *b = builder_new("");
	uint32_t plain = builder_dir(b, BUILDER_TOP, "plain");

	builder_nested(b, BUILDER_TOP, "calm", package("calm", "always the same"));
	builder_nested(b, BUILDER_TOP, "busy", package("busy", busy));
	for (size_t i = 0; i < count; i++) {
		uint32_t e = builder_file(b, plain, names[i], "x", 1, 64);

		builder_mtime(b, e, BUILDER_MTIME_SEC);
	}
	return keep_built(b);
}

int mounted_make(void **state)
{
	(void)state;
	fake = fake_source_new();
	cache_make(fake_source_of(fake));
	assert_int_equal(mkdirat(scratch.fd, "mnt", 0755), 0);
	(void)snprintf(mountpoint, sizeof(mountpoint), "%s/mnt", scratch.path);
	revision = 0;
	open_mode = SESSION_OPEN_PASSTHROUGH;
	return 0;
}

static void *serve(void *arg)
{
	(void)arg;
	run_result = session_run(session);
	return NULL;
}

void open_session(const struct built_catalog *root)
{
	struct view_config view_config = {.catalogs = catalogs,
		.source = fake_source_of(fake),
		.root = root->ref,
		.revision = ++revision,
		.fetch_deadline_ns = 120 * NS_PER_SEC};

	assert_int_equal(view_new(&view_config, &view), 0);
	assert_int_equal(view_load(view), 0);
	struct session_config config = {.mountpoint = mountpoint,
		.fsname = "flip",
		.channel = "test",
		.open_mode = open_mode,
		.timeout_ns = 120 * NS_PER_SEC,
		.view = view,
		.contents = contents,
		.objects = objects,
		.source = fake_source_of(fake)};

	assert_int_equal(session_new(&config, &session), 0);
}

void mount_open_session(void)
{
	assert_int_equal(session_mount(session), 0);
	assert_int_equal(pthread_create(&runner, NULL, serve, NULL), 0);
	is_running = true;
}

void mount_tree(const struct built_catalog *root)
{
	open_session(root);
	mount_open_session();
}

int mounted_wait(void)
{
	pthread_join(runner, NULL);
	is_running = false;
	session_end(session);
	assert_true(fake_source_wait_idle(fake));
	session_unmount(session);
	return run_result;
}

int mounted_stop(void)
{
	int r = 0;

	if (is_running) {
		/* by force: a test that failed may have left something open in it */
		(void)umount2(mountpoint, MNT_FORCE | MNT_DETACH);
		r = mounted_wait();
	}
	session_free(session);
	session = NULL;
	return r;
}

int mounted_drop(void **state)
{
	(void)state;
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(mounted_stop(), 0);
	view_free(view);
	view = NULL;
	cache_drop();
	fake_source_free(fake);
	while (built_count)
		built_free(built[--built_count]);
	return 0;
}

void flip(const struct built_catalog *root)
{
	assert_int_equal(session_flip(session, &root->ref, ++revision), 0);
}

struct session_stats stats(void)
{
	struct session_stats s;

	session_get_stats(session, &s);
	return s;
}

const char *at(const char *path)
{
	static char full[256];

	(void)snprintf(full, sizeof(full), "%s/%s", mountpoint, path);
	return full;
}

int read_at(int dirfd, const char *path, char *out, size_t size)
{
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ssize_t n = pread(fd, out, size - 1, 0);
	int r = n < 0 ? -errno : 0;

	close(fd);
	out[n < 0 ? 0 : n] = '\0';
	return r;
}

void expect(const char *path, const char *text)
{
	char found[64];

	assert_int_equal(read_at(AT_FDCWD, at(path), found, sizeof(found)), 0);
	assert_string_equal(found, text);
}

unsigned int count_names(const char *path)
{
	DIR *dir = opendir(at(path));
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}
