/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/temporary.h"

#include "cache/base/data/hash.h"
#include "cache/base/disk/io.h"
#include "sync/jobs/policy_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static const char text[] = "[schedule nightly]\nwhen = daily at 02:00\n";

/* Two depots, a lying and an honest one, and a mirror's cache directory. */
struct bench {
	char dir[64];
	int fd;
	int cache_fd;
	struct head head;
};

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static int bench_begin(void **state)
{
	static struct bench b;

	b = (struct bench){.head = {.channel = "stable"}};
	assert_true(temporary_dir(b.dir, sizeof(b.dir), "policy"));
	b.fd = open(b.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(b.fd, "cache", 0755), 0);
	b.cache_fd = openat(b.fd, "cache", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(b.fd >= 0 && b.cache_fd >= 0);
	b.head.policy.bytes = strlen(text);
	assert_int_equal(digest_of(text, strlen(text), &b.head.policy.digest), 0);
	*state = &b;
	return 0;
}

static int bench_end(void **state)
{
	struct bench *b = *state;

	close(b->cache_fd);
	close(b->fd);
	return nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Puts `bytes` where the depot `name` should have the policy. */
static void serve(const struct bench *b, const char *name, const char *bytes)
{
	char path[256];
	char hex[DIGEST_HEX_SIZE];

	digest_to_hex(&b->head.policy.digest, hex);
	(void)snprintf(path, sizeof(path), "%s/%s/policy/%.2s", b->dir, name, hex);
	assert_int_equal(io_mkdirs(path, 0755), 0);
	(void)snprintf(
		path, sizeof(path), "%s/%s/policy/%.2s/%s", b->dir, name, hex, hex);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, bytes, strlen(bytes)), 0);
	assert_int_equal(close(fd), 0);
}

static char reason[POLICY_FETCH_REASON_SIZE];

/* With the depots of these names as sources; "" is none. */
static int fetch(
	const struct bench *b, const char *a, const char *other, struct policy *out)
{
	char urls[256] = "none";
	struct fetcher *fetcher;

	if (*a)
		(void)snprintf(urls, sizeof(urls), "file://%s/%s,file://%s/%s", b->dir, a,
			b->dir, other);
	const struct fetcher_config config = {.urls = urls};

	assert_int_equal(fetcher_new(&config, &fetcher), 0);
	int r = policy_fetch(fetcher, &b->head, b->cache_fd, out, reason);

	fetcher_free(fetcher);
	return r;
}

static void a_head_without_policy_asks_nobody(void **state)
{
	struct bench *b = *state;
	struct policy policy = {.schedule_count = 7};

	b->head.policy.bytes = 0;
	assert_int_equal(fetch(b, "", "", &policy), 0);
	assert_int_equal(policy.schedule_count, 0);
}

static void a_source_that_lies_is_passed_over(void **state)
{
	const struct bench *b = *state;
	AUTO_POLICY struct policy policy = {0};

	/* of the right size; too short; too long */
	static const char *const lies[] = {"[schedule nightly]\nwhen = daily at 03:00\n",
		"[schedule nightly]\n",
		"[schedule nightly]\nwhen = daily at 02:00\nmode = full\n"};

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		serve(b, "liar", lies[i]);
		assert_int_equal(fetch(b, "liar", "liar", &policy), -EBADMSG);
		assert_non_null(strstr(reason, "other bytes than the head names"));
	}
	assert_int_equal(policy.schedule_count, 0);
	serve(b, "honest", text);
	assert_int_equal(fetch(b, "liar", "honest", &policy), 0);
	assert_int_equal(policy.schedule_count, 1);
	assert_string_equal(policy.schedules[0].when, "daily at 02:00");
}

static void what_was_fetched_is_there_without_a_source(void **state)
{
	struct bench *b = *state;
	struct policy policy = {0};

	assert_int_equal(fetch(b, "", "", &policy), -EHOSTUNREACH);
	assert_int_equal(fetch(b, "missing", "missing", &policy), -ENOENT);
	serve(b, "honest", text);
	assert_int_equal(fetch(b, "honest", "honest", &policy), 0);
	policy_release(&policy);
	assert_int_equal(fetch(b, "", "", &policy), 0);
	assert_int_equal(policy.schedule_count, 1);
	policy_release(&policy);
	/* but not when the head names another one */
	b->head.policy.digest.bytes[0] ^= 1;
	assert_int_equal(fetch(b, "", "", &policy), -EHOSTUNREACH);
}

static void a_kept_policy_that_is_damaged_is_fetched_again(void **state)
{
	const struct bench *b = *state;
	struct policy policy = {0};

	serve(b, "honest", text);
	assert_int_equal(fetch(b, "honest", "honest", &policy), 0);
	policy_release(&policy);
	int fd = openat(b->cache_fd, "policy/stable", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, "x", 1), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(fetch(b, "", "", &policy), -EHOSTUNREACH);
	assert_int_equal(fetch(b, "honest", "honest", &policy), 0);
	policy_release(&policy);
	assert_int_equal(fetch(b, "", "", &policy), 0);
	policy_release(&policy);
}

static void a_policy_this_mirror_cannot_read_is_not_kept(void **state)
{
	static const char strange[] = "[schedule nightly]\nwhen = at full moon\n";
	struct bench *b = *state;
	struct policy policy = {.schedule_count = 7};
	struct stat st;

	b->head.policy.bytes = strlen(strange);
	assert_int_equal(digest_of(strange, strlen(strange), &b->head.policy.digest), 0);
	serve(b, "honest", strange);
	assert_int_equal(fetch(b, "honest", "honest", &policy), -EINVAL);
	assert_non_null(strstr(reason, "line 2"));
	assert_int_equal(policy.schedule_count, 7);
	assert_int_equal(fstatat(b->cache_fd, "policy/stable", &st, 0), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_begin, bench_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_head_without_policy_asks_nobody),
		TEST(a_source_that_lies_is_passed_over),
		TEST(what_was_fetched_is_there_without_a_source),
		TEST(a_kept_policy_that_is_damaged_is_fetched_again),
		TEST(a_policy_this_mirror_cannot_read_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
