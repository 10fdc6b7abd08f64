/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/state/state_scene.h"
#include "tests/cache/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/state/run_records.h"
#include "cache/state/schedule_records.h"
#include "cache/state/state_db.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define KILLS 25

static struct state_view view_of(uint64_t revision)
{
	struct state_view v = {
		.root = {.stored_bytes = revision * 10, .raw_bytes = revision * 100},
		.revision = revision,
		.sequence = revision + 7,
		.time_ns = (int64_t)revision * NS_PER_SEC};

	assert_int_equal(digest_of(&revision, sizeof(revision), &v.root.digest), 0);
	return v;
}

static void expect_view(uint64_t revision)
{
	struct state_view want = view_of(revision);
	struct state_view got;

	assert_int_equal(state_db_view_get(db, &got), 0);
	assert_memory_equal(&got, &want, sizeof(want));
}

static unsigned int count_set_aside(void)
{
	DIR *dir = opendir(scratch.path);
	unsigned int count = 0;

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));)
		count += strncmp(d->d_name, "state.db.damaged-", 17) == 0 &&
			 !strstr(d->d_name, "-wal");
	closedir(dir);
	return count;
}

static void the_view_is_there_after_a_restart(void **state)
{
	struct state_view v;

	(void)state;
	assert_int_equal(state_db_view_get(db, &v), -ENOENT);
	v = view_of(3);
	assert_int_equal(state_db_view_set(db, &v), 0);
	expect_view(3);
	v = view_of(4);
	assert_int_equal(state_db_view_set(db, &v), 0);
	state_scene_reopen();
	expect_view(4);
}

static void fill_changes(struct change_record *changes, size_t count, uint64_t salt)
{
	for (size_t i = 0; i < count; i++) {
		changes[i] = (struct change_record){.path = "some/package/file",
			.what = CHANGE_CHANGED,
			.before = {.is_set = true, .bytes = i},
			.after = {.is_set = true, .bytes = i + salt}};
		memcpy(changes[i].before.digest.bytes, &i, sizeof(i));
	}
}

static size_t count_changes(int64_t run)
{
	size_t count = 0;
	int64_t after = 0;

	for (;;) {
		struct change_list list;

		assert_int_equal(state_db_changes_list(db, run, after, 1000, &list), 0);
		size_t n = list.count;

		after = list.last;
		count += n;
		change_list_release(&list);
		if (n == 0)
			return count;
	}
}

static void a_flip_replaces_what_its_run_wrote_before(void **state)
{
	struct change_record changes[50];
	struct state_view v = view_of(1);

	(void)state;
	fill_changes(changes, 50, 0);
	assert_int_equal(state_db_flip(db, &v, 9, changes, 50), 0);
	assert_int_equal(count_changes(9), 50);
	v = view_of(2);
	assert_int_equal(state_db_flip(db, &v, 9, changes, 20), 0);
	assert_int_equal(count_changes(9), 20);
	assert_int_equal(count_changes(8), 0);
	expect_view(2);
}

/* Flips without end: revision n is run n's, and has 100 + n changes. */
static void flip_for_ever(int ready)
{
	static struct change_record changes[5000];
	struct state_db *own;
	struct state_view v;

	if (state_db_open(scratch.path, &own) < 0)
		_exit(1);
	uint64_t n = state_db_view_get(own, &v) < 0 ? 0 : v.revision;

	if (write(ready, "r", 1) != 1)
		_exit(1);
	for (;;) {
		n++;
		fill_changes(changes, 100 + n, n);
		v = view_of(n);
		if (state_db_flip(own, &v, (int64_t)n, changes, 100 + n) < 0)
			_exit(1);
	}
}

static void a_kill_leaves_the_old_view_or_the_new_one_with_all_its_changes(void **state)
{
	uint64_t last = 0;

	(void)state;
	for (unsigned int i = 0; i < KILLS; i++) {
		int ready[2];
		int status;
		char byte;

		state_db_close(db);
		assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
		pid_t pid = fork();

		if (pid == 0)
			flip_for_ever(ready[1]);
		close(ready[1]);
		assert_int_equal(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		(void)usleep(1000 + i * 1733 % 30000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));

		struct state_view v;

		assert_int_equal(state_db_open(scratch.path, &db), 0);
		int r = state_db_view_get(db, &v);

		if (r == -ENOENT) {
			assert_int_equal(last, 0);
			continue;
		}
		assert_int_equal(r, 0);
		assert_true(v.revision >= last);
		last = v.revision;
		expect_view(last);
		assert_int_equal(count_changes((int64_t)last), 100 + last);
		assert_int_equal(count_changes((int64_t)last + 1), 0);
	}
	assert_true(last > 0);
	assert_int_equal(count_set_aside(), 0);
}

static void damage(off_t from, size_t len)
{
	AUTO_FREE uint8_t *bytes = mem_alloc(len);
	int fd = openat(scratch.fd, "state.db", O_WRONLY | O_CLOEXEC);

	assert_non_null(bytes);
	assert_true(fd >= 0);
	memset(bytes, 0xa5, len);
	assert_int_equal(io_pwrite(fd, bytes, len, from), 0);
	assert_int_equal(close(fd), 0);
}

static void what_is_no_database_is_set_aside(void **state)
{
	struct state_view v = view_of(5);

	(void)state;
	assert_int_equal(state_db_view_set(db, &v), 0);
	state_db_close(db);
	damage(0, 4096);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	assert_int_equal(count_set_aside(), 1);
	assert_int_equal(state_db_view_get(db, &v), -ENOENT);
	v = view_of(6);
	assert_int_equal(state_db_view_set(db, &v), 0);
	state_scene_reopen();
	expect_view(6);
	assert_int_equal(count_set_aside(), 1);
}

static void unlink_in(const char *name)
{
	assert_true(unlinkat(scratch.fd, name, 0) == 0 || errno == ENOENT);
}

static void expect_job(const char *job)
{
	struct run_list list;

	assert_int_equal(state_db_runs_list(db, 0, 10, &list), 0);
	assert_int_equal((int)list.count, 1);
	assert_string_equal(list.items[0].job, job);
	run_list_release(&list);
}

static void a_file_that_is_removed_under_way_is_written_anew(void **state)
{
	const struct run_record run = {.job = "kept", .state = RUN_DONE};
	struct state_view v = view_of(5);
	struct state_view seen;
	char words[STATE_WORDS_SIZE];
	struct stat st;
	int64_t id;

	(void)state;
	assert_int_equal(state_db_view_set(db, &v), 0);
	assert_int_equal(state_db_run_add(db, &run, &id), 0);
	state_db_attend(db);
	state_db_words(db, words);
	assert_string_equal(words, "");
	/* its log alone may stay behind */
	for (int with_log = 0; with_log < 2; with_log++) {
		unlink_in("state.db");
		if (with_log)
			unlink_in("state.db-wal");
		state_db_attend(db);
		state_db_words(db, words);
		assert_non_null(strstr(words, "removed"));
		assert_int_equal(fstatat(scratch.fd, "state.db", &st, 0), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		expect_job("kept");
		state_scene_reopen();
		expect_job("kept");
		assert_int_equal(state_db_view_get(db, &seen), 0);
		assert_int_equal(seen.revision, 5);
	}
	/* nobody has looked since: the end does */
	unlink_in("state.db");
	state_scene_reopen();
	expect_job("kept");
}

static void a_file_that_takes_its_place_is_kept_beside_it(void **state)
{
	const struct run_record run = {.job = "ours", .state = RUN_DONE};
	char words[STATE_WORDS_SIZE];
	char name[STATE_WORDS_SIZE];
	int64_t id;

	(void)state;
	assert_int_equal(state_db_run_add(db, &run, &id), 0);
	scratch_write(&scratch, "other", "theirs", 6);
	assert_int_equal(renameat(scratch.fd, "other", scratch.fd, "state.db"), 0);
	state_db_attend(db);
	state_db_words(db, words);
	const char *kept = strstr(words, "state.db.replaced-");

	assert_non_null(kept);
	(void)snprintf(name, sizeof(name), "%s", kept);
	assert_true(scratch_has(&scratch, name));
	state_scene_reopen();
	expect_job("ours");
}

/* What the last daemon of version 1 left running may have stopped services. */
static void a_database_of_version_1_is_brought_up_to_date(void **state)
{
	const struct run_record killed = {.job = "killed", .state = RUN_RUNNING};
	const struct run_record waiting = {.job = "waiting", .state = RUN_QUEUED};
	struct run_list list;
	char path[96];
	sqlite3 *sql;
	int64_t id;

	(void)state;
	assert_int_equal(state_db_run_add(db, &killed, &id), 0);
	assert_int_equal(state_db_run_add(db, &waiting, &id), 0);
	state_db_close(db);
	(void)snprintf(path, sizeof(path), "%s/state.db", scratch.path);
	assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
	assert_int_equal(sqlite3_exec(sql,
				 "ALTER TABLE runs DROP COLUMN is_post_owed;"
				 "PRAGMA user_version = 1;",
				 NULL, NULL, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_close(sql), SQLITE_OK);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	assert_int_equal(state_db_runs_unfinished(db, &list), 0);
	assert_int_equal((int)list.count, 2);
	assert_true(list.items[0].is_post_owed);
	assert_false(list.items[1].is_post_owed);
	run_list_release(&list);
	state_scene_reopen();
	assert_int_equal(state_db_runs_unfinished(db, &list), 0);
	assert_int_equal((int)list.count, 2);
	run_list_release(&list);
}

static void a_database_of_a_later_version_is_set_aside(void **state)
{
	static const uint8_t version[] = {0, 0, 0, 200};

	(void)state;
	state_db_close(db);
	int fd = openat(scratch.fd, "state.db", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_pwrite(fd, version, sizeof(version), 60), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	assert_int_equal(count_set_aside(), 1);
}

/* All pages but the first, which names them. */
static void damage_found_under_way_costs_the_records_but_not_the_view(void **state)
{
	struct state_view v = view_of(5);
	struct run_list runs;
	struct stat st;

	(void)state;
	assert_int_equal(state_db_view_set(db, &v), 0);
	state_scene_reopen();
	expect_view(5);
	assert_int_equal(fstatat(scratch.fd, "state.db", &st, 0), 0);
	assert_true(st.st_size > 8192);
	damage(4096, (size_t)st.st_size - 4096);
	assert_int_equal(state_db_runs_list(db, 0, 10, &runs), -EIO);
	assert_int_equal(state_db_runs_list(db, 0, 10, &runs), 0);
	assert_int_equal(runs.count, 0);
	run_list_release(&runs);
	assert_int_equal(count_set_aside(), 1);
	expect_view(5);
	state_scene_reopen();
	expect_view(5);
}

static void a_view_whose_bits_flipped_is_none(void **state)
{
	struct state_view v = view_of(5);
	AUTO_BUFFER struct buffer file = BUFFER_INIT(1 << 20);

	(void)state;
	assert_int_equal(state_db_view_set(db, &v), 0);
	state_db_close(db);
	assert_int_equal(io_read_file(scratch.fd, "state.db", &file), 0);
	uint8_t *at = memmem(file.data, file.len, v.root.digest.bytes, DIGEST_SIZE);

	assert_non_null(at);
	at[20] ^= 4;
	scratch_write(&scratch, "state.db", file.data, file.len);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	assert_int_equal(state_db_view_get(db, &v), -ENOENT);
	v = view_of(6);
	assert_int_equal(state_db_view_set(db, &v), 0);
	expect_view(6);
}

/* In a child with mounts of its own: 0, 77 where that is not allowed, or a line number. */
static int on_small_disk(int (*run)(const char *dir))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
			mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			mount("depotfs-test", scratch.path, "tmpfs", 0, "size=256k") < 0)
			_exit(77);
		_exit(run(scratch.path));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define CHILD_EXPECT(x)                                                                  \
	do {                                                                             \
		if (!(x)) {                                                              \
			(void)fprintf(stderr, "line %d: %s\n", __LINE__, #x);            \
			return 1;                                                        \
		}                                                                        \
	} while (0)

static int fill_disk(const char *dir)
{
	static const char block[4096];
	char path[128];
	int n = 0;

	(void)snprintf(path, sizeof(path), "%s/filler", dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	while (write(fd, block, sizeof(block)) == sizeof(block))
		n++;
	close(fd);
	return n;
}

static void free_disk(const char *dir)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/filler", dir);
	(void)unlink(path);
}

static int fill_under_way(const char *dir)
{
	static struct change_record changes[3000];
	struct state_view v = view_of(1);
	struct state_view got;
	struct state_db *own;

	fill_changes(changes, 3000, 1);
	CHILD_EXPECT(state_db_open(dir, &own) == 0);
	CHILD_EXPECT(state_db_view_set(own, &v) == 0);
	CHILD_EXPECT(fill_disk(dir) > 0);
	v = view_of(2);
	CHILD_EXPECT(state_db_flip(own, &v, 1, changes, 3000) == -ENOSPC);
	CHILD_EXPECT(state_db_view_get(own, &got) == 0 && got.revision == 1);
	state_db_close(own);
	/* it starts while the disk is full, with what it knew */
	CHILD_EXPECT(state_db_open(dir, &own) == 0);
	CHILD_EXPECT(state_db_view_get(own, &got) == 0 && got.revision == 1);
	free_disk(dir);
	CHILD_EXPECT(state_db_view_set(own, &v) == 0);
	state_db_close(own);
	CHILD_EXPECT(state_db_open(dir, &own) == 0);
	CHILD_EXPECT(state_db_view_get(own, &got) == 0 && got.revision == 2);
	state_db_close(own);
	return 0;
}

static int open_on_full(const char *dir)
{
	struct state_view v = view_of(1);
	struct state_view got;
	struct state_db *own;

	CHILD_EXPECT(fill_disk(dir) > 0);
	CHILD_EXPECT(state_db_open(dir, &own) == 0);
	CHILD_EXPECT(state_db_view_set(own, &v) == 0);
	CHILD_EXPECT(state_db_view_get(own, &got) == 0 && got.revision == 1);
	state_db_close(own);
	return 0;
}

static int open_read_only(const char *dir)
{
	struct state_view v = view_of(1);
	struct state_view got;
	struct state_db *own;

	CHILD_EXPECT(mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	CHILD_EXPECT(state_db_open(dir, &own) == 0);
	CHILD_EXPECT(state_db_view_set(own, &v) == 0);
	CHILD_EXPECT(state_db_view_get(own, &got) == 0 && got.revision == 1);
	state_db_close(own);
	return 0;
}

/* With what it knew, as far as that is in the file itself. */
static int open_known_read_only(const char *dir)
{
	struct state_view v = view_of(7);
	struct state_view got;
	struct state_db *own;

	CHILD_EXPECT(state_db_open(dir, &own) == 0);
	CHILD_EXPECT(state_db_view_set(own, &v) == 0);
	state_db_close(own);
	CHILD_EXPECT(mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	CHILD_EXPECT(state_db_open(dir, &own) == 0);
	CHILD_EXPECT(state_db_view_get(own, &got) == 0 && got.revision == 7);
	CHILD_EXPECT(memcmp(&got.root, &v.root, sizeof(v.root)) == 0);
	v = view_of(8);
	CHILD_EXPECT(state_db_view_set(own, &v) == 0);
	state_db_close(own);
	/* what was set meanwhile was set in memory only */
	CHILD_EXPECT(mount(NULL, dir, NULL, MS_REMOUNT, NULL) == 0);
	CHILD_EXPECT(state_db_open(dir, &own) == 0);
	CHILD_EXPECT(state_db_view_get(own, &got) == 0 && got.revision == 7);
	state_db_close(own);
	return 0;
}

static void expect_on_small_disk(int (*run)(const char *dir))
{
	int status = on_small_disk(run);

	if (status == 77)
		skip(); /* no mounts allowed here */
	assert_int_equal(status, 0);
}

static void a_disk_that_fills_up_changes_nothing(void **state)
{
	(void)state;
	expect_on_small_disk(fill_under_way);
}

static void on_a_full_disk_the_records_are_kept_in_memory(void **state)
{
	(void)state;
	expect_on_small_disk(open_on_full);
}

static void on_a_read_only_disk_the_records_are_kept_in_memory(void **state)
{
	(void)state;
	expect_on_small_disk(open_read_only);
}

static void what_was_shown_is_known_on_a_disk_that_takes_nothing(void **state)
{
	(void)state;
	expect_on_small_disk(open_known_read_only);
}

/* No file of SQLite's has ever been a directory: it stands for all that the disk will not read. */
static void what_cannot_be_read_is_not_begun_anew(void **state)
{
	struct state_view got;
	struct state_db *own;
	char path[128];
	char away[128];

	(void)state;
	struct state_view v = view_of(3);

	assert_int_equal(state_db_view_set(db, &v), 0);
	state_db_close(db);
	db = NULL;
	(void)snprintf(path, sizeof(path), "%s/state.db", scratch.path);
	(void)snprintf(away, sizeof(away), "%s/away", scratch.path);
	assert_int_equal(rename(path, away), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/state.db/some file", scratch.path);
	scratch_write(&scratch, "state.db/some file", "x", 1);
	assert_int_equal(state_db_open(scratch.path, &own), -EIO);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/state.db", scratch.path);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rename(away, path), 0);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	assert_int_equal(state_db_view_get(db, &got), 0);
	assert_int_equal(got.revision, 3);
}

static void a_second_process_is_refused(void **state)
{
	struct state_db *own;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(state_db_open(scratch.path, &own) == -EBUSY ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(count_set_aside(), 0);
}

static void a_hundred_thousand_changes_are_written_in_no_time(void **state)
{
	const size_t count = 100000;
	AUTO_FREE struct change_record *changes = mem_calloc(count, sizeof(*changes));

	(void)state;
	assert_non_null(changes);
	fill_changes(changes, count, 1);
	int64_t start_ns = clock_mono_ns();

	assert_int_equal(state_db_changes_add(db, 1, changes, count), 0);
	int64_t took_ns = clock_mono_ns() - start_ns;

	print_message("100,000 changes: %lld ms\n", (long long)(took_ns / NS_PER_MS));
	/* far from what it takes, and farther from what a transaction each would */
	assert_true(took_ns < 60 * NS_PER_SEC);
	assert_int_equal(count_changes(1), count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_view_is_there_after_a_restart,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(a_flip_replaces_what_its_run_wrote_before,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			a_kill_leaves_the_old_view_or_the_new_one_with_all_its_changes,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(what_is_no_database_is_set_aside,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			a_database_of_a_later_version_is_set_aside, state_scene_make,
			state_scene_drop),
		cmocka_unit_test_setup_teardown(
			a_file_that_is_removed_under_way_is_written_anew,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			a_file_that_takes_its_place_is_kept_beside_it, state_scene_make,
			state_scene_drop),
		cmocka_unit_test_setup_teardown(
			a_database_of_version_1_is_brought_up_to_date, state_scene_make,
			state_scene_drop),
		cmocka_unit_test_setup_teardown(
			damage_found_under_way_costs_the_records_but_not_the_view,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(a_view_whose_bits_flipped_is_none,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(a_disk_that_fills_up_changes_nothing,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			on_a_full_disk_the_records_are_kept_in_memory, state_scene_make,
			state_scene_drop),
		cmocka_unit_test_setup_teardown(
			on_a_read_only_disk_the_records_are_kept_in_memory,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			what_was_shown_is_known_on_a_disk_that_takes_nothing,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_not_begun_anew,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			a_second_process_is_refused, state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			a_hundred_thousand_changes_are_written_in_no_time,
			state_scene_make, state_scene_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
