/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the writer writes, the reader reads: through walk, packages and both. */
#include "sync/master/catalog/catalog_writer.h"
#include "sync/master/walk/links.h"
#include "sync/master/walk/tree_walk.h"
#include "tests/sync/master/support.h"

#include "cache/base/memory.h"
#include "cache/catalog/catalog.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct pack_ref pack = {.digest = {{9}}, .bytes = 1000};
static struct frame_ref frames[2] = {
	{.pack = &pack, .offset = 500, .stored_bytes = 60, .raw_bytes = 90},
	{.pack = &pack, .offset = 0, .stored_bytes = 40, .raw_bytes = 40, .flags = 1}};
static struct chunk_ref chunks[2] = {
	{.digest = {{1}}, .offset = 10, .length = 3, .frame = &frames[0]},
	{.digest = {{2}}, .offset = 0, .length = 3, .frame = &frames[1]}};

static const struct content *content_of(struct tree *tree, struct chunk_ref *chunk)
{
	struct content *c = arena_zalloc(&tree->arena, sizeof(*c) + sizeof(c->pieces[0]));

	c->digest = chunk->digest;
	c->size = chunk->length;
	c->data_bytes = chunk->length;
	c->piece_count = 1;
	c->pieces[0].chunk = chunk;
	return c;
}

/* Gives every file that begins with 'x' the first chunk and the others the second. */
static void fill_in(struct tree *tree)
{
	for (size_t i = 0; i < tree->dir_count; i++) {
		for (uint32_t k = 0; k < tree->dirs[i]->count; k++) {
			struct tree_entry *e = &tree->dirs[i]->entries[k];

			if (S_ISREG(e->mode) && e->size)
				e->content = content_of(tree, &chunks[e->name[0] != 'x']);
			if (S_ISLNK(e->mode)) {
				struct blob *target = arena_zalloc(
					&tree->arena, sizeof(*target) + e->size);

				target->length = (uint32_t)e->size;
				memset(target->bytes, 't', e->size);
				e->target = target;
			}
		}
	}
}

static struct catalog *write_one(struct package *p)
{
	struct catalog *catalog;
	const char *reason = "";
	void *data;
	size_t len;

	assert_int_equal(catalog_write(p, &data, &len), 0);
	int r = catalog_open_memory(data, len, &catalog, &reason);

	if (r < 0)
		fail_msg("%s", reason);
	return catalog;
}

static void the_reader_finds_what_was_written(void **state)
{
	(void)state;
	struct bench b;
	struct tree tree = {.fd = -1};
	struct packages packages = {0};
	char path[256];
	char other[256];

	bench_begin(&b);
	bench_write(&b, "dir/xfile", "abc", 3);
	bench_write(&b, "dir/Bfile", "def", 3);
	bench_write(&b, "dir/xsame", "abc", 3);
	bench_write(&b, "empty", "", 0);
	(void)snprintf(path, sizeof(path), "%s/dir/xfile", b.tree);
	(void)snprintf(other, sizeof(other), "%s/zlink", b.tree);
	assert_int_equal(link(path, other), 0);
	(void)snprintf(other, sizeof(other), "%s/sym", b.tree);
	assert_int_equal(symlink("1234567", other), 0);
	assert_int_equal(tree_walk(b.tree, NULL, 2, &tree), 0);
	assert_int_equal(links_resolve(&tree), 0);
	assert_int_equal(packages_divide(&tree, NULL, 0, &packages), 0);
	fill_in(&tree);
	struct catalog *c = write_one(packages.list[0]);

	assert_int_equal(c->entry_count, 8);
	assert_int_equal(c->header->tree_entries, 8);
	assert_int_equal(c->header->tree_bytes, 12);
	assert_int_equal(c->content_count, 2);
	assert_int_equal(c->chunk_count, 2);
	/* by place in the pack, whatever the order of use */
	assert_int_equal(c->frames[0].offset, 0);
	assert_int_equal(c->frames[1].offset, 500);
	assert_int_equal(c->chunks[0].digest.bytes[0], 2);
	uint32_t dir = catalog_lookup(c, CATALOG_ROOT, "dir", 3);
	uint32_t file = catalog_lookup(c, dir, "xfile", 5);
	uint32_t linked = catalog_lookup(c, CATALOG_ROOT, "zlink", 5);
	const struct catalog_entry *e = catalog_entry(c, file);

	assert_int_equal(e->nlink, 2);
	assert_true(e->ino == catalog_entry(c, linked)->ino);
	assert_true(e->ino == hash64("zlink", 5, 0));
	assert_int_equal(e->link, linked < file ? linked : file);
	assert_int_equal(catalog_content_of(c, e)->digest.bytes[0], 1);
	assert_int_equal(catalog_lookup_folded(c, dir, "bFILE", 5),
		catalog_lookup(c, dir, "Bfile", 5));
	e = catalog_entry(c, catalog_lookup(c, CATALOG_ROOT, "sym", 3));
	assert_int_equal(e->count, 7);
	assert_memory_equal(c->targets + e->first, "ttttttt", 7);
	assert_null(catalog_content_of(
		c, catalog_entry(c, catalog_lookup(c, CATALOG_ROOT, "empty", 5))));
	catalog_close(c);
	packages_release(&packages);
	tree_release(&tree);
	bench_end(&b);
}

static void the_same_tree_gives_the_same_bytes(void **state)
{
	(void)state;
	struct bench b;
	void *data[2];
	size_t len[2];

	bench_begin(&b);
	bench_write(&b, "d/x1", "abc", 3);
	bench_write(&b, "d/y", "def", 3);
	for (size_t i = 0; i < 2; i++) {
		struct tree tree = {.fd = -1};
		struct packages packages = {0};

		assert_int_equal(tree_walk(b.tree, NULL, 2, &tree), 0);
		assert_int_equal(packages_divide(&tree, NULL, 0, &packages), 0);
		fill_in(&tree);
		assert_int_equal(catalog_write(packages.list[0], &data[i], &len[i]), 0);
		packages_release(&packages);
		tree_release(&tree);
	}
	assert_int_equal(len[0], len[1]);
	assert_memory_equal(data[0], data[1], len[0]);
	free(data[0]);
	free(data[1]);
	bench_end(&b);
}

static void packages_nest_where_globs_match(void **state)
{
	(void)state;
	struct bench b;
	struct tree tree = {.fd = -1};
	struct packages packages = {0};
	char glob[] = "npm/*/*";
	char *globs[] = {glob};

	bench_begin(&b);
	bench_write(&b, "npm/one/1.0/x", "abc", 3);
	bench_write(&b, "npm/one/.2/x", "abc", 3);
	bench_write(&b, "npm/top", "abc", 3);
	assert_int_equal(tree_walk(b.tree, NULL, 2, &tree), 0);
	assert_int_equal(packages_divide(&tree, globs, 1, &packages), 0);
	assert_int_equal(packages.count, 3);
	assert_string_equal(packages.list[0]->path, "");
	assert_string_equal(packages.list[1]->path, "npm/one/.2");
	assert_string_equal(packages.list[2]->path, "npm/one/1.0");
	fill_in(&tree);
	for (size_t i = 3; i-- > 1;) {
		catalog_close(write_one(packages.list[i]));
		packages.list[i]->ref.raw_bytes = 1000;
		packages.list[i]->ref.stored_bytes = 100;
	}
	struct catalog *c = write_one(packages.list[0]);

	assert_int_equal(c->nested_count, 2);
	assert_int_equal(c->entry_count, 6);
	/* a nested directory is one entry of the tree, not two */
	assert_int_equal(c->header->tree_entries, 8);
	assert_int_equal(c->header->tree_bytes, 9);
	catalog_close(c);
	packages_release(&packages);
	tree_release(&tree);
	bench_end(&b);
}

static void a_large_catalog_is_split_at_heavy_directories(void **state)
{
	(void)state;
	struct bench b;
	struct tree tree = {.fd = -1};
	struct packages packages = {0};

	bench_begin(&b);
	for (int i = 0; i < CATALOG_SPLIT_ENTRIES + 500; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "d%d/f%d", i % 20, i);
		bench_write(&b, name, "", 0);
	}
	bench_write(&b, "light/file", "", 0);
	assert_int_equal(tree_walk(b.tree, NULL, 2, &tree), 0);
	assert_int_equal(packages_divide(&tree, NULL, 0, &packages), 0);
	assert_int_equal(packages.count, 21);
	for (size_t i = 0; i < packages.count; i++)
		assert_in_range(packages.list[i]->entry_count, 1, CATALOG_SPLIT_ENTRIES);
	packages_release(&packages);
	tree_release(&tree);
	bench_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_reader_finds_what_was_written),
		cmocka_unit_test(the_same_tree_gives_the_same_bytes),
		cmocka_unit_test(packages_nest_where_globs_match),
		cmocka_unit_test(a_large_catalog_is_split_at_heavy_directories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
