/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/data/buffer.h"
#include "cache/base/data/compress.h"
#include "cache/base/data/hash.h"
#include "cache/base/disk/durable.h"
#include "cache/base/disk/file_lock.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void a_buffer_holds_its_maximum_and_not_a_byte_more(void **state)
{
	AUTO_BUFFER struct buffer b = BUFFER_INIT(1000);
	uint8_t block[600] = {7};

	(void)state;
	assert_int_equal(buffer_add(&b, block, 600), 0);
	assert_int_equal(buffer_add(&b, block, 401), -EFBIG);
	assert_int_equal(b.len, 600);
	assert_int_equal(buffer_add(&b, block, 400), 0);
	assert_int_equal(b.len, 1000);
	assert_int_equal(buffer_add_zero(&b, 1), -EFBIG);
	assert_int_equal(buffer_add(&b, block, 0), 0);
	assert_int_equal(b.data[600], 7);
	/* a length that would wrap around */
	assert_int_equal(buffer_reserve(&b, SIZE_MAX), -EFBIG);
}

static void a_buffer_keeps_what_it_has_when_memory_is_short(void **state)
{
	AUTO_BUFFER struct buffer b = BUFFER_INIT(1 << 20);
	uint8_t block[4096] = {1};

	(void)state;
	assert_int_equal(buffer_add(&b, "kept", 4), 0);
	mem_fail_after(0);
	assert_int_equal(buffer_add(&b, block, sizeof(block)), -ENOMEM);
	mem_fail_after(-1);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "kept", 4);
}

static void printing_into_a_buffer_appends_text(void **state)
{
	AUTO_BUFFER struct buffer b = BUFFER_INIT(12);

	(void)state;
	assert_int_equal(buffer_printf(&b, "%d-", 42), 0);
	assert_int_equal(buffer_printf(&b, "%s", "abcdefgh"), 0);
	assert_string_equal((char *)b.data, "42-abcdefgh");
	assert_int_equal(buffer_printf(&b, "%s", "ijk"), -EFBIG);
	assert_string_equal((char *)b.data, "42-abcdefgh");
}

static void durable_write_replaces_whole_and_leaves_no_temporary_file(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(64);
	struct scratch s;
	struct stat st;

	(void)state;
	scratch_make(&s);
	assert_int_equal(durable_write(s.fd, "file", "old and long", 12, 0644), 0);
	assert_int_equal(durable_write(s.fd, "file", "new", 3, 0640), 0);
	assert_int_equal(io_read_file(s.fd, "file", &text), 0);
	assert_int_equal(text.len, 3);
	assert_memory_equal(text.data, "new", 3);
	assert_int_equal(fstatat(s.fd, "file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(scratch_count(&s, "."), 1);
	scratch_remove(&s);
}

static void a_failed_durable_write_leaves_the_old_file_and_no_temporary_one(void **state)
{
	struct scratch s;

	(void)state;
	scratch_make(&s);
	/* a directory is in the way: the rename fails after all was written */
	assert_int_equal(mkdirat(s.fd, "taken", 0700), 0);
	scratch_write(&s, "taken/inside", "x", 1);
	assert_true(durable_write(s.fd, "taken", "new", 3, 0644) < 0);
	assert_true(scratch_has(&s, "taken/inside"));
	assert_int_equal(scratch_count(&s, "."), 1);
	assert_int_equal(durable_write(s.fd, "missing/file", "new", 3, 0644), -ENOENT);
	assert_int_equal(scratch_count(&s, "."), 1);
	scratch_remove(&s);
}

static void a_sweep_takes_what_killed_writers_left_and_nothing_else(void **state)
{
	static const char *const kept[] = {
		"trust", "trust.tmp", "a.tmp1234567", "a.tmp1234567g", ".tmp12345678"};
	struct scratch s;

	(void)state;
	scratch_make(&s);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		scratch_write(&s, kept[i], "x", 1);
	scratch_write(&s, "trust.tmp0123abcd", "x", 1);
	assert_int_equal(durable_sweep(s.fd), 0);
	assert_false(scratch_has(&s, "trust.tmp0123abcd"));
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		assert_true(scratch_has(&s, kept[i]));
	scratch_remove(&s);
}

static void reading_a_file_respects_the_buffers_maximum(void **state)
{
	AUTO_BUFFER struct buffer fits = BUFFER_INIT(5);
	AUTO_BUFFER struct buffer small = BUFFER_INIT(4);
	struct scratch s;

	(void)state;
	scratch_make(&s);
	scratch_write(&s, "f", "12345", 5);
	assert_int_equal(io_read_file(s.fd, "f", &fits), 0);
	assert_int_equal(fits.len, 5);
	assert_int_equal(io_read_file(s.fd, "f", &small), -EFBIG);
	assert_int_equal(io_read_file(s.fd, "g", &small), -ENOENT);
	scratch_remove(&s);
}

static void an_exact_read_of_too_short_a_file_is_corrupt(void **state)
{
	struct scratch s;
	char out[8];

	(void)state;
	scratch_make(&s);
	scratch_write(&s, "f", "1234", 4);
	AUTO_CLOSE int fd = openat(s.fd, "f", O_RDONLY);

	assert_int_equal(io_pread_exact(fd, out, 4, 0), 0);
	assert_int_equal(io_pread_exact(fd, out, 5, 0), -EBADMSG);
	assert_int_equal(io_pread(fd, out, 8, 2), 2);
	assert_int_equal(io_pread(fd, out, 8, 100), 0);
	assert_int_equal(io_write(fd, "x", 1), -EBADF);
	scratch_remove(&s);
}

static void directories_are_made_with_their_parents(void **state)
{
	char path[128];
	struct scratch s;

	(void)state;
	scratch_make(&s);
	(void)snprintf(path, sizeof(path), "%s/a/b//c/", s.path);
	assert_int_equal(io_mkdirs(path, 0700), 0);
	assert_int_equal(io_mkdirs(path, 0700), 0);
	assert_true(scratch_has(&s, "a/b/c"));
	scratch_write(&s, "a/file", "", 0);
	(void)snprintf(path, sizeof(path), "%s/a/file", s.path);
	assert_int_equal(io_mkdirs(path, 0700), -ENOTDIR);
	(void)snprintf(path, sizeof(path), "%s/a/file/d", s.path);
	assert_int_equal(io_mkdirs(path, 0700), -ENOTDIR);
	scratch_remove(&s);
}

static void numbers_are_read_whole_or_not_at_all(void **state)
{
	static const char *const bad[] = {"", " 1", "-1", "+1", "1x", "1 ", "0x10", "x"};
	unsigned long long v = 5;

	(void)state;
	assert_int_equal(io_parse_u64("18446744073709551615", &v), 0);
	assert_true(v == UINT64_MAX);
	v = 5;
	assert_int_equal(io_parse_u64("18446744073709551616", &v), -ERANGE);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(io_parse_u64(bad[i], &v), -EINVAL);
	assert_int_equal(v, 5);
}

static void the_clock_stands_where_a_test_puts_it(void **state)
{
	(void)state;
	clock_fake(123 * NS_PER_SEC);
	assert_int_equal(clock_mono_ns(), 123 * NS_PER_SEC);
	assert_int_equal(clock_real_ns(), 123 * NS_PER_SEC);
	clock_fake(0);
	assert_true(clock_real_ns() > INT64_C(1600000000) * NS_PER_SEC);
}

static void times_are_written_and_read_back(void **state)
{
	static const char *const bad[] = {"", "2026-03-01", "2026-03-01T12:00:00",
		"2026-03-01T12:00:00Zx", "never"};
	char text[CLOCK_TEXT_SIZE];
	int64_t ns = 1;

	(void)state;
	clock_format(INT64_C(1772366400) * NS_PER_SEC + 5, text);
	assert_string_equal(text, "2026-03-01T12:00:00Z");
	assert_int_equal(clock_parse(text, &ns), 0);
	assert_true(ns == INT64_C(1772366400) * NS_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(clock_parse(bad[i], &ns), -EINVAL);
	assert_true(ns == INT64_C(1772366400) * NS_PER_SEC);
}

static void a_frame_decodes_to_exactly_the_expected_size(void **state)
{
	char in[3000];
	char out[4000];
	char packed[8000];
	size_t len;

	(void)state;
	memset(in, 'a', sizeof(in));
	assert_true(compress_bound(sizeof(in)) <= sizeof(packed));
	assert_int_equal(
		compress_encode(in, sizeof(in), 3, packed, sizeof(packed), &len), 0);
	assert_int_equal(compress_decode(packed, len, out, 3000), 0);
	assert_memory_equal(in, out, 3000);
	assert_int_equal(compress_decode(packed, len, out, 2999), -EBADMSG);
	assert_int_equal(compress_decode(packed, len, out, 3001), -EBADMSG);
	assert_int_equal(compress_decode(packed, len - 1, out, 3000), -EBADMSG);
	assert_int_equal(compress_decode(packed, 0, out, 3000), -EBADMSG);
	packed[len] = 'x';
	assert_int_equal(compress_decode(packed, len + 1, out, 3000), -EBADMSG);
	/* no room: an error and not a torn frame */
	assert_int_equal(compress_encode(in, sizeof(in), 3, packed, 4, &len), -EIO);
}

static void digests_are_spelled_one_way(void **state)
{
	static const char abc[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	char hex[DIGEST_HEX_SIZE];
	struct digest a;
	struct digest b;

	(void)state;
	assert_int_equal(digest_of("abc", 3, &a), 0);
	digest_to_hex(&a, hex);
	assert_string_equal(hex, abc);
	assert_int_equal(digest_from_hex(abc, &b), 0);
	assert_true(digest_equal(&a, &b));
	hex[5] = 'A';
	assert_int_equal(digest_from_hex(hex, &b), -EINVAL);
	assert_int_equal(digest_from_hex("ba78", &b), -EINVAL);
	assert_true(digest_equal(&a, &b));
}

static void a_lock_dies_with_its_holder_and_names_it(void **state)
{
	struct scratch s;
	pid_t holder = 0;
	int ready[2];
	int status;
	char c;

	(void)state;
	scratch_make(&s);
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		pid_t other;

		if (file_lock_take(s.fd, "lock", &other) < 0 ||
			write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(file_lock_take(s.fd, "lock", &holder), -EWOULDBLOCK);
	assert_int_equal(holder, child);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	int fd = file_lock_take(s.fd, "lock", &holder);

	assert_true(fd >= 0);
	close(fd);
	close(ready[0]);
	close(ready[1]);
	scratch_remove(&s);
}

/* A pipe in packet mode gives back one write per read. */
static void a_log_line_is_written_in_one_piece(void **state)
{
	char line[256] = "";
	int saved = dup(STDERR_FILENO);
	int ends[2];

	(void)state;
	assert_true(saved >= 0);
	assert_int_equal(pipe2(ends, O_DIRECT | O_CLOEXEC), 0);
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	log_warn("disk %d is %s", 3, "full\nerror: \033[2J");
	ssize_t n = read(ends[0], line, sizeof(line) - 1);

	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	assert_true(n > 0);
	assert_string_equal(line, "depotfs: warning: disk 3 is full?error: ?[2J\n");
}

static void the_last_error_is_remembered(void **state)
{
	char text[64];

	(void)state;
	log_detach_stderr();
	assert_int_equal(log_error_errno(-EIO, "cannot read %s", "thing"), -EIO);
	log_warn("something else");
	int64_t before_ns = clock_real_ns();

	assert_int_equal(log_error_errno(-EIO, "cannot read %s", "thing"), -EIO);
	assert_true(log_last_error(text, sizeof(text)) >= before_ns);
	assert_string_equal(text, "cannot read thing");
	assert_string_equal(log_strerror(-EBADMSG), "the data is corrupt");
	assert_string_equal(log_strerror(ENOENT), "No such file or directory");
}

static void the_nth_allocation_fails_and_only_that_one(void **state)
{
	(void)state;
	mem_fail_after(1);
	void *a = mem_alloc(1);
	void *b = mem_alloc(1);
	void *c = mem_alloc(1);

	mem_fail_after(-1);
	assert_non_null(a);
	assert_null(b);
	assert_non_null(c);
	free(a);
	free(c);
	assert_null(mem_resize(NULL, SIZE_MAX, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_buffer_holds_its_maximum_and_not_a_byte_more),
		cmocka_unit_test(a_buffer_keeps_what_it_has_when_memory_is_short),
		cmocka_unit_test(printing_into_a_buffer_appends_text),
		cmocka_unit_test(
			durable_write_replaces_whole_and_leaves_no_temporary_file),
		cmocka_unit_test(
			a_failed_durable_write_leaves_the_old_file_and_no_temporary_one),
		cmocka_unit_test(a_sweep_takes_what_killed_writers_left_and_nothing_else),
		cmocka_unit_test(reading_a_file_respects_the_buffers_maximum),
		cmocka_unit_test(an_exact_read_of_too_short_a_file_is_corrupt),
		cmocka_unit_test(directories_are_made_with_their_parents),
		cmocka_unit_test(numbers_are_read_whole_or_not_at_all),
		cmocka_unit_test(the_clock_stands_where_a_test_puts_it),
		cmocka_unit_test(times_are_written_and_read_back),
		cmocka_unit_test(a_frame_decodes_to_exactly_the_expected_size),
		cmocka_unit_test(digests_are_spelled_one_way),
		cmocka_unit_test(a_lock_dies_with_its_holder_and_names_it),
		cmocka_unit_test(a_log_line_is_written_in_one_piece),
		cmocka_unit_test(the_last_error_is_remembered),
		cmocka_unit_test(the_nth_allocation_fails_and_only_that_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
