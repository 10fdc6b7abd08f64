/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Policies: what becomes of a channel's head, and of the file that it names. */
#include "sync/master/commands.h"
#include "tests/sync/master/support.h"

#include "cache/base/cli.h"
#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DAY_NS	(INT64_C(86400) * NS_PER_SEC)
#define NIGHTLY "[schedule nightly]\nlabel = site:oslo\nwhen = daily at 02:00\n"
#define WEEKEND "[windows weekend]\nallow = sat, sun\n"

/* The verb's exit status. */
static int set(const struct bench *b, const char *text)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/policy.conf", b->dir);
	bench_write_text(path, text);
	return bench_verb(cmd_policy, "policy", b->depot, "--set", path, NULL);
}

static int change(const struct bench *b, const char *how)
{
	return bench_verb(cmd_policy, "policy", b->depot, how, NULL);
}

static void policy_path(const struct bench *b, const struct head *head, char out[256])
{
	char object[DEPOT_OBJECT_SIZE];

	depot_object_name("policy", &head->policy.digest, object);
	(void)snprintf(out, 256, "%s/%s", b->depot, object);
}

/* A depot with one revision. */
static void begin(struct bench *b)
{
	struct publish_report report;

	bench_begin(b);
	bench_fill(b, "file", 1000, 1);
	bench_settle();
	bench_publish(b, &report);
}

static void a_policy_makes_a_head_for_the_same_revision(void **state)
{
	(void)state;
	struct bench b;
	struct stat st;
	char path[256];
	struct digest digest;
	int64_t now_ns = clock_real_ns() / NS_PER_SEC * NS_PER_SEC;

	begin(&b);
	struct head before = bench_head(&b, "stable");

	clock_fake(now_ns + 100 * DAY_NS);
	assert_int_equal(set(&b, NIGHTLY), EXIT_DONE);
	struct head after = bench_head(&b, "stable");

	assert_int_equal(after.sequence, before.sequence + 1);
	assert_int_equal(after.revision, before.revision);
	assert_memory_equal(&after.root, &before.root, sizeof(after.root));
	/* as long as it was given, from now on */
	assert_int_equal(after.published_ns, now_ns + 100 * DAY_NS);
	assert_int_equal(after.expires_ns, after.published_ns + 365 * DAY_NS);
	assert_int_equal(after.policy.bytes, strlen(NIGHTLY));
	assert_int_equal(digest_of(NIGHTLY, strlen(NIGHTLY), &digest), 0);
	assert_true(digest_equal(&digest, &after.policy.digest));
	policy_path(&b, &after, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(bench_faults(&b), 0);
	/* the same once more is nothing new */
	assert_int_equal(set(&b, NIGHTLY), EXIT_DONE);
	assert_int_equal(bench_head(&b, "stable").sequence, after.sequence);
	assert_int_equal(change(&b, "--show"), EXIT_DONE);
	clock_fake(0);
	bench_end(&b);
}

static void expect_policy(const struct bench *b, const struct policy_ref *ref)
{
	struct head head = bench_head(b, "stable");

	assert_int_equal(head.policy.bytes, ref->bytes);
	assert_true(digest_equal(&head.policy.digest, &ref->digest));
}

static void every_later_head_names_it_until_it_is_cleared(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	int64_t now_ns = clock_real_ns();

	begin(&b);
	assert_int_equal(set(&b, NIGHTLY), EXIT_DONE);
	struct policy_ref ref = bench_head(&b, "stable").policy;

	/* a new revision, a renewal */
	bench_fill(&b, "file", 1000, 2);
	bench_settle();
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_REVISION);
	expect_policy(&b, &ref);
	clock_fake(now_ns + 200 * DAY_NS);
	bench_publish(&b, &report);
	clock_fake(0);
	assert_int_equal(report.outcome, PUBLISH_RENEWED);
	expect_policy(&b, &ref);
	/* nothing to do is nothing done */
	uint64_t sequence = bench_head(&b, "stable").sequence;

	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_NOTHING);
	assert_int_equal(change(&b, "--clear"), EXIT_DONE);
	assert_int_equal(bench_head(&b, "stable").sequence, sequence + 1);
	assert_int_equal(bench_head(&b, "stable").policy.bytes, 0);
	assert_int_equal(change(&b, "--clear"), EXIT_DONE);
	assert_int_equal(bench_head(&b, "stable").sequence, sequence + 1);
	bench_publish(&b, &report);
	assert_int_equal(bench_head(&b, "stable").policy.bytes, 0);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

static void channels_have_policies_of_their_own(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;

	begin(&b);
	struct publish_options o = bench_options(&b);

	o.channel = "test";
	assert_int_equal(publish(&o, &report), 0);
	assert_int_equal(set(&b, WEEKEND), EXIT_DONE);
	assert_int_equal(publish(&o, &report), 0);
	assert_int_equal(bench_head(&b, "test").policy.bytes, 0);
	assert_int_equal(bench_head(&b, "stable").policy.bytes, strlen(WEEKEND));
	bench_end(&b);
}

static void a_lost_head_gets_its_policy_back(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	char path[256];
	char old[256];

	begin(&b);
	(void)snprintf(path, sizeof(path), "%s/channel/stable", b.depot);
	(void)snprintf(old, sizeof(old), "%s/old", b.dir);
	assert_int_equal(link(path, old), 0);
	assert_int_equal(set(&b, NIGHTLY), EXIT_DONE);
	assert_int_equal(unlink(path), 0);
	/* nothing that a policy could be added to */
	assert_int_equal(set(&b, WEEKEND), EXIT_FAILED);
	bench_publish(&b, &report);
	assert_int_equal(bench_head(&b, "stable").policy.bytes, strlen(NIGHTLY));
	assert_int_equal(bench_head(&b, "stable").sequence, 3);
	/* from before it was set; another policy would sign that old state again */
	assert_int_equal(rename(old, path), 0);
	assert_int_equal(set(&b, WEEKEND), EXIT_FAILED);
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_HEAD);
	assert_int_equal(bench_head(&b, "stable").policy.bytes, strlen(NIGHTLY));
	assert_int_equal(bench_head(&b, "stable").sequence, 4);
	bench_end(&b);
}

static void what_mirrors_could_not_read_is_never_published(void **state)
{
	(void)state;
	static const char *const texts[] = {"", "when = daily\n",
		"[schedule a]\nwhen = never\n", "[schedule a]\nmode = full\n"};
	struct bench b;
	char path[128];
	char large[70000];

	begin(&b);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(set(&b, texts[i]), EXIT_FAILED);
	memset(large, '\n', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	assert_int_equal(set(&b, large), EXIT_FAILED);
	(void)snprintf(path, sizeof(path), "%s/missing", b.dir);
	assert_int_equal(bench_verb(cmd_policy, "policy", b.depot, "--set", path, NULL),
		EXIT_FAILED);
	assert_int_equal(bench_verb(cmd_policy, "policy", b.depot, NULL), EXIT_USAGE);
	assert_int_equal(
		bench_verb(cmd_policy, "policy", b.depot, "--show", "--clear", NULL),
		EXIT_USAGE);
	assert_int_equal(bench_head(&b, "stable").sequence, 1);
	assert_int_equal(bench_count(&b, "policy"), 0);
	bench_end(&b);
}

static void check_proves_the_policy(void **state)
{
	(void)state;
	struct bench b;
	struct check_report report CLEANUP(check_report_release) = {0};
	char path[256];

	begin(&b);
	assert_int_equal(set(&b, WEEKEND), EXIT_DONE);
	assert_int_equal(set(&b, NIGHTLY), EXIT_DONE);
	assert_int_equal(check_depot(b.depot, NULL, false, 2, &report), 0);
	assert_int_equal(report.policies, 1);
	assert_int_equal(report.orphans, 1); /* the replaced one */
	struct head head = bench_head(&b, "stable");

	policy_path(&b, &head, path);
	/* other bytes of the same size */
	bench_write_text(
		path, "[schedule nightly]\nlabel = site:oslo\nwhen = daily at 03:00\n");
	assert_int_equal(bench_faults(&b), 1);
	assert_int_equal(change(&b, "--show"), EXIT_FAILED);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(bench_faults(&b), 1);
	/* set again, as the fault says */
	assert_int_equal(set(&b, NIGHTLY), EXIT_DONE);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

/* Its own file, too, but nothing that a mirror can read: signed by hand. */
static void check_reads_the_policy(void **state)
{
	(void)state;
	static const char strange[] = "[schedule a]\nwhen = at full moon\n";
	struct bench b;
	struct signing_key *key;
	struct buffer text AUTO_BUFFER = BUFFER_INIT(RECORD_MAX_BYTES);
	char path[256];

	begin(&b);
	assert_int_equal(set(&b, NIGHTLY), EXIT_DONE);
	struct head head = bench_head(&b, "stable");

	head.sequence++;
	head.policy.bytes = strlen(strange);
	assert_int_equal(digest_of(strange, strlen(strange), &head.policy.digest), 0);
	policy_path(&b, &head, path);
	char *slash = strrchr(path, '/');

	*slash = '\0';
	assert_int_equal(io_mkdirs(path, 0755), 0);
	*slash = '/';
	bench_write_text(path, strange);
	assert_int_equal(signing_key_load(b.key, &key), 0);
	assert_int_equal(head_encode(&head, key, &text), 0);
	signing_key_free(key);
	assert_int_equal(buffer_add(&text, "", 1), 0);
	(void)snprintf(path, sizeof(path), "%s/channel/stable", b.depot);
	bench_write_text(path, (const char *)text.data);
	assert_int_equal(bench_faults(&b), 1);
	bench_end(&b);
}

static void a_depot_without_the_folder_takes_a_policy(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	char path[256];

	begin(&b);
	(void)snprintf(path, sizeof(path), "%s/policy", b.depot);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(bench_faults(&b), 0);
	bench_fill(&b, "file", 1000, 2);
	bench_settle();
	bench_publish(&b, &report);
	assert_int_equal(set(&b, NIGHTLY), EXIT_DONE);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_policy_makes_a_head_for_the_same_revision),
		cmocka_unit_test(every_later_head_names_it_until_it_is_cleared),
		cmocka_unit_test(channels_have_policies_of_their_own),
		cmocka_unit_test(a_lost_head_gets_its_policy_back),
		cmocka_unit_test(what_mirrors_could_not_read_is_never_published),
		cmocka_unit_test(check_proves_the_policy),
		cmocka_unit_test(check_reads_the_policy),
		cmocka_unit_test(a_depot_without_the_folder_takes_a_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
