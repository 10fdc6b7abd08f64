/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/walk/tree_walk.h"
#include "tests/sync/master/support.h"

#include "cache/base/data/buffer.h"
#include "cache/base/disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define DEEP_LEVELS 60 /* of 200-byte names: three times PATH_MAX */

static void children_are_sorted_by_bytes(void **state)
{
	(void)state;
	struct bench b;
	struct tree tree = {.fd = -1};
	static const char *const names[] = {
		"B", "a", "a-", "a.b", "aa", "\xc3\xa9", "\xff\n\""};

	bench_begin(&b);
	for (size_t i = ARRAY_SIZE(names); i-- > 0;)
		bench_write(&b, names[i], "x", 1);
	assert_int_equal(tree_walk(b.tree, NULL, 2, &tree), 0);
	assert_int_equal(tree.root.dir->count, ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct tree_entry *e = &tree.root.dir->entries[i];

		assert_int_equal(e->name_length, strlen(names[i]));
		assert_memory_equal(e->name, names[i], e->name_length);
	}
	tree_release(&tree);
	bench_end(&b);
}

static void remove_deep(int top, const char *name)
{
	int dirs[DEEP_LEVELS + 1] = {top};

	for (size_t i = 0; i < DEEP_LEVELS; i++)
		dirs[i + 1] = openat(dirs[i], name, O_RDONLY | O_DIRECTORY);
	assert_int_equal(unlinkat(dirs[DEEP_LEVELS], "file", 0), 0);
	for (size_t i = DEEP_LEVELS; i-- > 0;) {
		close(dirs[i + 1]);
		assert_int_equal(unlinkat(dirs[i], name, AT_REMOVEDIR), 0);
	}
}

static void paths_beyond_path_max_are_read(void **state)
{
	(void)state;
	struct bench b;
	struct tree tree = {.fd = -1};
	struct buffer path AUTO_BUFFER = BUFFER_INIT(1024 * 1024);
	struct publish_report report;
	char name[201];

	bench_begin(&b);
	memset(name, 'd', 200);
	name[200] = '\0';
	int top = open(b.tree, O_RDONLY | O_DIRECTORY);
	int at = dup(top);

	for (size_t i = 0; i < DEEP_LEVELS; i++) {
		assert_int_equal(mkdirat(at, name, 0755), 0);
		int next = openat(at, name, O_RDONLY | O_DIRECTORY);

		close(at);
		at = next;
	}
	int fd = openat(at, "file", O_WRONLY | O_CREAT, 0644);

	assert_int_equal(io_write(fd, "deep", 4), 0);
	close(fd);
	close(at);
	assert_int_equal(tree_walk(b.tree, NULL, 2, &tree), 0);
	assert_int_equal(tree.entry_count, DEEP_LEVELS + 2);
	const struct tree_dir *last = tree.dirs[tree.dir_count - 1];

	assert_int_equal(tree_path(last, &last->entries[0], &path), 0);
	assert_int_equal(path.len, DEEP_LEVELS * 201 + 4);
	assert_memory_equal(path.data + path.len - 6, "d/file", 6);
	tree_release(&tree);
	bench_publish(&b, &report);
	assert_int_equal(report.files_read, 1);
	assert_int_equal(bench_faults(&b), 0);
	remove_deep(top, name);
	close(top);
	bench_end(&b);
}

static void sockets_are_left_out_and_fifos_are_not(void **state)
{
	(void)state;
	struct bench b;
	struct tree tree = {.fd = -1};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[256];

	bench_begin(&b);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", b.tree);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof(address)), 0);
	close(s);
	(void)snprintf(path, sizeof(path), "%s/fifo", b.tree);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(tree_walk(b.tree, NULL, 1, &tree), 0);
	assert_int_equal(tree.root.dir->count, 1);
	assert_true(S_ISFIFO(tree.root.dir->entries[0].mode));
	assert_int_equal(tree.skipped_sockets, 1);
	tree_release(&tree);
	bench_end(&b);
}

static void the_forbidden_directory_is_noticed_below(void **state)
{
	(void)state;
	struct bench b;
	struct tree tree = {.fd = -1};
	struct stat st;

	bench_begin(&b);
	assert_int_equal(stat(b.depot, &st), 0);
	assert_int_equal(tree_walk(b.dir, &st, 2, &tree), -EDEADLK);
	assert_int_equal(tree_walk(b.tree, &st, 2, &tree), 0);
	tree_release(&tree);
	bench_end(&b);
}

static void a_missing_tree_is_an_error(void **state)
{
	(void)state;
	struct tree tree = {.fd = -1};

	assert_int_equal(tree_walk("/nonexistent/depotfs", NULL, 2, &tree), -ENOENT);
}

static void many_directories_are_all_found(void **state)
{
	(void)state;
	struct bench b;
	struct tree tree = {.fd = -1};

	bench_begin(&b);
	for (int i = 0; i < 400; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "d%d/e%d/f%d", i % 20, i % 7, i);
		bench_write(&b, name, "", 0);
	}
	assert_int_equal(tree_walk(b.tree, NULL, 4, &tree), 0);
	assert_int_equal(tree.dir_count, 1 + 20 + 140);
	assert_int_equal(tree.entry_count, 1 + 20 + 140 + 400);
	/* parents before children */
	for (size_t i = 1; i < tree.dir_count; i++) {
		bool is_before = false;

		for (size_t k = 0; k < i; k++)
			is_before |= tree.dirs[k] == tree.dirs[i]->parent;
		assert_true(is_before);
	}
	tree_release(&tree);
	bench_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(children_are_sorted_by_bytes),
		cmocka_unit_test(paths_beyond_path_max_are_read),
		cmocka_unit_test(sockets_are_left_out_and_fifos_are_not),
		cmocka_unit_test(the_forbidden_directory_is_noticed_below),
		cmocka_unit_test(a_missing_tree_is_an_error),
		cmocka_unit_test(many_directories_are_all_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
