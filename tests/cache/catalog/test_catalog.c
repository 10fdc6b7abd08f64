/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/memory.h"
#include "cache/catalog/catalog.h"
#include "tests/support/catalog_builder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static uint32_t find(const struct catalog *c, uint32_t dir, const char *name)
{
	return catalog_lookup(c, dir, name, strlen(name));
}

static uint32_t find_folded(const struct catalog *c, uint32_t dir, const char *name)
{
	return catalog_lookup_folded(c, dir, name, strlen(name));
}

/* The name found without regard to case, "" if there is none. */
static const char *folded_name(const struct catalog *c, const char *name)
{
	static char out[CATALOG_NAME_MAX + 1];
	uint32_t i = find_folded(c, CATALOG_ROOT, name);

	out[0] = '\0';
	if (i != CATALOG_NO_ENTRY) {
		const struct catalog_entry *e = catalog_entry(c, i);

		memcpy(out, catalog_name(c, e), e->name_length);
		out[e->name_length] = '\0';
	}
	return out;
}

static struct catalog *finish(struct catalog_builder *b)
{
	struct built_catalog *built = builder_finish(b);
	struct catalog *c = built_open(built);

	built_free(built);
	return c;
}

static void lookup_finds_every_name_and_nothing_else(void **state)
{
	struct catalog_builder *b = builder_new("");
	uint32_t dir = builder_dir(b, BUILDER_TOP, "dir");
	char name[16];

	(void)state;
	for (int i = 0; i < 200; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i * 3);
		builder_file(b, dir, name, "", 0, 1);
	}
	builder_file(b, BUILDER_TOP, "di", "", 0, 1);
	builder_file(b, BUILDER_TOP, "dirt", "", 0, 1);
	builder_dir(b, BUILDER_TOP, "empty");
	struct catalog *c = finish(b);
	uint32_t top = find(c, CATALOG_ROOT, "dir");

	assert_int_not_equal(top, CATALOG_NO_ENTRY);
	for (int i = 0; i < 600; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		uint32_t found = find(c, top, name);

		if (i % 3) {
			assert_int_equal(found, CATALOG_NO_ENTRY);
			continue;
		}
		assert_int_not_equal(found, CATALOG_NO_ENTRY);
		const struct catalog_entry *e = catalog_entry(c, found);

		assert_int_equal(e->name_length, strlen(name));
		assert_memory_equal(catalog_name(c, e), name, strlen(name));
		assert_int_equal(e->parent, top);
	}
	assert_int_equal(find(c, CATALOG_ROOT, "d"), CATALOG_NO_ENTRY);
	assert_int_equal(find(c, CATALOG_ROOT, ""), CATALOG_NO_ENTRY);
	assert_int_equal(find(c, CATALOG_ROOT, "n0"), CATALOG_NO_ENTRY);
	assert_int_equal(find(c, find(c, CATALOG_ROOT, "empty"), "x"), CATALOG_NO_ENTRY);
	catalog_close(c);
}

static void names_may_hold_any_bytes(void **state)
{
	struct catalog_builder *b = builder_new("");
	char longest[CATALOG_NAME_MAX];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	builder_rename(b, builder_file(b, BUILDER_TOP, "a", "", 0, 1), "\xff\n\"", 3);
	builder_rename(b, builder_file(b, BUILDER_TOP, "b", "", 0, 1), longest, 255);
	builder_rename(b, builder_file(b, BUILDER_TOP, "c", "", 0, 1), "...", 3);
	struct catalog *c = finish(b);

	assert_int_not_equal(catalog_lookup(c, 0, "\xff\n\"", 3), CATALOG_NO_ENTRY);
	assert_int_not_equal(catalog_lookup(c, 0, longest, 255), CATALOG_NO_ENTRY);
	assert_int_equal(catalog_lookup(c, 0, longest, 254), CATALOG_NO_ENTRY);
	assert_int_not_equal(find(c, 0, "..."), CATALOG_NO_ENTRY);
	catalog_close(c);
}

static void folded_lookup_finds_a_name_in_any_case(void **state)
{
	static const char *const names[] = {"README.md", "Straße", "makefile", "Makefile",
		"ÄPFEL", "src", "b\377B", "zz"};
	struct catalog_builder *b = builder_new("");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		builder_file(b, BUILDER_TOP, names[i], "", 0, 1);
	struct catalog *c = finish(b);

	assert_string_equal(folded_name(c, "readme.MD"), "README.md");
	assert_string_equal(folded_name(c, "STRAßE"), "Straße");
	assert_string_equal(folded_name(c, "STRASSE"), "");
	assert_string_equal(folded_name(c, "äpfel"), "ÄPFEL");
	assert_string_equal(folded_name(c, "B\377b"), "b\377B");
	assert_string_equal(folded_name(c, "SRC"), "src");
	assert_string_equal(folded_name(c, "ZZ"), "zz");
	assert_string_equal(folded_name(c, "zzz"), "");
	assert_string_equal(folded_name(c, ""), "");
	catalog_close(c);
}

static void the_exact_name_wins_over_one_in_another_case(void **state)
{
	struct catalog_builder *b = builder_new("");

	(void)state;
	builder_file(b, BUILDER_TOP, "makefile", "", 0, 1);
	builder_file(b, BUILDER_TOP, "Makefile", "", 0, 1);
	builder_file(b, BUILDER_TOP, "MAKEFILE", "", 0, 1);
	struct catalog *c = finish(b);

	assert_string_equal(folded_name(c, "makefile"), "makefile");
	assert_string_equal(folded_name(c, "Makefile"), "Makefile");
	assert_string_equal(folded_name(c, "MAKEFILE"), "MAKEFILE");
	/* else the first of them in byte order, always the same one */
	assert_string_equal(folded_name(c, "mAKEFILE"), "MAKEFILE");
	catalog_close(c);
}

static void paths_are_told_from_the_trees_root(void **state)
{
	static const char *const packages[] = {"", "npm/left-pad"};
	static const char *const expected[] = {"a/b", "npm/left-pad/a/b"};
	char path[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(packages); i++) {
		struct catalog_builder *b = builder_new(packages[i]);

		builder_file(b, builder_dir(b, BUILDER_TOP, "a"), "b", "", 0, 1);
		struct catalog *c = finish(b);
		uint32_t file = find(c, find(c, CATALOG_ROOT, "a"), "b");
		size_t len = strlen(expected[i]);

		assert_int_equal(catalog_path_of(c, file, path, sizeof(path)), len);
		assert_string_equal(path, expected[i]);
		assert_int_equal(catalog_path_of(c, file, path, len + 1), len);
		assert_string_equal(path, expected[i]);
		assert_int_equal(catalog_path_of(c, file, path, len), -ENAMETOOLONG);
		assert_int_equal(catalog_path_of(c, CATALOG_ROOT, path, sizeof(path)),
			strlen(packages[i]));
		assert_string_equal(path, packages[i]);
		catalog_close(c);
	}
}

static void attributes_are_found_by_their_whole_name(void **state)
{
	struct catalog_builder *b = builder_new("");
	uint32_t file = builder_file(b, BUILDER_TOP, "f", "", 0, 1);
	const uint8_t *value;
	const char *name;
	size_t name_len;
	size_t cursor = 0;
	size_t len;

	(void)state;
	builder_file(b, BUILDER_TOP, "g", "", 0, 1);
	builder_xattr(b, file, "security.NTACL", "\0\1\2", 3);
	builder_xattr(b, file, "user.a", "", 0);
	builder_xattr(b, file, "user.ab", "value", 5);
	struct catalog *c = finish(b);
	const struct catalog_entry *e = catalog_entry(c, find(c, CATALOG_ROOT, "f"));
	const struct catalog_entry *bare = catalog_entry(c, find(c, CATALOG_ROOT, "g"));

	assert_int_equal(catalog_xattr_get(c, e, "security.NTACL", &value, &len), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(value, "\0\1\2", 3);
	assert_int_equal(catalog_xattr_get(c, e, "user.a", &value, &len), 0);
	assert_int_equal(len, 0);
	assert_int_equal(catalog_xattr_get(c, e, "user.", &value, &len), -ENODATA);
	assert_int_equal(catalog_xattr_get(c, e, "user.abc", &value, &len), -ENODATA);
	assert_int_equal(catalog_xattr_get(c, bare, "user.a", &value, &len), -ENODATA);
	unsigned int count = 0;

	while (catalog_xattr_next(c, e, &cursor, &name, &name_len, &value, &len))
		count++;
	assert_int_equal(count, 3);
	cursor = 0;
	assert_false(
		catalog_xattr_next(c, bare, &cursor, &name, &name_len, &value, &len));
	catalog_close(c);
}

static void check_pieces(const struct catalog *c, const struct catalog_content *content,
	uint64_t offset, uint64_t len)
{
	uint32_t first;
	uint32_t end;

	catalog_pieces_in(c, content, offset, len, &first, &end);
	for (uint32_t i = content->first_piece;
		i < content->first_piece + content->piece_count; i++) {
		const struct catalog_piece *p = &c->pieces[i];
		uint64_t stop = p->position + c->chunks[p->chunk].length;
		bool overlaps = len && p->position < offset + len && stop > offset;

		assert_int_equal(overlaps, i >= first && i < end);
	}
}

static void pieces_of_a_range_are_those_that_overlap_it(void **state)
{
	struct catalog_builder *b = builder_new("");
	uint8_t data[1000];

	(void)state;
	built_fill(data, sizeof(data), 1);
	builder_sparse(b, BUILDER_TOP, "f", 5000, 2000, data, sizeof(data), 100);
	struct catalog *c = finish(b);
	const struct catalog_content *content =
		catalog_content_of(c, catalog_entry(c, find(c, CATALOG_ROOT, "f")));

	assert_non_null(content);
	assert_int_equal(content->piece_count, 10);
	for (uint64_t offset = 1890; offset < 3110; offset += 10)
		for (uint64_t len = 1; len < 400; len += 24)
			check_pieces(c, content, offset, len);
	check_pieces(c, content, 0, 5000);
	uint32_t first;
	uint32_t end;

	/* no overflow at the far end */
	catalog_pieces_in(c, content, 2950, UINT64_MAX, &first, &end);
	assert_int_equal(end - first, 1);
	catalog_close(c);
}

static void only_files_with_bytes_have_content(void **state)
{
	struct catalog_builder *b = builder_new("");

	(void)state;
	builder_file(b, BUILDER_TOP, "full", "x", 1, 1);
	builder_file(b, BUILDER_TOP, "empty", "", 0, 1);
	builder_symlink(b, BUILDER_TOP, "link", "full");
	builder_sparse(b, BUILDER_TOP, "hole", 1 << 20, 0, "", 0, 1);
	builder_special(b, BUILDER_TOP, "null", S_IFCHR | 0666, 1, 3);
	builder_special(b, BUILDER_TOP, "pipe", S_IFIFO | 0600, 0, 0);
	struct catalog *c = finish(b);

	assert_non_null(catalog_content_of(c, catalog_entry(c, find(c, 0, "full"))));
	assert_null(catalog_content_of(c, catalog_entry(c, find(c, 0, "empty"))));
	assert_null(catalog_content_of(c, catalog_entry(c, find(c, 0, "link"))));
	assert_null(catalog_content_of(c, catalog_entry(c, find(c, 0, "pipe"))));
	const struct catalog_content *hole =
		catalog_content_of(c, catalog_entry(c, find(c, 0, "hole")));

	assert_int_equal(hole->piece_count, 0);
	assert_int_equal(hole->data_bytes, 0);
	catalog_close(c);
}

static void a_mapped_catalog_outlives_its_descriptor(void **state)
{
	struct catalog_builder *b = builder_new("");
	const char *reason = NULL;
	struct catalog *c;
	struct scratch s;

	(void)state;
	builder_file(b, BUILDER_TOP, "f", "x", 1, 1);
	struct built_catalog *built = builder_finish(b);

	scratch_make(&s);
	scratch_write(&s, "c", built->data, built->len);
	scratch_write(&s, "short", built->data, 100);
	unsigned int before = open_descriptors();
	int fd = openat(s.fd, "c", O_RDONLY);

	assert_int_equal(catalog_open_fd(fd, &c, &reason), 0);
	close(fd);
	assert_int_not_equal(find(c, CATALOG_ROOT, "f"), CATALOG_NO_ENTRY);
	catalog_close(c);
	fd = openat(s.fd, "short", O_RDONLY);
	assert_int_equal(catalog_open_fd(fd, &c, &reason), -EBADMSG);
	assert_string_equal(reason, "its size is out of bounds");
	assert_int_equal(catalog_open_fd(fd, &c, NULL), -EBADMSG);
	close(fd);
	fd = openat(s.fd, "c", O_RDONLY);
	mem_fail_after(0);
	assert_int_equal(catalog_open_fd(fd, &c, NULL), -ENOMEM);
	mem_fail_after(-1);
	close(fd);
	assert_int_equal(open_descriptors(), before);
	catalog_close(NULL);
	built_free(built);
	scratch_remove(&s);
}

static struct built_catalog *build_package(const char *path)
{
	struct catalog_builder *b = builder_new(path);

	builder_file(b, BUILDER_TOP, "f", path, strlen(path), 64);
	return builder_finish(b);
}

static void add_package(
	struct catalog_builder *b, uint32_t dir, const char *name, const char *path)
{
	struct built_catalog *package = build_package(path);

	builder_nested(b, dir, name, package);
	built_free(package);
}

/*
 *	a/          before, empty/, one*, sub/deep/two*, sub/last, two*
 *	b
 *	bare/       empty/, x
 *	c*
 *	d*
 *	e/          empty/, f/g/h*
 *	z/          deep/er/x
 */
static struct catalog *build_packages(void)
{
	struct catalog_builder *b = builder_new("");
	uint32_t a = builder_dir(b, BUILDER_TOP, "a");
	uint32_t sub = builder_dir(b, a, "sub");
	uint32_t bare = builder_dir(b, BUILDER_TOP, "bare");
	uint32_t e = builder_dir(b, BUILDER_TOP, "e");
	uint32_t z = builder_dir(b, BUILDER_TOP, "z");

	/* in no order: it is the catalog's */
	add_package(b, BUILDER_TOP, "d", "d");
	add_package(b, a, "two", "a/two");
	add_package(b, builder_dir(b, sub, "deep"), "two", "a/sub/deep/two");
	add_package(b, a, "one", "a/one");
	add_package(b, builder_dir(b, builder_dir(b, e, "f"), "g"), "h", "e/f/g/h");
	add_package(b, BUILDER_TOP, "c", "c");
	builder_file(b, a, "before", "x", 1, 1);
	builder_dir(b, a, "empty");
	builder_file(b, sub, "last", "x", 1, 1);
	builder_file(b, BUILDER_TOP, "b", "x", 1, 1);
	builder_dir(b, bare, "empty");
	builder_file(b, bare, "x", "x", 1, 1);
	builder_dir(b, e, "empty");
	builder_file(b, builder_dir(b, builder_dir(b, z, "deep"), "er"), "x", "x", 1, 1);
	return finish(b);
}

static uint32_t find_path(const struct catalog *c, const char *path)
{
	uint32_t i = CATALOG_ROOT;

	while (*path) {
		size_t len = strcspn(path, "/");

		i = catalog_lookup(c, i, path, len);
		assert_int_not_equal(i, CATALOG_NO_ENTRY);
		path += len + (path[len] == '/');
	}
	return i;
}

static void packages_follow_each_other_in_the_order_of_a_walk(void **state)
{
	static const char *const walk[] = {
		"a/one", "a/sub/deep/two", "a/two", "c", "d", "e/f/g/h"};
	struct catalog *c = build_packages();
	uint32_t i = find_path(c, walk[0]);

	(void)state;
	for (size_t n = 1; n < ARRAY_SIZE(walk); n++) {
		i = catalog_next_nested(c, i);
		assert_int_equal(i, find_path(c, walk[n]));
	}
	assert_int_equal(catalog_next_nested(c, i), CATALOG_NO_ENTRY);
	catalog_close(c);
}

/* Not into what is below the entry: that is not behind it. */
static void the_next_package_is_behind_an_entry_and_all_below_it(void **state)
{
	static const struct {
		const char *path;
		const char *next; /* NULL: none */
	} cases[] = {
		{"a", "c"},
		{"a/before", "a/one"},
		{"a/empty", "a/one"},
		{"a/sub", "a/two"},
		{"a/sub/deep", "a/two"},
		{"a/sub/last", "a/two"},
		{"b", "c"},
		{"bare/empty", "c"},
		{"bare/x", "c"},
		{"e", NULL},
		{"e/empty", "e/f/g/h"},
		{"z/deep", NULL},
		{"z/deep/er/x", NULL},
		{"", NULL},
	};
	struct catalog *c = build_packages();

	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
		uint32_t next = catalog_next_nested(c, find_path(c, cases[n].path));

		assert_int_equal(next,
			cases[n].next ? find_path(c, cases[n].next) : CATALOG_NO_ENTRY);
	}
	catalog_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lookup_finds_every_name_and_nothing_else),
		cmocka_unit_test(names_may_hold_any_bytes),
		cmocka_unit_test(folded_lookup_finds_a_name_in_any_case),
		cmocka_unit_test(the_exact_name_wins_over_one_in_another_case),
		cmocka_unit_test(paths_are_told_from_the_trees_root),
		cmocka_unit_test(attributes_are_found_by_their_whole_name),
		cmocka_unit_test(pieces_of_a_range_are_those_that_overlap_it),
		cmocka_unit_test(only_files_with_bytes_have_content),
		cmocka_unit_test(a_mapped_catalog_outlives_its_descriptor),
		cmocka_unit_test(packages_follow_each_other_in_the_order_of_a_walk),
		cmocka_unit_test(the_next_package_is_behind_an_entry_and_all_below_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
