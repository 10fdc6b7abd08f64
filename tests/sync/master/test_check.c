/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/check/check.h"
#include "sync/master/commands.h"
#include "tests/sync/master/support.h"

#include "cache/base/cli.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char found[512];

static int find_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (kind == FTW_F)
		(void)snprintf(found, sizeof(found), "%s", path);
	return kind == FTW_F;
}

/* Some object of this kind. */
static const char *object(const struct bench *b, const char *kind)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", b->depot, kind);
	assert_int_equal(nftw(path, find_file, 16, FTW_PHYS), 1);
	return found;
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void begin_published(struct bench *b)
{
	struct publish_report report;

	bench_begin(b);
	bench_fill(b, "a/data", 300000, 1);
	bench_write(b, "a/text", "hello", 5);
	bench_publish(b, &report);
	assert_int_equal(bench_faults(b), 0);
}

static void a_flipped_bit_in_each_object_is_found(void **state)
{
	(void)state;
	static const char *const kinds[] = {"pack", "catalog", "revision", "channel"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct bench b;

		begin_published(&b);
		flip(object(&b, kinds[i]), 20);
		assert_int_not_equal(bench_faults(&b), 0);
		assert_int_equal(
			bench_verb(cmd_check, "check", b.depot, NULL), EXIT_SHORT);
		flip(object(&b, kinds[i]), 20);
		assert_int_equal(bench_faults(&b), 0);
		bench_end(&b);
	}
}

static void a_missing_object_is_named(void **state)
{
	(void)state;
	static const char *const kinds[] = {"pack", "catalog", "revision"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct bench b;
		struct check_report report CLEANUP(check_report_release) = {0};

		begin_published(&b);
		assert_int_equal(unlink(object(&b, kinds[i])), 0);
		assert_int_equal(check_depot(b.depot, NULL, false, 2, &report), 0);
		assert_int_not_equal(report.fault_count, 0);
		assert_non_null(strstr(i < 2 ? found : "revision", kinds[i]));
		bench_end(&b);
	}
}

static void garbage_is_a_note_and_not_a_fault(void **state)
{
	(void)state;
	struct bench b;
	struct check_report report CLEANUP(check_report_release) = {0};
	char path[600];

	begin_published(&b);
	(void)snprintf(path, sizeof(path), "%s.extra", object(&b, "pack"));
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	assert_int_equal(write(fd, "1234", 4), 4);
	close(fd);
	assert_int_equal(check_depot(b.depot, NULL, true, 2, &report), 0);
	assert_int_equal(report.fault_count, 0);
	assert_int_equal(report.orphans, 1);
	assert_int_equal(report.orphan_bytes, 4);
	bench_end(&b);
}

static void a_wrong_key_is_refused(void **state)
{
	(void)state;
	struct bench b;
	struct check_report report CLEANUP(check_report_release) = {0};
	char other[96];
	char pub[128];

	begin_published(&b);
	(void)snprintf(other, sizeof(other), "%s/other", b.dir);
	assert_int_equal(key_generate(other, "stranger"), 0);
	(void)snprintf(pub, sizeof(pub), "%s/stranger.pub", other);
	assert_int_equal(check_depot(b.depot, pub, false, 2, &report), 0);
	assert_int_equal(report.fault_count, 1);
	assert_string_equal(report.faults[0].object, "trust");
	bench_end(&b);
}

static void the_remedy_for_a_damaged_pack_works(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	struct publish_options o;
	char path[512];

	begin_published(&b);
	assert_int_equal(unlink(object(&b, "pack")), 0);
	(void)snprintf(path, sizeof(path), "%s/.publisher/state.db", b.depot);
	assert_int_equal(unlink(path), 0);
	o = bench_options(&b);
	assert_int_equal(publish(&o, &report), 0);
	assert_int_equal(report.files_read, 2);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flipped_bit_in_each_object_is_found),
		cmocka_unit_test(a_missing_object_is_named),
		cmocka_unit_test(garbage_is_a_note_and_not_a_fault),
		cmocka_unit_test(a_wrong_key_is_refused),
		cmocka_unit_test(the_remedy_for_a_damaged_pack_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
