/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/clock.h"
#include "cache/base/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/objects/checkpoint.h"
#include "cache/objects/object_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define YESTERDAY (clock_real_ns() - 24 * 3600 * NS_PER_SEC)

static const char text[] = "what an object holds";
#define TEXT_LEN (sizeof(text) - 1)

static struct scratch scratch;
static struct checkpoint *checkpoint;
static struct object_store *store;
static struct digest digest;
static char path[128]; /* of that object */
static const atomic_bool go_on;

static void open_all(void)
{
	assert_int_equal(checkpoint_open(scratch.fd, &checkpoint), 0);
	assert_int_equal(object_store_open(scratch.fd, checkpoint, &store), 0);
}

static void close_all(void)
{
	object_store_free(store);
	checkpoint_free(checkpoint);
}

static int make(void **state)
{
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	scratch_make(&scratch);
	/* an old cache whose record is lost: everything old is in doubt */
	assert_int_equal(mkdirat(scratch.fd, "objects", 0700), 0);
	open_all();
	assert_int_equal(digest_of(text, TEXT_LEN, &digest), 0);
	digest_to_hex(&digest, hex);
	(void)snprintf(path, sizeof(path), "objects/%.2s/%s", hex, hex);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	close_all();
	scratch_remove(&scratch);
	return 0;
}

static void expect_text(int fd)
{
	char out[64];

	assert_true(fd >= 0);
	assert_int_equal(io_pread(fd, out, sizeof(out), 0), TEXT_LEN);
	assert_memory_equal(out, text, TEXT_LEN);
	close(fd);
}

static int get(void)
{
	return object_store_get(store, &digest, TEXT_LEN);
}

static void what_was_put_is_got(void **state)
{
	int64_t landed_ns = 0;

	(void)state;
	assert_int_equal(get(), -ENOENT);
	assert_false(object_store_has(store, &digest, TEXT_LEN, NULL));
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	expect_text(get());
	assert_true(object_store_has(store, &digest, TEXT_LEN, &landed_ns));
	assert_true(landed_ns > YESTERDAY);
	assert_false(object_store_has(store, &digest, TEXT_LEN + 1, NULL));
	assert_true(object_store_used(store) == TEXT_LEN);
}

static void putting_twice_is_the_same_as_once(void **state)
{
	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	expect_text(get());
	assert_true(object_store_used(store) == TEXT_LEN);
	path[strlen("objects/xx")] = '\0';
	assert_int_equal(scratch_count(&scratch, path), 1);
}

static void an_object_of_the_wrong_size_is_removed(void **state)
{
	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	scratch_write(&scratch, path, text, TEXT_LEN - 1);
	assert_int_equal(get(), -ENOENT);
	assert_false(scratch_has(&scratch, path));
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	expect_text(get());
}

static void make_fanout(void)
{
	char dir[16];

	(void)snprintf(dir, sizeof(dir), "%.10s", path);
	assert_int_equal(mkdirat(scratch.fd, dir, 0700), 0);
}

static void looking_for_an_object_makes_nothing(void **state)
{
	(void)state;
	assert_int_equal(get(), -ENOENT);
	assert_int_equal(scratch_count(&scratch, "objects"), 0);
}

static void a_symlink_in_an_objects_place_is_not_followed(void **state)
{
	(void)state;
	make_fanout();
	scratch_write(&scratch, "elsewhere", text, TEXT_LEN);
	assert_int_equal(symlinkat("../../elsewhere", scratch.fd, path), 0);
	assert_true(get() < 0);
}

static void a_doubtful_object_is_verified_before_it_is_served(void **state)
{
	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	scratch_set_mtime(&scratch, path, YESTERDAY);
	/* no checkpoint was written: all that is old is in doubt */
	expect_text(get());
	struct stat st;

	/* and stamped, so that it is not verified again */
	assert_int_equal(fstatat(scratch.fd, path, &st, 0), 0);
	assert_false(checkpoint_is_doubtful(
		checkpoint, st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec));
}

static void a_doubtful_object_that_is_torn_is_removed(void **state)
{
	char torn[TEXT_LEN] = {0};

	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	scratch_write(&scratch, path, torn, TEXT_LEN);
	scratch_set_mtime(&scratch, path, YESTERDAY);
	assert_int_equal(get(), -ENOENT);
	assert_false(scratch_has(&scratch, path));
}

static void a_scan_counts_and_removes_what_a_landing_left(void **state)
{
	char left[64];

	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	scratch_set_mtime(&scratch, path, YESTERDAY);
	(void)snprintf(left, sizeof(left), "%.10s/tmp-12-1", path);
	scratch_write(&scratch, left, "half", 4);
	close_all();
	open_all();
	assert_true(object_store_used(store) == 0);
	object_store_scan(store, &go_on);
	assert_true(object_store_used(store) == TEXT_LEN);
	assert_false(scratch_has(&scratch, left));
	expect_text(get());
	/* settled: a checkpoint may be written now */
	assert_int_equal(checkpoint_write(checkpoint, false), 0);
	assert_true(scratch_has(&scratch, "checkpoint"));
}

static void a_scan_removes_torn_objects_that_are_in_doubt(void **state)
{
	char torn[TEXT_LEN] = {0};

	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	scratch_write(&scratch, path, torn, TEXT_LEN);
	scratch_set_mtime(&scratch, path, YESTERDAY);
	close_all();
	open_all();
	object_store_scan(store, &go_on);
	assert_false(scratch_has(&scratch, path));
	assert_true(object_store_used(store) == 0);
}

static void a_scan_that_could_not_verify_everything_settles_nothing(void **state)
{
	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	scratch_set_mtime(&scratch, path, YESTERDAY);
	close_all();
	open_all();
	mem_fail_after(0);
	object_store_scan(store, &go_on);
	mem_fail_after(-1);
	assert_true(scratch_has(&scratch, path));
	assert_true(checkpoint_is_doubtful(checkpoint, YESTERDAY));
	object_store_scan(store, &go_on);
	assert_false(checkpoint_is_doubtful(checkpoint, YESTERDAY));
}

static void a_scan_told_to_stop_settles_nothing(void **state)
{
	static const atomic_bool stop = true;

	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	scratch_set_mtime(&scratch, path, YESTERDAY);
	object_store_scan(store, &stop);
	assert_true(checkpoint_is_doubtful(checkpoint, YESTERDAY));
}

static void a_complete_file_is_adopted(void **state)
{
	(void)state;
	scratch_write(&scratch, "grown", text, TEXT_LEN);
	assert_int_equal(
		object_store_adopt(store, &digest, TEXT_LEN, scratch.fd, "grown"), 0);
	assert_false(scratch_has(&scratch, "grown"));
	expect_text(get());
	assert_true(object_store_used(store) == TEXT_LEN);
	assert_int_equal(
		object_store_adopt(store, &digest, TEXT_LEN, scratch.fd, "grown"),
		-ENOENT);
}

static void a_put_that_fails_leaves_nothing_behind(void **state)
{
	(void)state;
	make_fanout();
	char dir[16];

	(void)snprintf(dir, sizeof(dir), "%.10s", path);
	/* a directory in the object's place: everything works but the rename */
	assert_int_equal(mkdirat(scratch.fd, path, 0700), 0);
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	assert_int_equal(unlinkat(scratch.fd, path, AT_REMOVEDIR), 0);
	assert_int_equal(scratch_count(&scratch, dir), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(what_was_put_is_got),
		T(putting_twice_is_the_same_as_once),
		T(an_object_of_the_wrong_size_is_removed),
		T(looking_for_an_object_makes_nothing),
		T(a_symlink_in_an_objects_place_is_not_followed),
		T(a_doubtful_object_is_verified_before_it_is_served),
		T(a_doubtful_object_that_is_torn_is_removed),
		T(a_scan_counts_and_removes_what_a_landing_left),
		T(a_scan_removes_torn_objects_that_are_in_doubt),
		T(a_scan_that_could_not_verify_everything_settles_nothing),
		T(a_scan_told_to_stop_settles_nothing),
		T(a_complete_file_is_adopted),
		T(a_put_that_fails_leaves_nothing_behind),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
