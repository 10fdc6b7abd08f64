/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/ingest/pack_writer.h"
#include "tests/sync/master/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

static int open_tmp(const struct bench *b)
{
	int fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void a_pack_is_its_frames_and_named_by_its_digest(void **state)
{
	(void)state;
	struct bench b;
	struct arena arena CLEANUP(arena_release) = {0};
	struct buffer file AUTO_BUFFER = BUFFER_INIT(1024);
	struct frame_ref frames[2] = {0};
	struct pack_writer *w;
	struct digest digest;
	char name[PACK_TMP_NAME_SIZE];
	size_t count;

	bench_begin(&b);
	int tmp = open_tmp(&b);

	assert_int_equal(pack_writer_new(tmp, &arena, &w), 0);
	assert_int_equal(pack_writer_append(w, &frames[0], "hello ", 6), 0);
	assert_int_equal(pack_writer_append(w, &frames[1], "world", 5), 0);
	assert_int_equal(pack_writer_cut(w), 0);
	const struct finished_pack *packs = pack_writer_finished(w, &count);

	assert_int_equal(count, 1);
	assert_ptr_equal(frames[0].pack, packs[0].pack);
	assert_int_equal(frames[1].offset, 6);
	assert_int_equal(packs[0].pack->bytes, 11);
	assert_int_equal(digest_of("hello world", 11, &digest), 0);
	assert_true(digest_equal(&digest, &packs[0].pack->digest));
	pack_tmp_name(packs[0].number, name);
	assert_int_equal(io_read_file(tmp, name, &file), 0);
	assert_int_equal(file.len, 11);
	assert_memory_equal(file.data, "hello world", 11);
	pack_writer_free(w);
	close(tmp);
	bench_end(&b);
}

static void a_full_pack_is_followed_by_another(void **state)
{
	(void)state;
	struct bench b;
	struct arena arena CLEANUP(arena_release) = {0};
	AUTO_FREE void *data = mem_calloc(1, FRAME_MAX_BYTES);
	struct pack_writer *w;
	struct frame_ref frame = {0};
	size_t count;

	bench_begin(&b);
	int tmp = open_tmp(&b);

	assert_int_equal(pack_writer_new(tmp, &arena, &w), 0);
	for (size_t i = 0; i <= PACK_TARGET_BYTES / FRAME_MAX_BYTES; i++)
		assert_int_equal(pack_writer_append(w, &frame, data, FRAME_MAX_BYTES), 0);
	assert_int_equal(frame.offset, 0);
	assert_int_equal(pack_writer_cut(w), 0);
	const struct finished_pack *packs = pack_writer_finished(w, &count);

	assert_int_equal(count, 2);
	assert_int_equal(packs[0].pack->bytes, PACK_TARGET_BYTES);
	assert_int_equal(packs[1].pack->bytes, FRAME_MAX_BYTES);
	pack_writer_free(w);
	close(tmp);
	bench_end(&b);
}

static void cutting_nothing_makes_no_pack(void **state)
{
	(void)state;
	struct bench b;
	struct arena arena CLEANUP(arena_release) = {0};
	struct pack_writer *w;
	size_t count;

	bench_begin(&b);
	int tmp = open_tmp(&b);

	assert_int_equal(pack_writer_new(tmp, &arena, &w), 0);
	assert_int_equal(pack_writer_cut(w), 0);
	(void)pack_writer_finished(w, &count);
	assert_int_equal(count, 0);
	pack_writer_free(w);
	close(tmp);
	bench_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pack_is_its_frames_and_named_by_its_digest),
		cmocka_unit_test(a_full_pack_is_followed_by_another),
		cmocka_unit_test(cutting_nothing_makes_no_pack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
