/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"
#include "cache/objects/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NOW	   (INT64_C(1700000000) * NS_PER_SEC)
#define OLD	   (NOW - NS_PER_SEC)
#define OTHER_BOOT "00000000-1111-2222-3333-444444444444"

static struct scratch scratch;

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	clock_fake(NOW);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	clock_fake(0);
	scratch_remove(&scratch);
	return 0;
}

static struct checkpoint *start(int64_t now_ns)
{
	struct checkpoint *c;

	clock_fake(now_ns);
	assert_int_equal(checkpoint_open(scratch.fd, &c), 0);
	return c;
}

/* A record of this directory: `text`, then the place as the checkpoint itself writes it. */
static void write_record(const char *text)
{
	AUTO_BUFFER struct buffer own = BUFFER_INIT(256);
	char whole[256];

	checkpoint_free(start(NOW));
	assert_int_equal(io_read_file(scratch.fd, "checkpoint", &own), 0);
	assert_int_equal(buffer_add(&own, "", 1), 0);
	const char *place = strrchr((const char *)own.data, ' ');

	assert_non_null(place);
	int n = snprintf(whole, sizeof(whole), "%s%s", text, place);

	scratch_write(&scratch, "checkpoint", whole, (size_t)n);
}

/* What another boot of this machine left. */
static void write_other_boot(int64_t horizon_ns)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%s %" PRId64 " open", OTHER_BOOT, horizon_ns);
	write_record(text);
}

static void a_cache_without_a_record_trusts_nothing_old(void **state)
{
	(void)state;
	assert_int_equal(mkdirat(scratch.fd, "objects", 0700), 0);
	struct checkpoint *c = start(NOW);

	assert_true(checkpoint_is_after_crash(c));
	assert_true(checkpoint_is_doubtful(c, OLD));
	assert_true(checkpoint_is_doubtful(c, 1));
	checkpoint_free(c);
}

static void a_new_cache_has_nothing_to_doubt(void **state)
{
	struct checkpoint *c = start(NOW);

	(void)state;
	assert_false(checkpoint_is_after_crash(c));
	assert_false(checkpoint_is_doubtful(c, OLD));
	checkpoint_free(c);
}

static void after_an_orderly_end_nothing_is_in_doubt(void **state)
{
	(void)state;
	write_record(OTHER_BOOT " 5 ended");
	struct checkpoint *c = start(NOW);

	assert_false(checkpoint_is_after_crash(c));
	assert_false(checkpoint_is_doubtful(c, OLD));
	checkpoint_free(c);
}

static void a_crash_is_remembered_until_all_is_verified(void **state)
{
	(void)state;
	write_record(OTHER_BOOT " 5 open");
	struct checkpoint *c = start(NOW);

	assert_true(checkpoint_is_after_crash(c));
	checkpoint_free(c);
	/* killed before the verification was through: the same boot, and still in doubt */
	c = start(NOW + NS_PER_SEC);
	assert_true(checkpoint_is_after_crash(c));
	assert_true(checkpoint_is_doubtful(c, OLD));
	checkpoint_settle(c);
	assert_int_equal(checkpoint_write(c, false), 0);
	checkpoint_free(c);
	c = start(NOW + 2 * NS_PER_SEC);
	assert_false(checkpoint_is_after_crash(c));
	checkpoint_free(c);
}

/* Taken while a session wrote, a copy may say of pieces that they are there which are not. */
static void a_copy_of_a_cache_is_in_doubt(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(256);
	struct checkpoint *c = start(NOW);
	struct checkpoint *copy;

	(void)state;
	checkpoint_free(c);
	assert_int_equal(io_read_file(scratch.fd, "checkpoint", &text), 0);
	assert_int_equal(mkdirat(scratch.fd, "copy", 0700), 0);
	scratch_write(&scratch, "copy/checkpoint", text.data, text.len);
	int fd = openat(scratch.fd, "copy", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(checkpoint_open(fd, &copy), 0);
		assert_true(checkpoint_is_after_crash(copy));
		assert_true(checkpoint_is_doubtful(copy, OLD));
		checkpoint_free(copy);
	}
	close(fd);
}

static void what_this_session_lands_is_trusted(void **state)
{
	struct checkpoint *c = start(NOW);

	(void)state;
	clock_fake(NOW + 100 * NS_PER_SEC);
	assert_false(checkpoint_is_doubtful(c, NOW));
	assert_false(checkpoint_is_doubtful(c, NOW + 50 * NS_PER_SEC));
	assert_true(checkpoint_is_new(c, NOW + 50 * NS_PER_SEC));
	assert_false(checkpoint_is_new(c, OLD));
	checkpoint_free(c);
}

static void after_a_kill_everything_is_trusted(void **state)
{
	struct checkpoint *c = start(NOW);

	(void)state;
	checkpoint_settle(c);
	assert_int_equal(checkpoint_write(c, false), 0);
	/* killed: no more is written; the machine stayed up */
	checkpoint_free(c);
	c = start(NOW + 1000 * NS_PER_SEC);
	assert_false(checkpoint_is_doubtful(c, NOW + 500 * NS_PER_SEC));
	assert_false(checkpoint_is_doubtful(c, 1));
	checkpoint_free(c);
}

static void after_another_boot_what_landed_behind_the_horizon_is_in_doubt(void **state)
{
	int64_t horizon_ns = NOW - 100 * NS_PER_SEC;

	(void)state;
	write_other_boot(horizon_ns);
	struct checkpoint *c = start(NOW);

	assert_false(checkpoint_is_doubtful(c, horizon_ns));
	assert_true(checkpoint_is_doubtful(c, horizon_ns + 1));
	assert_true(checkpoint_is_doubtful(c, OLD));
	checkpoint_free(c);
}

static void a_horizon_from_the_future_says_nothing(void **state)
{
	(void)state;
	write_other_boot(NOW + 1);
	struct checkpoint *c = start(NOW);

	assert_true(checkpoint_is_doubtful(c, OLD));
	assert_true(checkpoint_is_doubtful(c, 1));
	checkpoint_free(c);
}

/* A machine without a clock of its own starts in 1970 after a crash: what it finds is younger
 * than the session and was not landed by it. */
static void a_file_from_the_future_is_in_doubt_after_a_crash(void **state)
{
	(void)state;
	write_other_boot(NOW);
	struct checkpoint *c = start(1000 * NS_PER_SEC);

	assert_true(checkpoint_is_doubtful(c, NOW + NS_PER_SEC));
	assert_false(checkpoint_is_new(c, NOW + NS_PER_SEC));
	checkpoint_free(c);
}

static void while_anything_is_in_doubt_no_checkpoint_is_written(void **state)
{
	AUTO_BUFFER struct buffer before = BUFFER_INIT(256);
	AUTO_BUFFER struct buffer after = BUFFER_INIT(256);

	(void)state;
	write_other_boot(NOW - 100);
	struct checkpoint *c = start(NOW);

	assert_int_equal(io_read_file(scratch.fd, "checkpoint", &before), 0);
	assert_non_null(strstr((const char *)before.data, "crashed"));
	assert_int_equal(checkpoint_write(c, false), 0);
	assert_int_equal(io_read_file(scratch.fd, "checkpoint", &after), 0);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.data, after.data, before.len);
	checkpoint_settle(c);
	assert_int_equal(checkpoint_write(c, false), 0);
	checkpoint_free(c);
	c = start(NOW + 1);
	assert_false(checkpoint_is_doubtful(c, OLD));
	checkpoint_free(c);
}

static void an_unreadable_record_trusts_nothing(void **state)
{
	static const char *const texts[] = {"", "nonsense", OTHER_BOOT,
		(OTHER_BOOT " x\n"), (OTHER_BOOT " 5 ended\n"),
		"- 9223372036854775807\n"};
	char longest[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		scratch_write(&scratch, "checkpoint", texts[i], strlen(texts[i]));
		struct checkpoint *c = start(NOW);

		assert_true(checkpoint_is_doubtful(c, OLD));
		checkpoint_free(c);
	}
	memset(longest, '1', sizeof(longest));
	scratch_write(&scratch, "checkpoint", longest, sizeof(longest));
	struct checkpoint *c = start(NOW);

	assert_true(checkpoint_is_doubtful(c, OLD));
	checkpoint_free(c);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(a_cache_without_a_record_trusts_nothing_old),
		T(a_new_cache_has_nothing_to_doubt),
		T(after_an_orderly_end_nothing_is_in_doubt),
		T(a_crash_is_remembered_until_all_is_verified),
		T(a_copy_of_a_cache_is_in_doubt),
		T(what_this_session_lands_is_trusted),
		T(after_a_kill_everything_is_trusted),
		T(after_another_boot_what_landed_behind_the_horizon_is_in_doubt),
		T(a_horizon_from_the_future_says_nothing),
		T(a_file_from_the_future_is_in_doubt_after_a_crash),
		T(while_anything_is_in_doubt_no_checkpoint_is_written),
		T(an_unreadable_record_trusts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
