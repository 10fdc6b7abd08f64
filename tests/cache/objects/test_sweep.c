/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is below a path, what is pinned there, and what nothing names. */
#include "tests/cache/cache_scene.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/below.h"
#include "cache/content/content_file.h"
#include "cache/judge.h"
#include "cache/objects/bounds/sweep.h"
#include "cache/objects/object_scan.h"
#include "cache/reference_set.h"
#include "cache/state/state_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct built_catalog *root;
static struct built_catalog *nested;
static const atomic_bool go_on;

/* /a, /dir/b, /dir/sub/c, /dir/again (as a), /pack/d */
static int make(void **state)
{
	struct catalog_builder *b = builder_new("pack");

	(void)state;
	cache_make(NULL);
	builder_file(b, BUILDER_TOP, "d", "dddd", 4, 100);
	nested = builder_finish(b);
	b = builder_new("");
	uint32_t dir = builder_dir(b, BUILDER_TOP, "dir");
	uint32_t sub = builder_dir(b, dir, "sub");

	builder_file(b, BUILDER_TOP, "a", "a", 1, 100);
	builder_file(b, dir, "b", "bb", 2, 100);
	builder_file(b, dir, "again", "a", 1, 100);
	builder_file(b, sub, "c", "ccc", 3, 100);
	builder_nested(b, BUILDER_TOP, "pack", nested);
	root = builder_finish(b);
	built_keep(root, catalogs);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	built_free(root);
	built_free(nested);
	cache_drop();
	return 0;
}

/* Sums up the sizes of the contents that it visits: a 1, b 2, c 3, d 4. */
static int get(void *arg, const struct catalog_ref *ref, struct catalog **out)
{
	(void)arg;
	return catalog_store_get(catalogs, ref, out);
}

static int add(void *arg, struct catalog *catalog, const uint32_t *indices, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i)
			assert_true(indices[i - 1] < indices[i]);
		*(uint64_t *)arg += catalog->contents[indices[i]].size;
	}
	return 0;
}

static uint64_t missing;

static int bytes_below(const char *path)
{
	uint64_t bytes = 0;
	struct below below = {.root = root->ref, .get = get, .visit = add, .arg = &bytes};
	int r = below_walk(&below, path);

	missing = below.missing;
	return r < 0 ? r : (int)bytes;
}

static void what_is_below_a_path_is_visited_once(void **state)
{
	(void)state;
	built_keep(nested, catalogs);
	assert_int_equal(bytes_below("a"), 1);
	assert_int_equal(bytes_below("dir/sub"), 3);
	assert_int_equal(bytes_below("dir"), 1 + 2 + 3);
	assert_int_equal(bytes_below("pack"), 4);
	assert_int_equal(bytes_below("pack/d"), 4);
	assert_int_equal(bytes_below(""), 1 + 2 + 3 + 4);
	assert_int_equal(missing, 0);
	assert_int_equal(bytes_below("none"), -ENOENT);
	assert_int_equal(bytes_below("pack/none"), -ENOENT);
	assert_int_equal(bytes_below("a/b"), -ENOTDIR);
}

static void catalogs_that_are_not_here_are_counted(void **state)
{
	(void)state;
	assert_int_equal(bytes_below(""), 1 + 2 + 3);
	assert_int_equal(missing, 1);
	assert_int_equal(bytes_below("pack/d"), -EAGAIN);
}

static void paths_are_relative_and_plain(void **state)
{
	static const char *const good[] = {"", "a", "a/b", ".a", "a..", "..."};
	static const char *const bad[] = {
		"/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(below_is_path(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(below_is_path(bad[i]));
}

static void pins_cover_all_below_and_outlive_the_process(void **state)
{
	struct state_db *db;
	struct pins *pins;

	(void)state;
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	assert_int_equal(pins_open(db, &pins), 0);
	assert_true(pins_are_none(pins));
	assert_int_equal(pins_add(pins, "dir/sub"), 0);
	assert_int_equal(pins_add(pins, "a"), 0);
	assert_int_equal(pins_add(pins, "a"), 0);
	pins_close(pins);
	state_db_close(db);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	assert_int_equal(pins_open(db, &pins), 0);
	assert_true(pins_cover(pins, "dir/sub"));
	assert_true(pins_cover(pins, "dir/sub/c"));
	assert_false(pins_cover(pins, "dir/subway"));
	assert_false(pins_cover(pins, "dir"));
	struct reference_set *set;
	struct digest digest;

	assert_int_equal(judge_pinned_contents(catalogs, pins, &root->ref, &set), 0);
	assert_int_equal(digest_of("ccc", 3, &digest), 0);
	assert_int_equal(reference_set_content(set, &digest), REFERENCE_LIVE);
	assert_int_equal(digest_of("bb", 2, &digest), 0);
	assert_int_equal(reference_set_content(set, &digest), REFERENCE_NONE);
	reference_set_free(set);
	assert_int_equal(pins_remove(pins, "dir"), -ENOENT);
	assert_int_equal(pins_remove(pins, "dir/sub"), 0);
	assert_false(pins_cover(pins, "dir/sub/c"));
	assert_true(pins_cover(pins, "a"));
	pins_close(pins);
	state_db_close(db);
}

static void put(const char *text)
{
	struct digest digest;

	assert_int_equal(digest_of(text, strlen(text), &digest), 0);
	assert_int_equal(object_store_put(objects, &digest, text, strlen(text)), 0);
}

static bool has(const char *text)
{
	struct digest digest;

	assert_int_equal(digest_of(text, strlen(text), &digest), 0);
	return object_store_has(objects, &digest, strlen(text), NULL);
}

static void count_removed(
	void *arg, enum usage_kind kind, const struct digest *digest, uint64_t disk_bytes)
{
	(void)kind;
	(void)digest;
	(void)disk_bytes;
	++*(unsigned int *)arg;
}

static int sweep(struct sweep_counts *counts, unsigned int *removed)
{
	struct reference_set *set;
	struct sweep_config config = {.cache_dirfd = scratch.fd,
		.contents = contents,
		.objects = objects,
		.catalogs = catalogs,
		.is_cancelled = &go_on,
		.on_removed = count_removed,
		.arg = removed};

	assert_int_equal(reference_set_new(&set), 0);
	assert_int_equal(reference_set_add_view(set, catalogs, &root->ref, NULL), 0);
	config.references = set;
	int r = sweep_run(&config, counts);

	reference_set_free(set);
	return r;
}

static void a_sweep_removes_exactly_what_nothing_names(void **state)
{
	char hex[DIGEST_HEX_SIZE];
	char live[128];
	char dead[128];
	struct catalog_builder *b = builder_new("old");
	struct sweep_counts counts;
	unsigned int removed = 0;
	struct digest digest;

	(void)state;
	built_keep(nested, catalogs);
	builder_file(b, BUILDER_TOP, "o", "old", 3, 100);
	struct built_catalog *old = builder_finish(b);

	built_keep(old, catalogs);
	put("a");
	put("dddd");
	put("old");
	put("older");
	assert_int_equal(digest_of("bb", 2, &digest), 0);
	digest_to_hex(&digest, hex);
	(void)snprintf(live, sizeof(live), "partial/%s", hex);
	scratch_write(&scratch, live, "b", 1);
	(void)snprintf(dead, sizeof(dead), "partial/%064d", 7);
	scratch_write(&scratch, dead, "x", 1);
	assert_int_equal(sweep(&counts, &removed), 0);
	assert_true(has("a") && has("dddd"));
	assert_false(has("old") || has("older"));
	assert_true(scratch_has(&scratch, live));
	assert_false(scratch_has(&scratch, dead));
	assert_true(catalog_store_has(catalogs, &root->ref.digest));
	assert_true(catalog_store_has(catalogs, &nested->ref.digest));
	assert_false(catalog_store_has(catalogs, &old->ref.digest));
	assert_int_equal(counts.objects, 2);
	assert_int_equal(counts.partials, 1);
	assert_int_equal(counts.catalogs, 1);
	assert_int_equal(removed, 4);
	assert_int_equal(sweep(&counts, &removed), 0);
	assert_int_equal(removed, 4);
	built_free(old);
}

static void what_somebody_fills_stays_until_he_has_closed_it(void **state)
{
	struct catalog_builder *b = builder_new("old");
	char hex[DIGEST_HEX_SIZE];
	char path[128];
	struct sweep_counts counts;
	struct content_file *file;
	unsigned int removed = 0;

	(void)state;
	built_keep(nested, catalogs);
	builder_file(b, BUILDER_TOP, "o", "older", 5, 2);
	struct built_catalog *built = builder_finish(b);
	struct catalog *old = built_open(built);
	const struct catalog_content *content = &old->contents[0];

	digest_to_hex(&content->digest, hex);
	(void)snprintf(path, sizeof(path), "partial/%s", hex);
	assert_int_equal(content_open(contents, old, content, &file), 0);
	assert_int_equal(content_file_land(file, 0, (const uint8_t *)"ol", NULL), 0);
	assert_true(scratch_has(&scratch, path));
	assert_int_equal(sweep(&counts, &removed), 0);
	assert_true(scratch_has(&scratch, path));
	assert_int_equal(counts.partials, 0);
	content_close(file);
	assert_int_equal(sweep(&counts, &removed), 0);
	assert_false(scratch_has(&scratch, path));
	assert_int_equal(counts.partials, 1);
	assert_int_equal(usage_total(object_store_usage(objects)), 0);
	catalog_close(old);
	built_free(built);
}

static void a_sweep_that_does_not_know_all_names_removes_nothing(void **state)
{
	struct sweep_counts counts;
	unsigned int removed = 0;

	(void)state;
	put("old");
	/* the nested catalog is not here */
	assert_int_equal(sweep(&counts, &removed), -ENODATA);
	assert_true(has("old"));
	assert_int_equal(removed, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(what_is_below_a_path_is_visited_once),
		T(catalogs_that_are_not_here_are_counted),
		T(paths_are_relative_and_plain),
		T(pins_cover_all_below_and_outlive_the_process),
		T(a_sweep_removes_exactly_what_nothing_names),
		T(what_somebody_fills_stays_until_he_has_closed_it),
		T(a_sweep_that_does_not_know_all_names_removes_nothing),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
