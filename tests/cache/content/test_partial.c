/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/content/partial.h"
#include "tests/support/catalog_builder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK	  1000
#define SIZE	  4500
#define PIECES	  5
#define YESTERDAY (clock_real_ns() - 24 * 3600 * NS_PER_SEC)

static struct scratch scratch;
static struct checkpoint *checkpoint;
static uint8_t data[SIZE];
static struct catalog *catalog;
static const struct catalog_content *content;
static char name[DIGEST_HEX_SIZE];

static struct catalog *cut(uint32_t chunk_bytes)
{
	struct catalog_builder *b = builder_new("");

	builder_file(b, BUILDER_TOP, "f", data, SIZE, chunk_bytes);
	struct built_catalog *built = builder_finish(b);
	struct catalog *c = built_open(built);

	built_free(built);
	return c;
}

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	/* an old cache whose record is lost: everything old is in doubt */
	assert_int_equal(mkdirat(scratch.fd, "objects", 0700), 0);
	assert_int_equal(checkpoint_open(scratch.fd, &checkpoint), 0);
	built_fill(data, SIZE, 3);
	catalog = cut(CHUNK);
	content = &catalog->contents[0];
	digest_to_hex(&content->digest, name);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	catalog_close(catalog);
	checkpoint_free(checkpoint);
	scratch_remove(&scratch);
	return 0;
}

static int open_as(enum partial_mode mode, struct partial **out)
{
	return partial_open(scratch.fd, checkpoint, catalog, content, mode, out);
}

static void land(struct partial *p, uint32_t piece)
{
	uint32_t at = piece * CHUNK;
	uint32_t len = SIZE - at < CHUNK ? SIZE - at : CHUNK;

	assert_int_equal(partial_land(p, piece, at, data + at, len, NULL), 0);
}

static void expect_bytes(int fd, size_t at, size_t len)
{
	uint8_t out[SIZE];

	assert_int_equal(io_pread_exact(fd, out, len, (off_t)at), 0);
	assert_memory_equal(out, data + at, len);
}

static void it_is_begun_only_when_asked_to(void **state)
{
	struct partial *p;

	(void)state;
	assert_int_equal(open_as(PARTIAL_PROBE, &p), -ENOENT);
	assert_false(scratch_has(&scratch, name));
	assert_int_equal(open_as(PARTIAL_CREATE, &p), 0);
	assert_int_equal(partial_count(p), 0);
	partial_free(p);
}

static void landed_pieces_are_resumed(void **state)
{
	struct partial *p;

	(void)state;
	assert_int_equal(open_as(PARTIAL_CREATE, &p), 0);
	land(p, 1);
	land(p, 4);
	land(p, 4);
	assert_int_equal(partial_count(p), 2);
	partial_free(p);
	assert_int_equal(open_as(PARTIAL_PROBE, &p), 0);
	assert_int_equal(partial_count(p), 2);
	for (uint32_t i = 0; i < PIECES; i++)
		assert_int_equal(partial_has(p, i), i == 1 || i == 4);
	expect_bytes(partial_fd(p), CHUNK, CHUNK);
	expect_bytes(partial_fd(p), (size_t)4 * CHUNK, SIZE - 4 * CHUNK);
	assert_false(partial_is_complete(p));
	partial_free(p);
}

static void one_of_another_layout_is_replaced_and_counted_out(void **state)
{
	struct catalog *other = cut(CHUNK / 2);
	struct partial *p;

	(void)state;
	assert_int_equal(open_as(PARTIAL_CREATE, &p), 0);
	for (uint32_t i = 0; i + 1 < PIECES; i++)
		land(p, i);
	int64_t before = partial_grown(p);

	partial_free(p);
	assert_int_equal(partial_open(scratch.fd, checkpoint, other, &other->contents[0],
				 PARTIAL_PROBE, &p),
		-ENOENT);
	assert_true(scratch_has(&scratch, name));
	assert_int_equal(partial_open(scratch.fd, checkpoint, other, &other->contents[0],
				 PARTIAL_CREATE, &p),
		0);
	assert_int_equal(partial_count(p), 0);
	int64_t grown = partial_grown(p);

	assert_true(grown < 0);
	assert_int_equal(before + grown, partial_disk_bytes(p));
	partial_free(p);
	catalog_close(other);
}

static void one_that_was_removed_grows_no_more(void **state)
{
	struct partial *p;

	(void)state;
	assert_int_equal(open_as(PARTIAL_CREATE, &p), 0);
	(void)partial_grown(p);
	assert_int_equal(unlinkat(scratch.fd, name, 0), 0);
	land(p, 0);
	assert_int_equal(partial_grown(p), 0);
	partial_free(p);
}

static void one_that_is_no_partial_is_replaced(void **state)
{
	struct partial *p;

	(void)state;
	scratch_write(&scratch, name, data, SIZE);
	assert_int_equal(open_as(PARTIAL_CREATE, &p), 0);
	assert_int_equal(partial_count(p), 0);
	for (uint32_t i = 0; i < PIECES; i++)
		assert_false(partial_has(p, i));
	partial_free(p);
}

static void one_in_doubt_is_replaced(void **state)
{
	struct partial *p;

	(void)state;
	assert_int_equal(open_as(PARTIAL_CREATE, &p), 0);
	land(p, 0);
	partial_free(p);
	scratch_set_mtime(&scratch, name, YESTERDAY);
	assert_int_equal(open_as(PARTIAL_PROBE, &p), -ENOENT);
	assert_int_equal(open_as(PARTIAL_CREATE, &p), 0);
	assert_int_equal(partial_count(p), 0);
	partial_free(p);
}

static void a_probe_changes_nothing(void **state)
{
	struct catalog *other = cut(CHUNK / 2);
	struct partial *p;

	(void)state;
	assert_int_equal(open_as(PARTIAL_CREATE, &p), 0);
	land(p, 2);
	partial_free(p);
	assert_int_equal(open_as(PARTIAL_PROBE, &p), 0);
	assert_int_equal(partial_count(p), 1);
	partial_free(p);
	assert_int_equal(partial_open(scratch.fd, checkpoint, other, &other->contents[0],
				 PARTIAL_PROBE, &p),
		-ENOENT);
	assert_true(scratch_has(&scratch, name));
	scratch_set_mtime(&scratch, name, YESTERDAY);
	assert_int_equal(open_as(PARTIAL_PROBE, &p), -ENOENT);
	assert_true(scratch_has(&scratch, name));
	catalog_close(other);
}

static void a_complete_one_becomes_an_object(void **state)
{
	struct object_store *store;
	struct partial *p;
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(object_store_open(scratch.fd, checkpoint, &store), 0);
	assert_int_equal(open_as(PARTIAL_CREATE, &p), 0);
	for (uint32_t i = PIECES; i-- > 0;)
		land(p, i);
	assert_true(partial_is_complete(p));
	assert_int_equal(partial_finish(p, store, &fd), 0);
	partial_free(p);
	assert_false(scratch_has(&scratch, name));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	expect_bytes(fd, 0, SIZE);
	close(fd);
	fd = object_store_get(store, &content->digest, SIZE);
	assert_true(fd >= 0);
	expect_bytes(fd, 0, SIZE);
	close(fd);
	object_store_free(store);
}

static void without_memory_it_fails_and_leaks_nothing(void **state)
{
	struct partial *p;
	unsigned int before = open_descriptors();

	(void)state;
	mem_fail_after(0);
	assert_int_equal(open_as(PARTIAL_CREATE, &p), -ENOMEM);
	mem_fail_after(-1);
	assert_int_equal(open_descriptors(), before);
	partial_free(NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(it_is_begun_only_when_asked_to),
		T(landed_pieces_are_resumed),
		T(one_of_another_layout_is_replaced_and_counted_out),
		T(one_that_was_removed_grows_no_more),
		T(one_that_is_no_partial_is_replaced),
		T(one_in_doubt_is_replaced),
		T(a_probe_changes_nothing),
		T(a_complete_one_becomes_an_object),
		T(without_memory_it_fails_and_leaks_nothing),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
