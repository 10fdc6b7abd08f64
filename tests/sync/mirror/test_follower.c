/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "sync/mirror/follower.h"
#include "tests/sync/mirror/depot.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

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

#define ID    "0123456789abcdef0123456789abcdef"
#define OTHER "ffffffffffffffffffffffffffffffff"
#define NOW   (INT64_C(1772366400) * NS_PER_SEC)

static struct depot depot;
static struct depot cache; /* only its directory is used */
static struct signing_key *keys[2];
static struct key_ring ring;
static int cache_fd = -1;
static struct follower_result result;

static void put(const char *name, const struct buffer *text)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/channel", depot.dir);
	assert_int_equal(io_mkdirs(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/%s", depot.dir, name);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, text->data, text->len), 0);
}

static void put_trust(const char *id, uint64_t version, size_t first_key,
	size_t key_count, size_t signer, size_t other_signer)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = {.name = "packages", .version = version, .threshold = 1};

	(void)snprintf(trust.id, sizeof(trust.id), "%s", id);
	for (size_t i = first_key; i < first_key + key_count; i++)
		assert_int_equal(
			key_ring_add(&trust.keys, signing_key_public(keys[i])->bytes), 0);
	assert_int_equal(trust_encode(&trust, keys[signer], &text), 0);
	if (other_signer != signer)
		assert_int_equal(record_add_signature(&text, keys[other_signer]), 0);
	put("trust", &text);
}

static void put_head(const char *id, uint64_t sequence, uint64_t revision,
	int64_t expires_ns, size_t signer)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct head head = {.channel = "stable",
		.sequence = sequence,
		.revision = revision,
		.root = depot.catalog,
		.published_ns = NOW,
		.expires_ns = expires_ns};

	(void)snprintf(head.id, sizeof(head.id), "%s", id);
	assert_int_equal(head_encode(&head, keys[signer], &text), 0);
	put("channel/stable", &text);
}

static struct fetcher *fetcher;
static struct follower *follower;

static void finish(void)
{
	follower_free(follower);
	follower = NULL;
	fetcher_free(fetcher);
}

static int follow(const char *urls, const char *channel)
{
	const struct fetcher_config config = {.urls = urls, .timeout_ms = 1000};

	result = (struct follower_result){0};
	assert_int_equal(fetcher_new(&config, &fetcher), 0);
	int r = follower_new(cache_fd, &ring, channel, fetcher, &follower);

	if (r == 0)
		r = follower_open(follower, &result);
	finish();
	return r;
}

/* The same, to go on polling until finish(). */

static void begin(const char *urls)
{
	const struct fetcher_config config = {.urls = urls, .timeout_ms = 1000};

	assert_int_equal(fetcher_new(&config, &fetcher), 0);
	assert_int_equal(follower_new(cache_fd, &ring, "stable", fetcher, &follower), 0);
	assert_int_equal(follower_open(follower, &result), 0);
	assert_true(result.is_online);
}

static enum follower_outcome poll_once(void)
{
	assert_int_equal(follower_poll(follower, &result), 0);
	return result.outcome;
}

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
	usleep(50 * 1000);
	read_log(log, &before);
	assert_int_equal(before.requests, 2); /* trust and head */
	for (int i = 0; i < 5; i++) {
		assert_int_equal(poll_once(), FOLLOWER_UNCHANGED);
		assert_true(result.is_online);
		assert_int_equal(result.head.sequence, 5);
	}
	usleep(50 * 1000);
	read_log(log, &after);
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

static void a_poll_tells_what_was_refused_and_goes_on_with_what_it_has(void **state)
{
	(void)state;
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	begin(depot.url);
	put_head(ID, 6, 9, 0, 1);
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(poll_once(), FOLLOWER_REFUSED);
		assert_int_equal(result.refusals.forged, i);
		assert_int_equal(result.error, -EKEYREJECTED);
		assert_non_null(strstr(result.reason, "forged"));
		assert_int_equal(result.head.sequence, 5);
	}
	put_head(ID, 4, 9, 0, 0);
	assert_int_equal(poll_once(), FOLLOWER_REFUSED);
	assert_int_equal(result.refusals.rollback, 1);
	assert_int_equal(result.refusals.forged, 3);
	put_head(ID, 7, 9, 0, 0);
	assert_int_equal(poll_once(), FOLLOWER_CHANGED);
	assert_string_equal(result.reason, "");
	finish();
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
	int64_t until_ns = clock_real_ns() + 3 * NS_PER_SEC / 2;

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

/* It answers well and quickly, with a head that is signed, and never a newer one. */
static void a_source_that_is_stuck_is_not_believed_for_ever(void **state)
{
	struct server stuck;
	struct depot old = {
		.dir = "/tmp/depotfs-old-XXXXXX"}; /* the X are mkdtemp's or mkstemp's */
	char urls[256];
	char command[256];
	int polls = 0;

	(void)state;
	put_trust(ID, 1, 0, 1, 0, 0);
	put_head(ID, 5, 3, 0, 0);
	assert_non_null(mkdtemp(old.dir));
	(void)snprintf(command, sizeof(command), "cp -a %s/trust %s/channel %s",
		depot.dir, depot.dir, old.dir);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): the test's own */
	server_start(&stuck, old.dir, "ok", NULL, NULL);
	(void)snprintf(urls, sizeof(urls), "%s,%s", stuck.url, depot.url);
	begin(urls);
	put_head(ID, 6, 4, 0, 0);
	while (poll_once() == FOLLOWER_UNCHANGED)
		assert_true(++polls < 40);
	assert_int_equal(result.outcome, FOLLOWER_CHANGED);
	assert_int_equal(result.head.sequence, 6);
	/* from now on it is known to be behind, and the other one is asked as well */
	for (polls = 0; polls < 20; polls++)
		assert_int_equal(poll_once(), FOLLOWER_UNCHANGED);
	assert_true(result.refusals.rollback > 0);
	finish();
	server_stop(&stuck);
	depot_remove(&old);
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
	assert_true(clock_mono_ns() - start_ns < 900 * NS_PER_MS);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(follower_poll(follower, &result), -ECANCELED);
	finish();
	server_stop(&server);
}

static int make(void **state)
{
	static const char *const names[] = {"a", "b"};
	char path[128];

	(void)state;
	depot_make(&depot);
	cache = (struct depot){
		.dir = "/tmp/depotfs-cache-XXXXXX"}; /* the X are mkdtemp's or mkstemp's */
	if (!mkdtemp(cache.dir))
		return -1;
	cache_fd = open(cache.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/keys/%s.key", depot.dir, names[i]);
		path[strlen(path) - strlen("/a.key")] = '\0';
		if (key_generate(path, names[i]) < 0)
			return -1;
		(void)snprintf(path, sizeof(path), "%s/keys/%s.key", depot.dir, names[i]);
		if (signing_key_load(path, &keys[i]) < 0)
			return -1;
	}
	ring = (struct key_ring){0};
	return key_ring_add(&ring, signing_key_public(keys[0])->bytes);
}

static int clean(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		signing_key_free(keys[i]);
	close(cache_fd);
	depot_remove(&depot);
	depot_remove(&cache);
	return 0;
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
		FOLLOW_TEST(a_poll_tells_what_was_refused_and_goes_on_with_what_it_has),
		FOLLOW_TEST(a_poll_without_an_answer_says_so),
		FOLLOW_TEST(keys_that_rotate_are_followed_when_a_head_needs_them),
		FOLLOW_TEST(a_head_that_expires_while_nothing_changes_is_frozen),
		FOLLOW_TEST(a_source_that_is_stuck_is_not_believed_for_ever),
		FOLLOW_TEST(a_poll_ends_when_the_fetcher_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
