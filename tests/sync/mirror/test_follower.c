/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "tests/sync/mirror/follow_scene.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OTHER "ffffffffffffffffffffffffffffffff"

/* As if the depot's records had been written so long ago. */
static void age(int seconds)
{
	static const char *const names[] = {"trust", "channel/stable"};
	struct timespec times[2] = {{.tv_sec = time(NULL) - seconds}};
	char path[256];

	times[1] = times[0];
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", depot.dir, names[i]);
		assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	}
}

/* Follows the good head 5, so that there is something to fall back to. */
static void follow_first(void)
{
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	assert_int_equal(follow(depot.url, "stable"), 0);
	assert_true(result.is_online);
	assert_int_equal(result.head.sequence, 5);
}

/* What the depot holds now is refused, and the mirror goes on with head 5. */
static void expect_fallback(void)
{
	assert_int_equal(follow(depot.url, "stable"), 0);
	assert_false(result.is_online);
	assert_false(result.is_changed);
	assert_int_equal(result.head.sequence, 5);
	assert_int_equal(result.head.revision, 3);
}

static void a_first_head_is_taken_and_a_newer_one_followed(void **state)
{
	(void)state;
	follow_first();
	assert_true(result.is_changed);
	assert_int_equal(follow(depot.url, "stable"), 0);
	assert_false(result.is_changed);
	put_head(ID, 6, 2, 0, 0); /* an older revision under a newer sequence: a rollback
				     that the publisher wants */
	assert_int_equal(follow(depot.url, "stable"), 0);
	assert_true(result.is_changed);
	assert_int_equal(result.head.revision, 2);
}

static void without_sources_the_saved_head_serves(void **state)
{
	(void)state;
	assert_int_equal(follow("none", "stable"), -EHOSTUNREACH);
	follow_first();
	assert_int_equal(follow("none", "stable"), 0);
	assert_false(result.is_online);
	assert_int_equal(result.head.revision, 3);
	assert_string_equal(result.trust.id, ID);
}

/* As files may not grow. */
static void where_a_full_disk_takes_no_new_head_the_saved_one_serves(void **state)
{
	struct rlimit before;

	(void)state;
	follow_first();
	put_head(ID, 6, 4, 0, 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	int r = follow(depot.url, "stable");

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(r, 0);
	assert_false(result.is_online);
	assert_int_equal(result.head.revision, 3);
	assert_int_equal(follow(depot.url, "stable"), 0);
	assert_int_equal(result.head.revision, 4);
}

static void a_missing_channel_is_named(void **state)
{
	(void)state;
	follow_first();
	assert_int_equal(follow(depot.url, "test"), -ENOENT);
	assert_int_equal(follow(depot.url, "../trust"), -EINVAL);
}

static void an_older_head_is_a_rollback(void **state)
{
	(void)state;
	follow_first();
	put_head(ID, 4, 9, 0, 0);
	expect_fallback();
	assert_int_equal(result.refusals.rollback, 1);
	/* nothing of it was kept */
	expect_fallback();
}

static void another_head_of_the_same_sequence_is_a_mismatch(void **state)
{
	(void)state;
	follow_first();
	put_head(ID, 5, 9, 0, 0);
	expect_fallback();
	assert_int_equal(result.refusals.mismatched, 1);
}

static void an_expired_head_is_frozen(void **state)
{
	(void)state;
	follow_first();
	put_head(ID, 6, 9, NOW, 0);
	expect_fallback();
	assert_int_equal(result.refusals.frozen, 1);
}

static void a_head_signed_by_a_stranger_is_forged(void **state)
{
	(void)state;
	follow_first();
	put_head(ID, 6, 9, 0, 1);
	expect_fallback();
	assert_int_equal(result.refusals.forged, 1);
}

static void html_in_place_of_a_head_is_forged(void **state)
{
	struct server server;

	(void)state;
	follow_first();
	server_start(&server, depot.dir, "html", "/channel/*", NULL);
	assert_int_equal(follow(server.url, "stable"), 0);
	assert_false(result.is_online);
	assert_int_equal(result.refusals.forged, 1);
	server_stop(&server);
}

static void the_head_of_another_channel_is_a_mismatch(void **state)
{
	char from[128];
	char to[128];

	(void)state;
	follow_first();
	(void)snprintf(from, sizeof(from), "%s/channel/stable", depot.dir);
	(void)snprintf(to, sizeof(to), "%s/channel/test", depot.dir);
	assert_int_equal(link(from, to), 0);
	assert_int_equal(follow(depot.url, "test"), -EBADMSG);
	assert_int_equal(result.refusals.mismatched, 1);
}

static void another_repository_is_named_as_such(void **state)
{
	(void)state;
	follow_first();
	put_trust(OTHER, 2, 0, 1, 0, 0);
	put_head(OTHER, 9, 9, 0, 0);
	assert_int_equal(follow(depot.url, "stable"), -EXDEV);
	assert_int_equal(result.refusals.wrong_repository, 1);
	/* the cache directory under another repository's key */
	ring = (struct key_ring){0};
	assert_int_equal(key_ring_add(&ring, signing_key_public(keys[1])->bytes), 0);
	assert_int_equal(follow(depot.url, "stable"), -EXDEV);
}

static void keys_rotate_under_the_old_ones(void **state)
{
	(void)state;
	follow_first();
	/* the new key alone cannot make itself trusted */
	put_trust(ID, 2, 1, 1, 1, 1);
	put_head(ID, 6, 9, 0, 1);
	expect_fallback();
	assert_int_equal(result.refusals.forged, 1);
	put_trust(ID, 2, 1, 1, 1, 0);
	assert_int_equal(follow(depot.url, "stable"), 0);
	assert_int_equal(result.head.sequence, 6);
	/* a restart, with the admin's file still naming the first key */
	assert_int_equal(follow("none", "stable"), 0);
	assert_int_equal(result.head.sequence, 6);
	assert_int_equal(follow(depot.url, "stable"), 0);
	assert_true(result.is_online);
	/* and never back */
	put_trust(ID, 1, 0, 1, 0, 0);
	assert_int_equal(follow(depot.url, "stable"), 0);
	assert_false(result.is_online);
	assert_int_equal(result.refusals.rollback, 1);
}

static void a_bad_source_does_not_hide_a_good_one(void **state)
{
	static const char *const modes[] = {
		"404", "500", "html", "flip", "hang", "endless"};

	(void)state;
	follow_first();
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct server server;
		char urls[256];

		put_head(ID, 6 + i, 9, 0, 0);
		server_start(&server, depot.dir, modes[i], NULL, NULL);
		(void)snprintf(urls, sizeof(urls), "%s,%s", server.url, depot.url);
		assert_int_equal(follow(urls, "stable"), 0);
		assert_true(result.is_online);
		assert_int_equal(result.head.sequence, 6 + i);
		server_stop(&server);
	}
}

struct access {
	unsigned int requests;
	unsigned int unchanged;	 /* answered 304 */
	unsigned int most_bytes; /* of a request and its answer */
};

static void read_log(const char *path, struct access *out)
{
	unsigned int status;
	unsigned int asked;
	unsigned int sent;
	FILE *f = fopen(path, "r");

	*out = (struct access){0};
	assert_non_null(f);
	/* NOLINTNEXTLINE(cert-err34-c): nginx's own log */
	while (fscanf(f, "%u %u %u", &status, &asked, &sent) == 3) {
		out->requests++;
		out->unchanged += status == 304;
		if (asked + sent > out->most_bytes)
			out->most_bytes = asked + sent;
	}
	assert_int_equal(fclose(f), 0);
}

/* A request is logged when it was answered. */
static void wait_for_log(const char *path, unsigned int requests, struct access *out)
{
	for (int i = 0; i < 6000; i++) {
		usleep(20 * 1000);
		read_log(path, out);
		if (out->requests >= requests)
			return;
	}
}

static int64_t when_changed(const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(cache_fd, name, &st, 0), 0);
	return st.st_ctim.tv_sec * NS_PER_SEC + st.st_ctim.tv_nsec;
}

static void no_change_costs_one_small_request_and_no_write(void **state)
{
	static const char *const names[] = {".", "head", "trust", "head/stable"};
	int64_t changed[ARRAY_SIZE(names)];
	char log[128];
	struct server nginx;
	struct access before;
	struct access after;

	(void)state;
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	age(60);
	(void)snprintf(log, sizeof(log), "%s/log", depot.dir);
	if (!server_start_nginx(&nginx, depot.dir, log)) {
		print_message("nginx is not installed\n");
		skip();
	}
	begin(nginx.url);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		changed[i] = when_changed(names[i]);
	wait_for_log(log, 2, &before);
	assert_int_equal(before.requests, 2); /* trust and head */
	for (int i = 0; i < 5; i++) {
		assert_int_equal(poll_once(), FOLLOWER_UNCHANGED);
		assert_true(result.is_online);
		assert_int_equal(result.head.sequence, 5);
	}
	wait_for_log(log, before.requests + 5, &after);
	assert_int_equal(after.requests, before.requests + 5);
	assert_int_equal(after.unchanged, 5);
	assert_true(after.most_bytes < 1024);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_true(changed[i] == when_changed(names[i]));
	put_head(ID, 6, 4, 0, 0);
	assert_int_equal(poll_once(), FOLLOWER_CHANGED);
	assert_int_equal(result.head.revision, 4);
	finish();
	server_stop(&nginx);
}

/* nginx makes an ETag of the second and the size. */
static void two_heads_of_one_second_and_size_are_told_apart(void **state)
{
	struct server nginx;
	char log[128];

	(void)state;
	(void)snprintf(log, sizeof(log), "%s/log", depot.dir);
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	age(0);
	if (!server_start_nginx(&nginx, depot.dir, log)) {
		print_message("nginx is not installed\n");
		skip();
	}
	int64_t second = time(NULL);

	age(0);
	begin(nginx.url);
	put_head(ID, 6, 4, 0, 0);
	age((int)(time(NULL) - second));
	assert_int_equal(poll_once(), FOLLOWER_CHANGED);
	assert_int_equal(result.head.sequence, 6);
	finish();
	server_stop(&nginx);
}

static void a_server_that_names_no_versions_is_compared_with(void **state)
{
	struct server server;

	(void)state;
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	server_start(&server, depot.dir, "ok", NULL, NULL);
	for (int i = 0; i < 2; i++) {
		begin(i ? depot.url : server.url);
		assert_int_equal(poll_once(), FOLLOWER_UNCHANGED);
		put_head(ID, 6 + (uint64_t)i, 4, 0, 0);
		assert_int_equal(poll_once(), FOLLOWER_CHANGED);
		assert_int_equal(poll_once(), FOLLOWER_UNCHANGED);
		finish();
	}
	server_stop(&server);
	/* and it was saved */
	assert_int_equal(follow("none", "stable"), 0);
	assert_int_equal(result.head.sequence, 7);
}

static void a_poll_without_an_answer_says_so(void **state)
{
	struct server server;

	(void)state;
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	server_start(&server, depot.dir, "ok", NULL, NULL);
	begin(server.url);
	server_stop(&server);
	assert_int_equal(poll_once(), FOLLOWER_UNREACHABLE);
	assert_int_equal(result.error, -EHOSTUNREACH);
	assert_non_null(strstr(result.reason, server.url));
	assert_int_equal(result.head.sequence, 5);
	assert_string_equal(result.trust.id, ID);
	finish();
}

static void keys_that_rotate_are_followed_when_a_head_needs_them(void **state)
{
	(void)state;
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	begin(depot.url);
	put_trust(ID, 2, 1, 1, 1, 0);
	put_head(ID, 6, 4, 0, 1);
	assert_int_equal(poll_once(), FOLLOWER_CHANGED);
	assert_int_equal(result.trust.version, 2);
	assert_int_equal(result.refusals.forged, 0);
	finish();
	assert_int_equal(follow("none", "stable"), 0);
	assert_int_equal(result.head.sequence, 6);
}

static void a_head_that_expires_while_nothing_changes_is_frozen(void **state)
{
	int64_t until_ns = clock_real_ns() + 4 * NS_PER_SEC;

	(void)state;
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, until_ns, 0);
	begin(depot.url);
	assert_int_equal(poll_once(), FOLLOWER_UNCHANGED);
	while (clock_real_ns() <= until_ns)
		usleep(50 * 1000);
	assert_int_equal(poll_once(), FOLLOWER_REFUSED);
	assert_int_equal(result.refusals.frozen, 1);
	finish();
}

static void *run_stop(void *arg)
{
	usleep(200 * 1000);
	fetcher_stop(arg);
	return NULL;
}

static void a_poll_ends_when_the_fetcher_is_stopped(void **state)
{
	struct server server;
	pthread_t thread;
	int64_t start_ns;

	(void)state;
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	server_start(&server, depot.dir, "hang", NULL, "2");
	begin(server.url);
	start_ns = clock_mono_ns();
	assert_int_equal(pthread_create(&thread, NULL, run_stop, fetcher), 0);
	assert_int_equal(follower_poll(follower, &result), -ECANCELED);
	assert_true(clock_mono_ns() - start_ns < FOLLOW_TIMEOUT_MS * 9 / 10 * NS_PER_MS);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(follower_poll(follower, &result), -ECANCELED);
	finish();
	server_stop(&server);
}

#define FOLLOW_TEST(name) cmocka_unit_test_setup_teardown(name, make, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FOLLOW_TEST(a_first_head_is_taken_and_a_newer_one_followed),
		FOLLOW_TEST(without_sources_the_saved_head_serves),
		FOLLOW_TEST(where_a_full_disk_takes_no_new_head_the_saved_one_serves),
		FOLLOW_TEST(a_missing_channel_is_named),
		FOLLOW_TEST(an_older_head_is_a_rollback),
		FOLLOW_TEST(another_head_of_the_same_sequence_is_a_mismatch),
		FOLLOW_TEST(an_expired_head_is_frozen),
		FOLLOW_TEST(a_head_signed_by_a_stranger_is_forged),
		FOLLOW_TEST(html_in_place_of_a_head_is_forged),
		FOLLOW_TEST(the_head_of_another_channel_is_a_mismatch),
		FOLLOW_TEST(another_repository_is_named_as_such),
		FOLLOW_TEST(keys_rotate_under_the_old_ones),
		FOLLOW_TEST(a_bad_source_does_not_hide_a_good_one),
		FOLLOW_TEST(no_change_costs_one_small_request_and_no_write),
		FOLLOW_TEST(two_heads_of_one_second_and_size_are_told_apart),
		FOLLOW_TEST(a_server_that_names_no_versions_is_compared_with),
		FOLLOW_TEST(a_poll_without_an_answer_says_so),
		FOLLOW_TEST(keys_that_rotate_are_followed_when_a_head_needs_them),
		FOLLOW_TEST(a_head_that_expires_while_nothing_changes_is_frozen),
		FOLLOW_TEST(a_poll_ends_when_the_fetcher_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
