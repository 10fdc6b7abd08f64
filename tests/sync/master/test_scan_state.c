/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/walk/scan_state.h"
#include "tests/sync/master/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"
#include "sync/master/walk/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static struct scan_state *open_state(const struct bench *b, bool *out_is_new)
{
	struct scan_state *s;

	assert_int_equal(scan_state_open(b->dir, "11112222333344445555666677778888", &s,
				 out_is_new),
		0);
	return s;
}

static void a_package_is_found_again(void **state)
{
	(void)state;
	struct bench b;
	bool is_new;
	const struct known_package put = {.hash = UINT64_MAX - 5,
		.ref = {.digest = {{7, 8, 9}}, .stored_bytes = 100, .raw_bytes = 300},
		.tree_entries = 3,
		.tree_bytes = 12345};
	const uint64_t prints[] = {1, UINT64_MAX, 3};
	struct known_package got;
	uint64_t *got_prints;

	bench_begin(&b);
	struct scan_state *s = open_state(&b, &is_new);

	assert_true(is_new);
	assert_int_equal(scan_state_begin(s), 0);
	assert_int_equal(scan_state_put_package(s, "a/\xff", 3, &put, prints, 3), 0);
	assert_int_equal(scan_state_put_package(s, "old", 3, &put, prints, 3), 0);
	assert_int_equal(scan_state_commit(s), 0);
	scan_state_close(s);
	s = open_state(&b, &is_new);
	assert_false(is_new);
	assert_int_equal(scan_state_package(s, "a/\xff", 3, &got), 0);
	assert_true(got.hash == put.hash && got.ref.raw_bytes == 300 &&
		    got.tree_bytes == put.tree_bytes);
	assert_int_equal(
		scan_state_fingerprints(s, "a/\xff", 3, &put.ref.digest, 3, &got_prints),
		0);
	assert_memory_equal(got_prints, prints, sizeof(prints));
	free(got_prints);
	/* of another catalog they say nothing */
	const struct digest other = {{1}};

	assert_int_equal(
		scan_state_fingerprints(s, "a/\xff", 3, &other, 3, &got_prints), -ENOENT);
	assert_int_equal(scan_state_begin(s), 0);
	assert_int_equal(scan_state_keep_package(s, "a/\xff", 3), 0);
	assert_int_equal(scan_state_drop_others(s), 0);
	assert_int_equal(scan_state_commit(s), 0);
	assert_int_equal(scan_state_package(s, "old", 3, &got), -ENOENT);
	assert_int_equal(scan_state_package(s, "a/\xff", 3, &got), 0);
	scan_state_close(s);
	bench_end(&b);
}

static void what_was_not_committed_is_not_there(void **state)
{
	(void)state;
	struct bench b;
	bool is_new;
	AUTO_FREE char *value = NULL;

	bench_begin(&b);
	struct scan_state *s = open_state(&b, &is_new);

	assert_int_equal(scan_state_begin(s), 0);
	assert_int_equal(scan_state_put_setting(s, "revision", "7"), 0);
	scan_state_close(s);
	s = open_state(&b, &is_new);
	assert_int_equal(scan_state_setting(s, "revision", &value), -ENOENT);
	scan_state_close(s);
	bench_end(&b);
}

static void a_chunk_is_found_where_it_lies(void **state)
{
	(void)state;
	struct bench b;
	bool is_new;
	struct pack_ref pack = {.digest = {{5}}, .bytes = 4096};
	struct frame_ref frame = {
		.pack = &pack, .offset = 17, .stored_bytes = 70, .raw_bytes = 90};
	struct chunk_ref chunk = {
		.digest = {{0xff, 2, 3}}, .offset = 4, .length = 50, .frame = &frame};
	struct pack_ref found_pack = {0};
	struct frame_ref found_frame = {0};
	uint32_t offset;

	bench_begin(&b);
	struct scan_state *s = open_state(&b, &is_new);

	assert_false(scan_state_has_chunks(s));
	assert_int_equal(scan_state_put_chunk(s, &chunk), 0);
	assert_true(scan_state_has_chunks(s));
	assert_int_equal(scan_state_find_chunk(s, &chunk.digest, 50, &offset,
				 &found_frame, &found_pack),
		0);
	assert_int_equal(offset, 4);
	assert_int_equal(found_frame.offset, 17);
	assert_int_equal(found_frame.raw_bytes, 90);
	assert_int_equal(found_pack.bytes, 4096);
	assert_true(digest_equal(&found_pack.digest, &pack.digest));
	/* the same key, another digest */
	struct digest other = chunk.digest;

	other.bytes[31] = 1;
	assert_int_equal(
		scan_state_find_chunk(s, &other, 50, &offset, &found_frame, &found_pack),
		-ENOENT);
	scan_state_close(s);
	bench_end(&b);
}

static void a_damaged_state_is_started_afresh(void **state)
{
	(void)state;
	struct bench b;
	bool is_new;
	char path[128];

	bench_begin(&b);
	(void)snprintf(path, sizeof(path), "%s/state.db", b.dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(
		io_write(
			fd, "this is no database, and long enough to be seen as one", 54),
		0);
	close(fd);
	scan_state_close(open_state(&b, &is_new));
	assert_true(is_new);
	bench_end(&b);
}

static void a_racy_file_never_matches(void **state)
{
	(void)state;
	struct stat st = {
		.st_ino = 5, .st_mode = S_IFREG | 0644, .st_nlink = 1, .st_size = 9};
	int64_t changed_ns = INT64_C(1700000000) * NS_PER_SEC + 123456789;

	st.st_ctim.tv_sec = changed_ns / NS_PER_SEC;
	st.st_ctim.tv_nsec = changed_ns % NS_PER_SEC;
	st.st_mtim = st.st_ctim;
	assert_true(tree_fingerprint(&st, changed_ns + 5 * NS_PER_MS) == 0);
	assert_true(tree_fingerprint(&st, changed_ns - NS_PER_SEC) == 0);
	uint64_t later = tree_fingerprint(&st, changed_ns + 50 * NS_PER_MS);

	assert_true(later != 0);
	assert_true(later == tree_fingerprint(&st, changed_ns + NS_PER_SEC));
	/* without a sub-second part, a second is too short to tell */
	st.st_ctim.tv_nsec = 0;
	st.st_mtim.tv_nsec = 0;
	assert_true(tree_fingerprint(&st, changed_ns + NS_PER_SEC) == 0);
	assert_true(tree_fingerprint(&st, changed_ns + 3 * NS_PER_SEC) != 0);
}

static void every_attribute_shows_in_the_fingerprint(void **state)
{
	(void)state;
	struct stat st = {
		.st_ino = 5, .st_mode = S_IFREG | 0644, .st_nlink = 1, .st_size = 9};
	int64_t now_ns = NS_PER_SEC * 100;
	uint64_t plain = tree_fingerprint(&st, now_ns);
	struct stat other[8];

	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		other[i] = st;
	other[0].st_ino++;
	other[1].st_mode ^= S_ISUID;
	other[2].st_nlink++;
	other[3].st_size++;
	other[4].st_mtim.tv_nsec++;
	other[5].st_ctim.tv_nsec++;
	other[6].st_uid++;
	other[7].st_gid++;
	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		assert_true(tree_fingerprint(&other[i], now_ns) != plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_package_is_found_again),
		cmocka_unit_test(what_was_not_committed_is_not_there),
		cmocka_unit_test(a_chunk_is_found_where_it_lies),
		cmocka_unit_test(a_damaged_state_is_started_afresh),
		cmocka_unit_test(a_racy_file_never_matches),
		cmocka_unit_test(every_attribute_shows_in_the_fingerprint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
