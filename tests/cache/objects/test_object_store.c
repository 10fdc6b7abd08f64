/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/objects/checkpoint.h"
#include "cache/objects/object_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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

static uint64_t used(void)
{
	return usage_total(object_store_usage(store));
}

static uint64_t disk_bytes(const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(scratch.fd, name, &st, 0), 0);
	return (uint64_t)st.st_blocks * 512;
}

static int get(void)
{
	return object_store_get(store, &digest, TEXT_LEN);
}

static void what_was_put_is_got(void **state)
{
	struct object_times times = {0};

	(void)state;
	assert_int_equal(get(), -ENOENT);
	assert_false(object_store_has(store, &digest, TEXT_LEN, NULL));
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	expect_text(get());
	assert_true(object_store_has(store, &digest, TEXT_LEN, &times));
	assert_true(times.landed_ns > YESTERDAY);
	assert_true(times.accessed_ns > YESTERDAY);
	assert_false(object_store_has(store, &digest, TEXT_LEN + 1, NULL));
	assert_true(used() == disk_bytes(path));
}

static void putting_twice_is_the_same_as_once(void **state)
{
	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	expect_text(get());
	assert_true(used() == disk_bytes(path));
	assert_true(used() > 0);
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

/* As a kill leaves it: with its name, cut short. */
static void what_an_interrupted_landing_left_gives_way(void **state)
{
	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	scratch_write(&scratch, path, text, TEXT_LEN - 1);
	assert_false(object_store_has(store, &digest, TEXT_LEN, NULL));
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	expect_text(get());
	assert_true(used() == disk_bytes(path));
}

struct landers {
	atomic_bool stop;
	atomic_uint wrong;
};

/* Who looks while it is being written takes it for missing, never for damaged. */
static void *get_again_and_again(void *arg)
{
	struct landers *l = arg;

	while (!atomic_load(&l->stop)) {
		int fd = get();

		if (fd >= 0)
			close(fd);
		else if (fd != -ENOENT)
			atomic_fetch_add(&l->wrong, 1);
	}
	return NULL;
}

static void nobody_takes_away_what_is_just_being_written(void **state)
{
	struct landers landers = {.stop = false};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, get_again_and_again, &landers), 0);
	for (int i = 0; i < 3000; i++) {
		(void)unlinkat(scratch.fd, path, 0);
		assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
		if (!scratch_has(&scratch, path))
			atomic_fetch_add(&landers.wrong, 1);
	}
	atomic_store(&landers.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(landers.wrong, 0);
}

static void a_scan_counts_what_is_here(void **state)
{
	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	scratch_set_mtime(&scratch, path, YESTERDAY);
	close_all();
	open_all();
	assert_true(used() == 0);
	object_store_scan(store, &go_on);
	assert_true(used() == disk_bytes(path));
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
	assert_true(used() == 0);
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
	assert_int_equal(object_store_adopt(store, &digest, scratch.fd, "grown"), 0);
	assert_false(scratch_has(&scratch, "grown"));
	expect_text(get());
	assert_true(used() == disk_bytes(path));
	assert_int_equal(
		object_store_adopt(store, &digest, scratch.fd, "grown"), -ENOENT);
}

static void what_is_counted_twice_stays_counted_once(void **state)
{
	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	for (int i = 0; i < 3; i++) {
		object_store_scan(store, &go_on);
		assert_true(used() == disk_bytes(path));
	}
	/* one that a crash left in doubt, and a reader verified before the scan came by */
	close_all();
	scratch_set_mtime(&scratch, path, YESTERDAY);
	open_all();
	expect_text(get());
	object_store_scan(store, &go_on);
	assert_true(used() == disk_bytes(path));
	scratch_write(&scratch, "grown", text, TEXT_LEN);
	assert_int_equal(object_store_adopt(store, &digest, scratch.fd, "grown"), 0);
	assert_false(scratch_has(&scratch, "grown"));
	assert_true(used() == disk_bytes(path));
	/* removed behind our back: the next count knows */
	assert_int_equal(unlinkat(scratch.fd, path, 0), 0);
	object_store_scan(store, &go_on);
	assert_true(used() == 0);
}

static void a_removed_object_stays_with_those_who_have_it(void **state)
{
	uint64_t bytes = 0;

	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	int fd = get();
	uint64_t took = disk_bytes(path);

	assert_int_equal(object_store_remove(store, &digest, &bytes), 0);
	assert_true(bytes == took);
	assert_true(used() == 0);
	assert_int_equal(get(), -ENOENT);
	expect_text(fd);
	assert_int_equal(object_store_remove(store, &digest, NULL), -ENOENT);
	assert_true(used() == 0);
}

static void beyond_the_limit_nothing_lands(void **state)
{
	(void)state;
	struct usage *usage = object_store_usage(store);

	atomic_store(&usage->limit_bytes, TEXT_LEN - 1);
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), -ENOSPC);
	assert_int_equal(get(), -ENOENT);
	atomic_store(&usage->limit_bytes, TEXT_LEN);
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	atomic_store(&usage->limit_bytes, 0);
	atomic_store(&usage->is_closed, true);
	assert_int_equal(object_store_remove(store, &digest, NULL), 0);
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), -ENOSPC);
}

static struct object_times times_of_text(void)
{
	struct object_times times;

	assert_true(object_store_has(store, &digest, TEXT_LEN, &times));
	return times;
}

static void set_times(int64_t atime_ns, int64_t mtime_ns)
{
	struct timespec t[2] = {
		{.tv_sec = atime_ns / NS_PER_SEC}, {.tv_sec = mtime_ns / NS_PER_SEC}};

	assert_int_equal(utimensat(scratch.fd, path, t, 0), 0);
}

static void a_use_is_written_down_and_landing_stays(void **state)
{
	struct stat before;
	struct stat after;

	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	object_store_scan(store, &go_on); /* nothing is in doubt from now on */
	set_times(YESTERDAY, YESTERDAY);
	assert_int_equal(fstatat(scratch.fd, path, &before, 0), 0);
	close(get());
	assert_true(times_of_text().accessed_ns < clock_real_ns() - NS_PER_SEC);
	object_store_write_accesses(store);
	assert_true(times_of_text().accessed_ns > clock_real_ns() - 60 * NS_PER_SEC);
	assert_int_equal(fstatat(scratch.fd, path, &after, 0), 0);
	assert_true(before.st_mtim.tv_sec == after.st_mtim.tv_sec);
}

static void a_use_within_the_hour_costs_nothing(void **state)
{
	int64_t lately = clock_real_ns() - 1800 * NS_PER_SEC;

	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	object_store_scan(store, &go_on);
	set_times(lately, YESTERDAY);
	close(get());
	object_store_write_accesses(store);
	assert_true(times_of_text().accessed_ns <= lately);
}

static void verifying_is_no_use(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), 0);
	object_store_scan(store, &go_on);
	set_times(YESTERDAY, YESTERDAY - 60 * NS_PER_SEC);
	assert_int_equal(object_store_verify(store, &digest, &go_on), 0);
	object_store_write_accesses(store);
	assert_int_equal(fstatat(scratch.fd, path, &st, 0), 0);
	assert_true(st.st_atim.tv_sec <= YESTERDAY / NS_PER_SEC);
	scratch_write(&scratch, path, "what an object HOLDS", TEXT_LEN);
	assert_int_equal(object_store_verify(store, &digest, &go_on), -EBADMSG);
	assert_false(scratch_has(&scratch, path));
	assert_int_equal(object_store_verify(store, &digest, &go_on), -ENOENT);
}

#define CROWD 3000

static atomic_bool is_landing;

/* Lands and removes as fast as it can. */
static void *land_many(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < CROWD; i++) {
		struct digest d;

		if (digest_of(&i, sizeof(i), &d) < 0 ||
			object_store_put(store, &d, &i, sizeof(i)) < 0 ||
			(i % 3 == 0 && object_store_remove(store, &d, NULL) < 0))
			break;
	}
	atomic_store(&is_landing, false);
	return NULL;
}

static int add_bytes(void *arg, const struct object_info *object)
{
	*(uint64_t *)arg += object->disk_bytes;
	return 0;
}

static void counting_while_others_land_is_exact(void **state)
{
	uint64_t bytes = 0;
	pthread_t thread;

	(void)state;
	atomic_store(&is_landing, true);
	assert_int_equal(pthread_create(&thread, NULL, land_many, NULL), 0);
	while (atomic_load(&is_landing))
		object_store_scan(store, &go_on);
	assert_int_equal(pthread_join(thread, NULL), 0);
	uint64_t before = used();

	assert_int_equal(object_store_list(store, &go_on, add_bytes, &bytes), 0);
	assert_true(bytes > 0);
	assert_true(before == bytes);
	assert_true(used() == bytes);
}

static void a_put_that_fails_leaves_nothing_behind(void **state)
{
	(void)state;
	make_fanout();
	char dir[16];

	(void)snprintf(dir, sizeof(dir), "%.10s", path);
	limit_file_bytes(4);
	assert_int_equal(object_store_put(store, &digest, text, TEXT_LEN), -EFBIG);
	limit_file_bytes(RLIM_INFINITY);
	assert_int_equal(scratch_count(&scratch, dir), 0);
	assert_true(used() == 0);
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
		T(what_an_interrupted_landing_left_gives_way),
		T(nobody_takes_away_what_is_just_being_written),
		T(a_scan_counts_what_is_here),
		T(a_scan_removes_torn_objects_that_are_in_doubt),
		T(a_scan_that_could_not_verify_everything_settles_nothing),
		T(a_scan_told_to_stop_settles_nothing),
		T(a_complete_file_is_adopted),
		T(what_is_counted_twice_stays_counted_once),
		T(a_removed_object_stays_with_those_who_have_it),
		T(beyond_the_limit_nothing_lands),
		T(a_use_is_written_down_and_landing_stays),
		T(a_use_within_the_hour_costs_nothing),
		T(verifying_is_no_use),
		T(counting_while_others_land_is_exact),
		T(a_put_that_fails_leaves_nothing_behind),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
