/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/memory.h"
#include "cache/catalog/stored/catalog_codec.h"
#include "cache/catalog/stored/catalog_residual.h"
#include "tests/cache/sample_catalog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LEVEL 3

static void encode(const struct built_catalog *built, struct buffer *out)
{
	assert_int_equal(catalog_encode(built->data, built->len, LEVEL, out), 0);
}

/* Through the codec and back; returns the bytes stored. */
static size_t assert_comes_back(const struct built_catalog *built)
{
	AUTO_BUFFER struct buffer stored = BUFFER_INIT(CATALOG_STORED_MAX);
	uint8_t *raw = malloc(built->len);

	assert_non_null(raw);
	memset(raw, 0xa5, built->len);
	encode(built, &stored);
	assert_int_equal(catalog_decode(stored.data, stored.len, raw, built->len), 0);
	assert_memory_equal(raw, built->data, built->len);
	free(raw);
	return stored.len;
}

static void *section(const struct built_catalog *built, enum catalog_section s)
{
	const struct catalog_header *h = (const void *)built->data;

	return built->data + h->sections[s].offset;
}

static uint32_t count(const struct built_catalog *built, enum catalog_section s)
{
	const struct catalog_header *h = (const void *)built->data;

	return (uint32_t)h->sections[s].count;
}

/* As docs/formats/catalog.md has it; the builder does not know paths. */
static void set_inodes(struct built_catalog *built)
{
	struct catalog *c = built_open(built);
	struct catalog_entry *e = section(built, CATALOG_ENTRIES);
	char path[4096];

	for (uint32_t i = 0; i < c->entry_count; i++) {
		int len = catalog_path_of(c, i, path, sizeof(path));

		assert_true(len >= 0);
		e[i].ino =
			e[i].link == i ? hash64(path, (size_t)len, 0) : e[e[i].link].ino;
	}
	catalog_close(c);
}

static void catalogs_come_back_as_they_were(void **state)
{
	struct built_catalog *all[] = {sample_catalog(), sample_nested_catalog(),
		builder_finish(builder_new("")), builder_finish(builder_new("a/b/c"))};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		assert_comes_back(all[i]);
		set_inodes(all[i]);
		assert_comes_back(all[i]);
		built_free(all[i]);
	}
}

/* Many directories, files of many chunks, of none, that share their content, that have two names.
 * The builder numbers contents as they come, a publisher as breadth-first entries use them: so
 * they are made in that order. */
static struct built_catalog *large_catalog(const char *path)
{
	struct catalog_builder *b = builder_new(path);
	uint32_t dirs[40];
	uint8_t data[900];
	char name[32];

	builder_frame_bytes(b, 5000);
	for (unsigned int i = 0; i < ARRAY_SIZE(dirs); i++) {
		(void)snprintf(name, sizeof(name), "dir-%03u", i * 7);
		dirs[i] = builder_dir(b, BUILDER_TOP, name);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(dirs); i++) {
		for (unsigned int k = 0; k < 50; k++) {
			built_fill(data, sizeof(data), i * 50 + k);
			(void)snprintf(name, sizeof(name), "%s-%04u.js",
				k < 25 ? "N" : "n", k * k);
			uint32_t file = builder_file(b, dirs[i], name, data,
				k % 10 ? 10 + 17 * k : 0, i % 3 ? 1000 : 100);

			if (k == 7)
				builder_link(b, dirs[i], "a link", file);
		}
		builder_file(b, dirs[i], "same", "same", 4, 64);
		builder_symlink(b, dirs[i], "to", "../x");
		builder_dir(b, dirs[i], "empty");
	}
	struct built_catalog *built = builder_finish(b);

	set_inodes(built);
	return built;
}

static void a_large_catalog_comes_back_as_it_was(void **state)
{
	struct built_catalog *root = large_catalog("");
	struct built_catalog *below = large_catalog("npm/package/1.0");

	(void)state;
	assert_comes_back(root);
	assert_comes_back(below);
	built_free(root);
	built_free(below);
}

static bool is_zero(const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static void what_follows_from_the_rest_becomes_zero(void **state)
{
	struct built_catalog *built = large_catalog("a");
	struct catalog *c = built_open(built);
	const struct catalog_entry *e = section(built, CATALOG_ENTRIES);
	const struct catalog_content *contents = section(built, CATALOG_CONTENTS);
	const struct catalog_frame *frames = section(built, CATALOG_FRAMES);
	const struct catalog_chunk *chunks = section(built, CATALOG_CHUNKS);
	const struct catalog_piece *pieces = section(built, CATALOG_PIECES);
	unsigned int shared = 0;
	unsigned int linked = 0;

	(void)state;
	assert_int_equal(residual_take(c, built->data), 0);
	for (uint32_t i = 0; i < c->entry_count; i++) {
		assert_int_equal(e[i].name, 0);
		assert_int_equal(e[i].ino, 0);
		assert_int_equal(e[i].parent, 0);
		linked += e[i].link != 0;
		shared += e[i].first != 0;
	}
	/* the second names of 40 files, and all but the first of those named "same" */
	assert_int_equal(linked, 40);
	assert_int_equal(shared, 79);
	for (uint32_t i = 0; i < c->content_count; i++) {
		assert_int_equal(contents[i].size, 0);
		assert_int_equal(contents[i].data_bytes, 0);
		assert_int_equal(contents[i].first_piece, 0);
	}
	for (uint32_t i = 0; i < c->frame_count; i++) {
		assert_int_equal(frames[i].offset, 0);
		assert_int_equal(frames[i].first_chunk, 0);
	}
	for (uint32_t i = 0; i < c->chunk_count; i++) {
		assert_int_equal(chunks[i].frame, 0);
		assert_int_equal(chunks[i].offset, 0);
		assert_int_equal(chunks[i].content, 0);
		assert_int_equal(chunks[i].piece, 0);
		if (c->contents[c->chunks[i].content].piece_count == 1)
			assert_true(is_zero(&chunks[i], sizeof(chunks[i])));
	}
	for (uint32_t i = 0; i < c->piece_count; i++)
		assert_int_equal(pieces[i].position, 0);
	catalog_close(c);
	built_free(built);
}

/* 36 bytes a file: its digest, and little else. */
static void files_cost_little_more_than_their_digests(void **state)
{
	struct catalog_builder *b = builder_new("");
	char name[16];

	(void)state;
	for (int i = 0; i < 2000; i++) {
		(void)snprintf(name, sizeof(name), "file-%04d", i);
		builder_file(b, BUILDER_TOP, name, name, 9, 64);
	}
	struct built_catalog *built = builder_finish(b);

	set_inodes(built);
	assert_in_range(assert_comes_back(built), 2000 * 32, 2000 * 36);
	built_free(built);
}

/* The codec expects certain values; it must not need them. */
static void nothing_has_to_be_as_expected(void **state)
{
	struct built_catalog *built = large_catalog("p");
	uint32_t entries = count(built, CATALOG_ENTRIES);

	(void)state;
	for (unsigned int round = 0; round < 40; round++) {
		/* some bytes of everything behind the header, whatever they mean */
		for (unsigned int i = 0; i < 200; i++) {
			uint8_t noise[8];

			built_fill(noise, sizeof(noise), round * 1000 + i);
			uint32_t at;

			memcpy(&at, noise + 4, sizeof(at));
			size_t span = built->len - sizeof(struct catalog_header);

			built->data[sizeof(struct catalog_header) + at % span] = noise[0];
		}
		assert_comes_back(built);
	}
	struct catalog_entry *e = section(built, CATALOG_ENTRIES);

	for (uint32_t i = 0; i < entries; i++) {
		e[i].parent = UINT32_MAX - i;
		e[i].name = UINT32_MAX - 3;
		e[i].link = i / 2;
	}
	assert_comes_back(built);
	built_free(built);
}

/* Too long for a prediction, but no less true. */
static void a_deep_tree_comes_back_as_it_was(void **state)
{
	struct catalog_builder *b = builder_new("top");
	uint32_t dir = BUILDER_TOP;
	char name[201];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[200] = '\0';
	for (int i = 0; i < 30; i++)
		dir = builder_dir(b, dir, name);
	for (int i = 0; i < 200; i++) {
		dir = builder_dir(b, dir, "d");
		builder_file(b, dir, "f", "f", 1, 64);
	}
	struct built_catalog *built = builder_finish(b);

	assert_comes_back(built);
	built_free(built);
}

static void sections_of_later_versions_come_back_too(void **state)
{
	struct built_catalog *built = sample_catalog();
	size_t len = built->len + 24;
	uint8_t *data = calloc(1, len);

	(void)state;
	assert_non_null(data);
	memcpy(data, built->data, built->len);
	memcpy(data + built->len, "nobody knows what it is", 24);
	struct catalog_header *h = (void *)data;

	h->section_count = CATALOG_SECTIONS + 1;
	h->sections[CATALOG_SECTIONS] =
		(struct catalog_section_ref){.offset = built->len, .count = 24};
	h->total_bytes = len;
	free(built->data);
	built->data = data;
	built->len = len;
	assert_comes_back(built);
	built_free(built);
}

static void what_is_no_catalog_is_not_encoded(void **state)
{
	AUTO_BUFFER struct buffer out = BUFFER_INIT(CATALOG_STORED_MAX);
	struct built_catalog *built = sample_catalog();
	struct catalog_header *h = (void *)built->data;

	(void)state;
	assert_int_equal(buffer_add(&out, "x", 1), 0);
	assert_int_equal(catalog_encode(built->data, 100, LEVEL, &out), -EINVAL);
	assert_int_equal(
		catalog_encode(built->data, built->len - 8, LEVEL, &out), -EINVAL);
	/* two sections in one place */
	h->sections[CATALOG_NAMES].offset = h->sections[CATALOG_ENTRIES].offset;
	assert_int_equal(catalog_encode(built->data, built->len, LEVEL, &out), -EINVAL);
	assert_int_equal(out.len, 1);
	built_free(built);
}

static void a_wrong_stored_form_is_refused(void **state)
{
	AUTO_BUFFER struct buffer stored = BUFFER_INIT(CATALOG_STORED_MAX);
	struct built_catalog *built = sample_catalog();
	size_t len = built->len;
	uint8_t *raw = malloc(len + 8);

	(void)state;
	assert_non_null(raw);
	encode(built, &stored);
	for (size_t cut = 0; cut < stored.len; cut++)
		assert_int_equal(catalog_decode(stored.data, cut, raw, len), -EBADMSG);
	assert_int_equal(catalog_decode(stored.data, stored.len, raw, len - 8), -EBADMSG);
	assert_int_equal(catalog_decode(stored.data, stored.len, raw, len + 8), -EBADMSG);
	assert_int_equal(catalog_decode(stored.data, stored.len, raw, 0), -EBADMSG);
	/* another version; and what older depots had, a frame and nothing before it */
	stored.data[7]++;
	assert_int_equal(catalog_decode(stored.data, stored.len, raw, len), -EBADMSG);
	assert_int_equal(
		catalog_decode(stored.data + 8, stored.len - 8, raw, len), -EBADMSG);
	free(raw);
	built_free(built);
}

/* Refused, or other bytes, which the digest shows; a sanitizer looks on. */
static void a_garbled_stored_form_does_no_harm(void **state)
{
	AUTO_BUFFER struct buffer stored = BUFFER_INIT(CATALOG_STORED_MAX);
	struct built_catalog *built = sample_catalog();
	uint8_t *raw = malloc(built->len);
	unsigned int refused = 0;

	(void)state;
	assert_non_null(raw);
	encode(built, &stored);
	for (size_t i = 0; i < stored.len * 8; i++) {
		uint8_t bit = (uint8_t)(1u << (i % 8));

		stored.data[i / 8] ^= bit;
		int r = catalog_decode(stored.data, stored.len, raw, built->len);

		assert_true(r == 0 || r == -EBADMSG);
		refused += r < 0;
		stored.data[i / 8] ^= bit;
	}
	assert_in_range(refused, 8 * CATALOG_STORED_MAGIC_BYTES, stored.len * 8 - 1);
	free(raw);
	built_free(built);
}

static void without_memory_it_fails_and_leaks_nothing(void **state)
{
	struct built_catalog *built = sample_catalog();
	AUTO_BUFFER struct buffer stored = BUFFER_INIT(CATALOG_STORED_MAX);
	uint8_t *raw = malloc(built->len);
	int r = -ENOMEM;
	long n;

	(void)state;
	assert_non_null(raw);
	for (n = 0; r == -ENOMEM; n++) {
		mem_fail_after(n);
		r = catalog_encode(built->data, built->len, LEVEL, &stored);
		mem_fail_after(-1);
		assert_true(r == 0 || stored.len == 0);
	}
	assert_int_equal(r, 0);
	assert_true(n > 4);
	r = -ENOMEM;
	for (n = 0; r == -ENOMEM; n++) {
		mem_fail_after(n);
		r = catalog_decode(stored.data, stored.len, raw, built->len);
		mem_fail_after(-1);
	}
	assert_int_equal(r, 0);
	assert_true(n > 3);
	assert_memory_equal(raw, built->data, built->len);
	free(raw);
	built_free(built);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(catalogs_come_back_as_they_were),
		cmocka_unit_test(a_large_catalog_comes_back_as_it_was),
		cmocka_unit_test(what_follows_from_the_rest_becomes_zero),
		cmocka_unit_test(files_cost_little_more_than_their_digests),
		cmocka_unit_test(nothing_has_to_be_as_expected),
		cmocka_unit_test(a_deep_tree_comes_back_as_it_was),
		cmocka_unit_test(sections_of_later_versions_come_back_too),
		cmocka_unit_test(what_is_no_catalog_is_not_encoded),
		cmocka_unit_test(a_wrong_stored_form_is_refused),
		cmocka_unit_test(a_garbled_stored_form_does_no_harm),
		cmocka_unit_test(without_memory_it_fails_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
