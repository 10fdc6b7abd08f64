/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Records that were lost, damaged or never ours, and what may not become one. */
#include "sync/master/commands.h"
#include "sync/master/publish/publish.h"
#include "tests/sync/master/support.h"

#include "cache/base/cli.h"
#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY_NS (INT64_C(86400) * NS_PER_SEC)

static void in_depot(const struct bench *b, const char *name, char out[256])
{
	(void)snprintf(out, 256, "%s/%s", b->depot, name);
}

static void remove_in_depot(const struct bench *b, const char *name)
{
	char path[256];

	in_depot(b, name, path);
	assert_int_equal(unlink(path), 0);
}

static void write_in_depot(const struct bench *b, const char *name, const char *text)
{
	char path[256];

	in_depot(b, name, path);
	bench_write_text(path, text);
}

/* A depot with this many revisions. */
static void begin_published(struct bench *b, int revisions)
{
	struct publish_report report;

	bench_begin(b);
	for (int i = 0; i < revisions; i++) {
		bench_fill(b, "file", 1000, (uint64_t)i);
		bench_settle();
		bench_publish(b, &report);
		assert_int_equal(report.outcome, PUBLISH_REVISION);
	}
}

static void a_lost_head_goes_on_counting(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	int64_t now_ns = clock_real_ns();

	begin_published(&b, 2);
	/* renewals count, too, and nothing but the state knows of them */
	for (int i = 1; i <= 3; i++) {
		clock_fake(now_ns + i * 200 * DAY_NS);
		bench_publish(&b, &report);
		assert_int_equal(report.outcome, PUBLISH_RENEWED);
	}
	clock_fake(0);
	assert_int_equal(bench_head(&b, "stable").sequence, 5);
	remove_in_depot(&b, "channel/stable");
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_HEAD);
	assert_int_equal(bench_head(&b, "stable").sequence, 6);
	bench_end(&b);
}

static void a_head_from_an_old_copy_goes_on_counting(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	char path[256];
	char copy[256];

	begin_published(&b, 1);
	in_depot(&b, "channel/stable", path);
	(void)snprintf(copy, sizeof(copy), "%s/copy", b.dir);
	assert_int_equal(link(path, copy), 0);
	for (int i = 0; i < 2; i++) {
		bench_fill(&b, "file", 1000, 100 + (uint64_t)i);
		bench_settle();
		bench_publish(&b, &report);
	}
	assert_int_equal(rename(copy, path), 0);
	assert_int_equal(bench_head(&b, "stable").sequence, 1);
	bench_publish(&b, &report);
	assert_int_equal(bench_head(&b, "stable").sequence, 4);
	assert_int_equal(bench_head(&b, "stable").revision, 3);
	bench_end(&b);
}

static void without_head_and_state_the_revisions_are_counted(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;

	begin_published(&b, 3);
	remove_in_depot(&b, "channel/stable");
	remove_in_depot(&b, ".publisher/state.db");
	bench_publish(&b, &report);
	assert_int_equal(bench_head(&b, "stable").sequence, 4);
	bench_end(&b);
}

static void a_damaged_head_is_replaced(void **state)
{
	(void)state;
	static const char *const texts[] = {"", "no record", "depotfs-head 1\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct bench b;
		struct publish_report report;

		begin_published(&b, 2);
		write_in_depot(&b, "channel/stable", texts[i]);
		assert_int_not_equal(bench_faults(&b), 0);
		/* log tells of the others even so */
		assert_int_equal(bench_verb(cmd_log, "log", b.depot, NULL), 0);
		bench_publish(&b, &report);
		assert_int_equal(report.outcome, PUBLISH_HEAD);
		assert_int_equal(bench_head(&b, "stable").sequence, 3);
		assert_int_equal(bench_head(&b, "stable").revision, 2);
		assert_int_equal(bench_faults(&b), 0);
		bench_end(&b);
	}
}

static void a_head_of_another_key_is_replaced(void **state)
{
	(void)state;
	struct bench b;
	struct bench other;
	struct publish_report report;
	char path[256];
	char foreign[256];

	begin_published(&b, 1);
	begin_published(&other, 1);
	in_depot(&b, "channel/stable", path);
	in_depot(&other, "channel/stable", foreign);
	assert_int_equal(rename(foreign, path), 0);
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_HEAD);
	assert_int_equal(bench_head(&b, "stable").sequence, 2);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&other);
	bench_end(&b);
}

/* Signed by us, but not what the revision says. */
static void a_head_that_names_another_root_is_replaced(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	struct signing_key *key;
	struct buffer text AUTO_BUFFER = BUFFER_INIT(RECORD_MAX_BYTES);

	begin_published(&b, 1);
	struct head head = bench_head(&b, "stable");

	head.root.digest.bytes[0] ^= 1;
	assert_int_equal(signing_key_load(b.key, &key), 0);
	assert_int_equal(head_encode(&head, key, &text), 0);
	signing_key_free(key);
	assert_int_equal(buffer_add(&text, "", 1), 0);
	write_in_depot(&b, "channel/stable", (const char *)text.data);
	assert_int_not_equal(bench_faults(&b), 0);
	bench_publish(&b, &report);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

static void stray_names_among_the_revisions_are_passed_over(void **state)
{
	(void)state;
	static const char *const names[] = {"99999999999", "18446744073709551615",
		"99999999998", "7", "notes", "3x", "03", "-1"};
	struct bench b;
	struct publish_report report;
	char path[256];

	begin_published(&b, 1);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "revision/%s", names[i]);
		write_in_depot(&b, path, "stray");
	}
	in_depot(&b, "revision/4000", path);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(bench_verb(cmd_log, "log", b.depot, NULL), 0);
	bench_fill(&b, "file", 1000, 99);
	bench_settle();
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_REVISION);
	assert_int_equal(report.revision, 2);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

static void a_damaged_newest_revision_is_not_passed_over(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;

	begin_published(&b, 3);
	write_in_depot(&b, "revision/3", "damaged");
	struct publish_options o = bench_options(&b);

	assert_int_equal(publish(&o, &report), -EBADMSG);
	assert_int_equal(bench_count(&b, "revision"), 3);
	assert_int_not_equal(bench_faults(&b), 0);
	bench_end(&b);
}

static void a_message_that_cannot_be_signed_stops_before_anything_is_read(void **state)
{
	(void)state;
	static const char *const messages[] = {
		"caf\xe9", "cut \xf0\x9f\x98", "\xc0\xaf", "control \xc2\x85 of old"};
	struct bench b;
	struct publish_report report;

	bench_begin(&b);
	struct publish_options o = bench_options(&b);

	/* reading it would be another error */
	o.tree = "/nonexistent";
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		o.message = messages[i];
		assert_int_equal(publish(&o, &report), -EINVAL);
		assert_int_equal(bench_verb(cmd_publish, "publish", b.depot, b.tree,
					 "--message", messages[i], NULL),
			EXIT_FAILED);
	}
	assert_int_equal(bench_count(&b, "pack") + bench_count(&b, "catalog"), 0);
	o.tree = b.tree;
	o.message = "caf\xc3\xa9";
	assert_int_equal(publish(&o, &report), 0);
	bench_end(&b);
}

static void refuse_keys_in(const struct bench *b, const char *keys)
{
	char fresh[128];

	(void)snprintf(fresh, sizeof(fresh), "%s/fresh", b->dir);
	assert_int_equal(bench_verb(cmd_init, "init", fresh, "--name", "other",
				 "--key-dir", keys, NULL),
		EXIT_FAILED);
	/* nothing is left, the key least of all */
	assert_int_equal(access(fresh, F_OK), -1);
}

static void no_secret_key_is_made_inside_the_depot(void **state)
{
	(void)state;
	static const char *const below[] = {"fresh", "fresh/keys", "fresh/keys/deep/",
		"tree/../fresh/keys", "way/keys", "fresh/.publisher/keys",
		"missing/../fresh/keys"};
	struct bench b;
	char path[256];

	bench_begin(&b);
	(void)snprintf(path, sizeof(path), "%s/way", b.dir);
	assert_int_equal(symlink("fresh", path), 0);
	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", b.dir, below[i]);
		refuse_keys_in(&b, path);
	}
	(void)snprintf(path, sizeof(path), "%s/fresh", b.dir);
	char keys[256];

	/* beside it, with a name that begins the same */
	(void)snprintf(keys, sizeof(keys), "%s/fresh-keys", b.dir);
	assert_int_equal(bench_verb(cmd_init, "init", path, "--name", "other",
				 "--key-dir", keys, NULL),
		0);
	bench_end(&b);
}

static void publish_knows_two_options_by_their_letters(void **state)
{
	(void)state;
	struct bench b;

	bench_begin(&b);
	bench_write(&b, "file", "1", 1);
	assert_int_equal(
		bench_verb(cmd_publish, "publish", "-n", b.depot, b.tree, NULL), 0);
	assert_int_equal(bench_count(&b, "revision"), 0);
	assert_int_equal(bench_verb(cmd_publish, "publish", "-m", "two\nlines", b.depot,
				 b.tree, NULL),
		EXIT_USAGE);
	assert_int_equal(bench_verb(cmd_publish, "publish", "-m", "one line", b.depot,
				 b.tree, NULL),
		0);
	assert_int_equal(bench_count(&b, "revision"), 1);
	bench_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lost_head_goes_on_counting),
		cmocka_unit_test(a_head_from_an_old_copy_goes_on_counting),
		cmocka_unit_test(without_head_and_state_the_revisions_are_counted),
		cmocka_unit_test(a_damaged_head_is_replaced),
		cmocka_unit_test(a_head_of_another_key_is_replaced),
		cmocka_unit_test(a_head_that_names_another_root_is_replaced),
		cmocka_unit_test(stray_names_among_the_revisions_are_passed_over),
		cmocka_unit_test(a_damaged_newest_revision_is_not_passed_over),
		cmocka_unit_test(
			a_message_that_cannot_be_signed_stops_before_anything_is_read),
		cmocka_unit_test(no_secret_key_is_made_inside_the_depot),
		cmocka_unit_test(publish_knows_two_options_by_their_letters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
