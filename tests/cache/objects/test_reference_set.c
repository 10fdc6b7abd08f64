/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/memory.h"
#include "cache/reference_set.h"
#include "tests/support/catalog_builder.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

static struct scratch scratch;
static struct catalog_store *store;
static struct reference_set *set;

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	assert_int_equal(catalog_store_open(scratch.fd, &store), 0);
	assert_int_equal(reference_set_new(&set), 0);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	reference_set_free(set);
	catalog_store_free(store);
	scratch_remove(&scratch);
	return 0;
}

static enum reference content(const char *text)
{
	struct digest digest;

	assert_int_equal(digest_of(text, strlen(text), &digest), 0);
	return reference_set_content(set, &digest);
}

static uint32_t file(struct catalog_builder *b, const char *name, const char *text)
{
	return builder_file(b, BUILDER_TOP, name, text, strlen(text), 64);
}

static struct built_catalog *package(const char *path, const char *text)
{
	struct catalog_builder *b = builder_new(path);

	file(b, "file", text);
	file(b, "shared", "shared by all");
	builder_file(b, BUILDER_TOP, "empty", "", 0, 64);
	return builder_finish(b);
}

static void what_the_catalogs_below_a_root_name_is_live(void **state)
{
	struct built_catalog *pkg = package("p", "in the package");
	struct catalog_builder *b = builder_new("");

	(void)state;
	file(b, "top", "at the top");
	builder_nested(b, BUILDER_TOP, "p", pkg);
	struct built_catalog *root = builder_finish(b);

	built_keep(pkg, store);
	built_keep(root, store);
	assert_int_equal(reference_set_add_view(set, store, &root->ref, NULL), 0);
	assert_int_equal(content("at the top"), REFERENCE_LIVE);
	assert_int_equal(content("in the package"), REFERENCE_LIVE);
	assert_int_equal(content("nowhere"), REFERENCE_NONE);
	assert_int_equal(content(""), REFERENCE_NONE);
	assert_int_equal(reference_set_catalog(set, &root->ref.digest), REFERENCE_LIVE);
	assert_int_equal(reference_set_catalog(set, &pkg->ref.digest), REFERENCE_LIVE);
	assert_int_equal(reference_set_content_count(set), 3);
	assert_int_equal(reference_set_missing(set), 0);
	built_free(root);
	built_free(pkg);
}

static void what_only_stale_entries_name_is_told_apart(void **state)
{
	struct built_catalog *gone = package("gone", "of the stale package");
	struct built_catalog *live = package("live", "of the live package");
	struct catalog_builder *b = builder_new("");

	(void)state;
	/* visited first as a stale one, then met alive */
	builder_stale(b, builder_nested(b, BUILDER_TOP, "a", gone));
	builder_nested(b, BUILDER_TOP, "b", live);
	builder_stale(b, builder_nested(b, BUILDER_TOP, "c", live));
	builder_stale(b, file(b, "stale", "stale"));
	builder_stale(b, file(b, "both", "both"));
	file(b, "live", "both");
	struct built_catalog *root = builder_finish(b);

	built_keep(gone, store);
	built_keep(live, store);
	built_keep(root, store);
	assert_int_equal(reference_set_add_view(set, store, &root->ref, NULL), 0);
	assert_int_equal(content("of the stale package"), REFERENCE_STALE);
	assert_int_equal(content("of the live package"), REFERENCE_LIVE);
	assert_int_equal(content("shared by all"), REFERENCE_LIVE);
	assert_int_equal(content("stale"), REFERENCE_STALE);
	assert_int_equal(content("both"), REFERENCE_LIVE);
	assert_int_equal(reference_set_catalog(set, &gone->ref.digest), REFERENCE_STALE);
	assert_int_equal(reference_set_catalog(set, &live->ref.digest), REFERENCE_LIVE);
	built_free(root);
	built_free(live);
	built_free(gone);
}

static void catalogs_that_are_not_here_are_counted(void **state)
{
	struct built_catalog *one = package("one", "one");
	struct built_catalog *two = package("two", "two");
	struct catalog_builder *b = builder_new("");

	(void)state;
	builder_nested(b, BUILDER_TOP, "one", one);
	builder_nested(b, BUILDER_TOP, "two", two);
	struct built_catalog *root = builder_finish(b);

	built_keep(root, store);
	built_keep(two, store);
	assert_int_equal(reference_set_add_view(set, store, &root->ref, NULL), 0);
	assert_int_equal(reference_set_missing(set), 1);
	assert_int_equal(content("one"), REFERENCE_NONE);
	assert_int_equal(content("two"), REFERENCE_LIVE);
	/* it is needed all the same */
	assert_int_equal(reference_set_catalog(set, &one->ref.digest), REFERENCE_LIVE);
	built_free(root);
	built_free(two);
	built_free(one);
}

static void several_views_add_up_and_a_walk_can_be_ended(void **state)
{
	struct built_catalog *one = package("", "one");
	struct built_catalog *two = package("", "two");
	atomic_bool is_cancelled = true;

	(void)state;
	built_keep(one, store);
	built_keep(two, store);
	assert_int_equal(reference_set_add_view(set, store, &one->ref, NULL), 0);
	assert_int_equal(content("two"), REFERENCE_NONE);
	assert_int_equal(reference_set_add_view(set, store, &two->ref, NULL), 0);
	assert_int_equal(content("one"), REFERENCE_LIVE);
	assert_int_equal(content("two"), REFERENCE_LIVE);
	reference_set_free(set);
	assert_int_equal(reference_set_new(&set), 0);
	assert_int_equal(
		reference_set_add_view(set, store, &one->ref, &is_cancelled), -ECANCELED);
	built_free(one);
	built_free(two);
}

/* A catalog of so many contents without bytes of their own: each is one hole. */
static struct built_catalog *many_holes(const char *path, uint32_t count, uint32_t seed)
{
	size_t len = sizeof(struct catalog_header) +
		     (size_t)count * (sizeof(struct catalog_entry) + 16 + 4 +
					     sizeof(struct catalog_content)) +
		     4096;
	uint8_t *data = calloc(1, len);
	struct catalog_header *h = (void *)data;
	struct built_catalog *built = calloc(1, sizeof(*built));
	size_t path_length = strlen(path);

	assert_non_null(data);
	assert_non_null(built);
	memcpy(h->magic, CATALOG_MAGIC, sizeof(h->magic));
	h->version = CATALOG_VERSION;
	h->section_count = CATALOG_PUBLISHED_SECTIONS;
	h->tree_entries = count + 1;
	h->tree_bytes = count;
	uint64_t at = sizeof(*h);
	struct catalog_entry *entries = (void *)(data + at);

	h->sections[CATALOG_ENTRIES] = (struct catalog_section_ref){at, count + 1};
	at += (count + 1) * sizeof(*entries);
	char *names = (char *)data + at;

	h->sections[CATALOG_NAMES] = (struct catalog_section_ref){at, count * 8};
	at += (uint64_t)count * 8;
	uint32_t *folded = (void *)(data + at);

	h->sections[CATALOG_FOLDED] = (struct catalog_section_ref){at, count + 1};
	at = (at + (count + 1) * 4 + 7) & ~UINT64_C(7);
	struct catalog_content *contents = (void *)(data + at);

	h->sections[CATALOG_CONTENTS] = (struct catalog_section_ref){at, count};
	at += count * sizeof(*contents);
	h->sections[CATALOG_PATH] = (struct catalog_section_ref){at, path_length};
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): a section has its length */
	memcpy(data + at, path, path_length);
	h->total_bytes = (at + path_length + 7) & ~UINT64_C(7);
	entries[0] = (struct catalog_entry){
		.mode = 0040755, .ino = 1, .first = count ? 1 : 0, .count = count};
	for (uint32_t i = 0; i < count; i++) {
		uint32_t number[2] = {seed, i};
		char name[9];

		entries[i + 1] = (struct catalog_entry){.name = i * 8,
			.name_length = 8,
			.mode = 0100644,
			.ino = i + 2,
			.size = 1,
			.first = i,
			.link = i + 1};
		(void)snprintf(name, sizeof(name), "%08x", i);
		memcpy(names + (size_t)i * 8, name, 8);
		folded[i + 1] = i + 1;
		contents[i].size = 1;
		assert_int_equal(
			digest_of(number, sizeof(number), &contents[i].digest), 0);
	}
	*built = (struct built_catalog){.data = data, .len = h->total_bytes};
	built->ref.stored_bytes = built->ref.raw_bytes = built->len;
	assert_int_equal(digest_of(data, built->len, &built->ref.digest), 0);
	return built;
}

static void a_million_contents_take_less_than_64_mebibytes(void **state)
{
	(void)state;
	struct built_catalog *packages[10];
	struct catalog_builder *b = builder_new("");

	for (uint32_t i = 0; i < ARRAY_SIZE(packages); i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "p%u", i);
		packages[i] = many_holes(name, 100000, i);
		builder_nested(b, BUILDER_TOP, name, packages[i]);
		built_keep(packages[i], store);
	}
	struct built_catalog *root = builder_finish(b);
	struct digest digest;

	built_keep(root, store);
	struct mallinfo2 before = mallinfo2();

	assert_int_equal(reference_set_add_view(set, store, &root->ref, NULL), 0);
	struct mallinfo2 after = mallinfo2();
	size_t bytes = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;

	print_message("a million contents: %zu KiB\n", bytes / 1024);
	assert_true(bytes < (size_t)64 << 20);
	assert_int_equal(reference_set_content_count(set), 1000000);
	for (uint32_t i = 0; i < ARRAY_SIZE(packages); i++) {
		for (uint32_t k = 0; k < 100000; k += 997) {
			assert_int_equal(digest_of((uint32_t[]){i, k}, 8, &digest), 0);
			assert_int_equal(
				reference_set_content(set, &digest), REFERENCE_LIVE);
		}
		built_free(packages[i]);
	}
	assert_int_equal(digest_of((uint32_t[]){10, 0}, 8, &digest), 0);
	assert_int_equal(reference_set_content(set, &digest), REFERENCE_NONE);
	built_free(root);
}

static void without_memory_it_fails_and_leaks_nothing(void **state)
{
	struct built_catalog *pkg = many_holes("p", 3000, 0);
	struct catalog_builder *b = builder_new("");
	int r = -ENOMEM;

	(void)state;
	builder_nested(b, BUILDER_TOP, "p", pkg);
	struct built_catalog *root = builder_finish(b);

	built_keep(pkg, store);
	built_keep(root, store);
	for (long n = 0; r == -ENOMEM; n++) {
		struct reference_set *other = NULL;

		mem_fail_after(n);
		r = reference_set_new(&other);
		if (r == 0)
			r = reference_set_add_view(other, store, &root->ref, NULL);
		mem_fail_after(-1);
		reference_set_free(other);
	}
	assert_int_equal(r, 0);
	built_free(root);
	built_free(pkg);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(what_the_catalogs_below_a_root_name_is_live),
		T(what_only_stale_entries_name_is_told_apart),
		T(catalogs_that_are_not_here_are_counted),
		T(several_views_add_up_and_a_walk_can_be_ended),
		T(a_million_contents_take_less_than_64_mebibytes),
		T(without_memory_it_fails_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
