/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/catalog/catalog_store.h"
#include "tests/cache/sample_catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct scratch scratch;
static struct catalog_store *store;
static struct built_catalog *built;
static char path[128];

static int make(void **state)
{
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	scratch_make(&scratch);
	assert_int_equal(catalog_store_open(scratch.fd, &store), 0);
	built = sample_catalog();
	digest_to_hex(&built->ref.digest, hex);
	(void)snprintf(path, sizeof(path), "catalog/%.2s/%s", hex, hex);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	built_free(built);
	catalog_store_free(store);
	scratch_remove(&scratch);
	return 0;
}

static void put(void)
{
	struct catalog *c;

	assert_int_equal(catalog_store_put(store, &built->ref, built->data, &c), 0);
	catalog_close(c);
}

static void what_was_put_is_mapped(void **state)
{
	struct catalog *c;

	(void)state;
	assert_int_equal(catalog_store_get(store, &built->ref, &c), -ENOENT);
	put();
	assert_int_equal(catalog_store_get(store, &built->ref, &c), 0);
	assert_int_not_equal(
		catalog_lookup(c, CATALOG_ROOT, "small", 5), CATALOG_NO_ENTRY);
	catalog_close(c);
	put();
	assert_int_equal(scratch_count(&scratch, "catalog"), 1);
}

static void a_damaged_file_is_removed(void **state)
{
	struct catalog *c;

	(void)state;
	/* one bit in an inode number: sound by form, but not what its name says */
	const struct catalog_header *h = (const void *)built->data;
	struct catalog_entry *e =
		(void *)(built->data + h->sections[CATALOG_ENTRIES].offset);

	put();
	e[1].ino ^= 1 << 8;
	scratch_write(&scratch, path, built->data, built->len);
	assert_int_equal(catalog_store_get(store, &built->ref, &c), -ENOENT);
	assert_false(scratch_has(&scratch, path));
	e[1].ino ^= 1 << 8;
	put();
	/* cut short */
	scratch_write(&scratch, path, built->data, built->len - 8);
	assert_int_equal(catalog_store_get(store, &built->ref, &c), -ENOENT);
	assert_false(scratch_has(&scratch, path));
	/* empty, as a crash leaves it */
	scratch_write(&scratch, path, "", 0);
	assert_int_equal(catalog_store_get(store, &built->ref, &c), -ENOENT);
	assert_false(scratch_has(&scratch, path));
}

static void an_unsound_catalog_is_refused_with_its_reason(void **state)
{
	struct catalog *c;
	char text[512];

	(void)state;
	((struct catalog_header *)(void *)built->data)->version = 9;
	assert_int_equal(
		catalog_store_put(store, &built->ref, built->data, &c), -EUCLEAN);
	log_last_error(text, sizeof(text));
	assert_non_null(strstr(text, "of a version that this program does not know"));
	assert_int_equal(catalog_store_get(store, &built->ref, &c), -ENOENT);
}

/* The sample's bytes as if they were composed: its path, all of its room for a local part. */
static struct catalog_ref composed_sample(uint8_t *data)
{
	struct catalog_header *h = (void *)data;
	struct catalog_ref ref = built->ref;

	h->flags = CATALOG_COMPOSED;
	h->section_count = CATALOG_SECTIONS;
	h->sections[CATALOG_LOCAL] = (struct catalog_section_ref){
		h->sections[CATALOG_NESTED].offset, h->sections[CATALOG_NESTED].count};
	assert_int_equal(digest_of(data, built->len, &ref.digest), 0);
	return ref;
}

static void a_composed_catalog_enters_by_its_own_door_only(void **state)
{
	struct catalog *c;
	char text[512];

	(void)state;
	assert_int_equal(
		catalog_store_put_composed(store, &built->ref, built->data), -EUCLEAN);
	assert_false(catalog_store_has(store, &built->ref.digest));
	struct catalog_ref ref = composed_sample(built->data);

	assert_int_equal(catalog_store_put(store, &ref, built->data, &c), -EUCLEAN);
	log_last_error(text, sizeof(text));
	assert_non_null(strstr(text, "a mirror composed it"));
	assert_false(catalog_store_has(store, &ref.digest));
	assert_int_equal(catalog_store_put_composed(store, &ref, built->data), 0);
	assert_int_equal(catalog_store_get(store, &ref, &c), 0);
	assert_true(catalog_is_composed(c));
	catalog_close(c);
}

static void a_disk_that_takes_nothing_leaves_it_in_memory(void **state)
{
	struct catalog *c;
	char dir[16];

	(void)state;
	(void)snprintf(dir, sizeof(dir), "%.10s", path);
	/* a file in the directory's place */
	scratch_write(&scratch, dir, "", 0);
	assert_int_equal(catalog_store_put(store, &built->ref, built->data, &c), 0);
	assert_int_not_equal(
		catalog_lookup(c, CATALOG_ROOT, "small", 5), CATALOG_NO_ENTRY);
	catalog_close(c);
	assert_int_equal(scratch_count(&scratch, "catalog"), 1);
}

static void without_memory_it_fails_and_leaks_nothing(void **state)
{
	unsigned int before = open_descriptors();
	struct catalog_store *other;
	struct catalog *c;
	int r = -ENOMEM;

	(void)state;
	for (long n = 0; r == -ENOMEM; n++) {
		mem_fail_after(n);
		r = catalog_store_put(store, &built->ref, built->data, &c);
		mem_fail_after(-1);
	}
	assert_int_equal(r, 0);
	catalog_close(c);
	r = -ENOMEM;
	for (long n = 0; r == -ENOMEM; n++) {
		mem_fail_after(n);
		r = catalog_store_get(store, &built->ref, &c);
		mem_fail_after(-1);
	}
	assert_int_equal(r, 0);
	catalog_close(c);
	mem_fail_after(0);
	assert_int_equal(catalog_store_open(scratch.fd, &other), -ENOMEM);
	mem_fail_after(-1);
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(what_was_put_is_mapped),
		T(a_damaged_file_is_removed),
		T(an_unsound_catalog_is_refused_with_its_reason),
		T(a_composed_catalog_enters_by_its_own_door_only),
		T(a_disk_that_takes_nothing_leaves_it_in_memory),
		T(without_memory_it_fails_and_leaks_nothing),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
