/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/ingest/entry_reader.h"
#include "sync/master/walk/links.h"
#include "sync/master/walk/tree_walk.h"
#include "tests/sync/master/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define TORN_BYTES  (3 * 1024 * 1024) /* more than is read at once */
#define TORN_ROUNDS 20

/* A reader on its own; what it reads goes nowhere. */
struct bare {
	struct bench bench;
	struct tree tree;
	struct entry_reader *reader;
	struct chunk_ref chunk;
	int fd; /* written to once, while it is read; -1: not */
	const uint8_t *change;
};

static int take_chunk(void *context, const struct digest *digest, const uint8_t *data,
	size_t len, struct chunk_ref **out)
{
	struct bare *t = context;

	(void)digest;
	(void)data;
	(void)len;
	if (t->fd >= 0) {
		/* before and behind what was read already */
		(void)!pwrite(t->fd, t->change, TORN_BYTES, 0);
		close(t->fd);
		t->fd = -1;
	}
	*out = &t->chunk;
	return 0;
}

static void bare_walk(struct bare *t)
{
	assert_int_equal(tree_walk(t->bench.tree, NULL, 1, &t->tree), 0);
	assert_int_equal(links_resolve(&t->tree), 0);
	assert_int_equal(entry_reader_new(&t->tree, take_chunk, t, &t->reader), 0);
}

static void bare_end(struct bare *t)
{
	entry_reader_free(t->reader, &t->tree.arena);
	tree_release(&t->tree);
}

static void path_in(const struct bare *t, const char *name, char out[256])
{
	(void)snprintf(out, 256, "%s/%s", t->bench.tree, name);
}

/* A file `a` with a second name `b`, as the work list has it when both are new. */
static void begin_linked(struct bare *t)
{
	char a[256];
	char b[256];

	*t = (struct bare){.fd = -1, .tree = {.fd = -1}};
	bench_begin(&t->bench);
	bench_write(&t->bench, "a", "old", 3);
	path_in(t, "a", a);
	path_in(t, "b", b);
	assert_int_equal(link(a, b), 0);
	bench_settle();
	bare_walk(t);
	struct link_group *links = t->tree.root.dir->entries[0].links;

	assert_non_null(links);
	assert_ptr_equal(links, t->tree.root.dir->entries[1].links);
	links->read_count = links->count;
}

static int read_first(struct bare *t)
{
	return entry_reader_read(
		t->reader, t->tree.root.dir, &t->tree.root.dir->entries[0]);
}

static void a_name_that_became_another_file_does_not_speak_for_the_links(void **state)
{
	(void)state;
	struct bare t;
	char from[256];
	char to[256];

	begin_linked(&t);
	bench_write(&t.bench, "new", "new", 3);
	path_in(&t, "new", from);
	path_in(&t, "a", to);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(read_first(&t), -EAGAIN);
	bare_end(&t);
	bench_end(&t.bench);
}

static void a_symlink_that_became_another_does_not_speak_for_the_links(void **state)
{
	(void)state;
	struct bare t = {.fd = -1, .tree = {.fd = -1}};
	char a[256];
	char b[256];

	bench_begin(&t.bench);
	path_in(&t, "a", a);
	path_in(&t, "b", b);
	assert_int_equal(symlink("old", a), 0);
	assert_int_equal(linkat(AT_FDCWD, a, AT_FDCWD, b, 0), 0);
	bench_settle();
	bare_walk(&t);
	t.tree.root.dir->entries[0].links->read_count = 2;
	path_in(&t, "new", b);
	assert_int_equal(symlink("new", b), 0);
	assert_int_equal(rename(b, a), 0);
	assert_int_equal(read_first(&t), -EAGAIN);
	bare_end(&t);
	bench_end(&t.bench);
}

static void a_linked_file_may_change_if_all_its_names_are_read(void **state)
{
	(void)state;
	struct bare t;

	begin_linked(&t);
	bench_write(&t.bench, "b", "longer", 6);
	assert_int_equal(read_first(&t), 0);
	assert_int_equal(t.tree.root.dir->entries[0].content->size, 6);
	bare_end(&t);
	/* but not if a name keeps what an older catalog says */
	bench_settle();
	bare_walk(&t);
	t.tree.root.dir->entries[0].links->read_count = 1;
	assert_int_equal(read_first(&t), 0);
	bench_write(&t.bench, "b", "and longer", 10);
	assert_int_equal(read_first(&t), -EAGAIN);
	bare_end(&t);
	bench_end(&t.bench);
}

/* Multi-grain time stamps hide what most kernels do; ramfs has only those of the tick. */
static void a_file_that_changes_within_a_tick_is_not_read_torn(void **state)
{
	(void)state;
	static uint8_t first[TORN_BYTES];
	static uint8_t second[TORN_BYTES];
	struct bare t = {.tree = {.fd = -1}};
	struct digest expected;
	char path[256];
	int torn = 0;

	bench_begin(&t.bench);
	if (mount("depotfs-test", t.bench.tree, "ramfs", 0, NULL) < 0) {
		bench_end(&t.bench);
		skip();
	}
	for (size_t i = 0; i < TORN_BYTES; i++) {
		first[i] = (uint8_t)(i * 7 >> 5);
		second[i] = (uint8_t)(i * 13 >> 3);
	}
	t.change = second;
	assert_int_equal(digest_of(second, sizeof(second), &expected), 0);
	path_in(&t, "file", path);
	bench_write(&t.bench, "file", first, sizeof(first));
	for (int i = 0; i < TORN_ROUNDS; i++) {
		t.fd = -1;
		bare_walk(&t);
		t.fd = open(path, O_WRONLY | O_CLOEXEC);
		(void)!pwrite(t.fd, first, sizeof(first), 0);
		if (read_first(&t) == 0)
			torn += !digest_equal(
				&t.tree.root.dir->entries[0].content->digest, &expected);
		bare_end(&t);
	}
	assert_int_equal(umount(t.bench.tree), 0);
	assert_int_equal(torn, 0);
	bench_end(&t.bench);
}

static void waiting_for_a_file_to_rest_has_an_end(void **state)
{
	(void)state;
	struct stat st = {.st_mode = S_IFREG};
	int64_t now_ns = 1000 * NS_PER_SEC;

	st.st_ctim.tv_sec = 1000;
	st.st_ctim.tv_nsec = 1;
	assert_in_range(tree_racy_ns(&st, now_ns), NS_PER_MS, 100 * NS_PER_MS);
	assert_int_equal(tree_racy_ns(&st, now_ns + 100 * NS_PER_MS), 0);
	/* a time without a sub-second part may be a whole second's or two */
	st.st_ctim.tv_nsec = 0;
	assert_in_range(tree_racy_ns(&st, now_ns), NS_PER_SEC, 2 * NS_PER_SEC);
	assert_int_equal(tree_racy_ns(&st, now_ns + 2 * NS_PER_SEC), 0);
	/* from the day before the clock was set right */
	st.st_ctim.tv_sec = 100000;
	assert_int_equal(tree_racy_ns(&st, now_ns), 0);
}

/* Two files of 128-bit identity with one XXH3: in its short form, one half may be chosen so
 * that the product vanishes. */
static void files_with_one_hash_stay_two_files(void **state)
{
	(void)state;
	const uint64_t low_zero =
		UINT64_C(0x1f67b3b7a4a44072) ^ UINT64_C(0x78e5c0cc4ee679cb);
	const uint64_t high_zero =
		UINT64_C(0x2172ffcc7dd05a82) ^ UINT64_C(0x8e2443f7744608b8);
	const uint64_t x = UINT64_C(0x0102030405060708);
	const uint64_t one[2] = {low_zero, high_zero ^ x};
	const uint64_t two[2] = {low_zero ^ __builtin_bswap64(x), high_zero};

	assert_true(hash64(one, sizeof(one), 0) == hash64(two, sizeof(two), 0));
	struct link_group groups[2] = {
		{.device = one[0], .number = one[1], .seen = 5},
		{.device = two[0], .number = two[1], .seen = 5},
	};
	struct tree_entry entries[2] = {
		{.name = "a", .name_length = 1, .links = &groups[0]},
		{.name = "b", .name_length = 1, .links = &groups[1]},
	};
	struct tree tree = {.fd = -1};
	struct tree_dir dir = {.self = &tree.root, .entries = entries, .count = 2};
	struct tree_dir *dirs[] = {&dir};

	for (size_t i = 0; i < 2; i++) {
		entries[i].mode = S_IFREG | 0644;
		entries[i].flags = TREE_ENTRY_LINKED;
		entries[i].fingerprint = 5;
	}
	tree.root.dir = &dir;
	tree.dirs = dirs;
	tree.dir_count = 1;
	assert_int_equal(links_resolve(&tree), 0);
	assert_false(entries[0].flags & TREE_ENTRY_LINKED);
	assert_false(entries[1].flags & TREE_ENTRY_LINKED);
	arena_release(&tree.arena);
}

static void two_states_of_one_file_match_nothing(void **state)
{
	(void)state;
	struct bare t;

	begin_linked(&t);
	struct tree_dir *dir = t.tree.root.dir;

	assert_true(dir->entries[0].fingerprint && dir->entries[1].fingerprint);
	bare_end(&t);
	assert_int_equal(tree_walk(t.bench.tree, NULL, 1, &t.tree), 0);
	/* as when it is written to between the two looks */
	t.tree.root.dir->entries[1].fingerprint ^= 1;
	assert_int_equal(links_resolve(&t.tree), 0);
	assert_true(t.tree.root.dir->entries[0].fingerprint == 0);
	assert_true(t.tree.root.dir->entries[1].fingerprint == 0);
	tree_release(&t.tree);
	bench_end(&t.bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_name_that_became_another_file_does_not_speak_for_the_links),
		cmocka_unit_test(
			a_symlink_that_became_another_does_not_speak_for_the_links),
		cmocka_unit_test(a_linked_file_may_change_if_all_its_names_are_read),
		cmocka_unit_test(a_file_that_changes_within_a_tick_is_not_read_torn),
		cmocka_unit_test(waiting_for_a_file_to_rest_has_an_end),
		cmocka_unit_test(files_with_one_hash_stay_two_files),
		cmocka_unit_test(two_states_of_one_file_match_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
