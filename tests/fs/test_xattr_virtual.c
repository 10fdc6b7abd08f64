/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/cache_scene.h"
#include "tests/cache/view/walked_view.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "fs/ops/xattr_virtual.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FLIPS 600

static struct view *view;
static struct fake_source *fake;
static struct built_catalog *nested;
static struct built_catalog *root;
static struct xattr_virtual_context context;

/*
 *	/dir/one     100 bytes
 *	/dir/two     another name of it
 *	/dir/three   50 bytes, in a frame of its own
 *	/empty, /link, /hollow/
 *	/pack/       nested
 */
static void build(void)
{
	struct catalog_builder *b = builder_new("pack");
	uint8_t data[100];

	builder_file(b, BUILDER_TOP, "inside", "inside", 6, 64);
	nested = builder_finish(b);
	b = builder_new("");
	uint32_t dir = builder_dir(b, BUILDER_TOP, "dir");

	built_fill(data, sizeof(data), 1);
	builder_frame_bytes(b, 100);
	uint32_t one = builder_file(b, dir, "one", data, 100, 100);

	builder_link(b, dir, "two", one);
	built_fill(data, sizeof(data), 2);
	builder_file(b, dir, "three", data, 50, 25);
	builder_file(b, BUILDER_TOP, "empty", "", 0, 1);
	builder_symlink(b, BUILDER_TOP, "link", "dir");
	builder_dir(b, BUILDER_TOP, "hollow");
	builder_nested(b, BUILDER_TOP, "pack", nested);
	root = builder_finish(b);
}

static int make(void **state)
{
	(void)state;
	build();
	fake = fake_source_new();
	fake_source_serve(fake, nested);
	fake_source_serve(fake, root);
	cache_make(fake_source_of(fake));
	struct view_config view_config = {.catalogs = catalogs,
		.source = fake_source_of(fake),
		.root = root->ref,
		.revision = 42,
		.fetch_deadline_ns = 120 * NS_PER_SEC};

	assert_int_equal(view_new(&view_config, &view), 0);
	assert_int_equal(view_load(view), 0);
	context = (struct xattr_virtual_context){.view = view,
		.contents = contents,
		.objects = objects,
		.source = fake_source_of(fake),
		.channel = "stable"};
	return 0;
}

static int drop(void **state)
{
	(void)state;
	assert_true(fake_source_wait_idle(fake));
	view_free(view);
	cache_drop();
	fake_source_free(fake);
	built_free(root);
	built_free(nested);
	return 0;
}

static void fetch(const char *path, uint64_t offset)
{
	struct view_node node = walk(view, path);
	struct content_file *file;
	struct content_span span;
	struct test_waiter w;

	assert_int_equal(content_open(contents, node.catalog,
				 catalog_content_of(node.catalog, node.entry), &file),
		0);
	test_waiter_init(&w);
	if (content_read(file, offset, 1, &span, &w.waiter) == -EINPROGRESS)
		assert_int_equal(test_waiter_wait(&w), 0);
	content_span_release(&span);
	test_waiter_release(&w);
	content_close(file);
	assert_true(fake_source_wait_idle(fake));
}

static void expect(const char *path, const char *name, const char *value)
{
	AUTO_BUFFER struct buffer out = BUFFER_INIT(XATTR_VIRTUAL_MAX);
	struct view_node node = walk(view, path);
	int r = xattr_virtual_get(&context, node.id, name, &out);

	if (!value) {
		assert_int_equal(r, -ENODATA);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(buffer_add_zero(&out, 1), 0);
	assert_string_equal((const char *)out.data, value);
}

static uint64_t cache_used(void)
{
	AUTO_BUFFER struct buffer out = BUFFER_INIT(64);
	struct view_node node = root_node(view);
	unsigned long long used;

	assert_int_equal(xattr_virtual_get(&context, node.id, "cache_used", &out), 0);
	assert_int_equal(buffer_add_zero(&out, 1), 0);
	assert_int_equal(io_parse_u64((const char *)out.data, &used), 0);
	return used;
}

static void a_files_state_follows_what_is_fetched(void **state)
{
	(void)state;
	expect("dir/one", "state", "remote");
	expect("dir/one", "cached_bytes", "0");
	expect("dir/one", "chunks", "0/1");
	expect("dir/one", "fetched", NULL);
	expect("dir/one", "last_access", NULL);
	fetch("dir/one", 0);
	expect("dir/one", "state", "cached");
	expect("dir/two", "state", "cached");
	expect("dir/one", "cached_bytes", "100");
	expect("dir/one", "chunks", "1/1");
	AUTO_BUFFER struct buffer out = BUFFER_INIT(64);
	struct view_node node = walk(view, "dir/one");
	int64_t when;

	assert_int_equal(xattr_virtual_get(&context, node.id, "fetched", &out), 0);
	assert_int_equal(buffer_add_zero(&out, 1), 0);
	assert_int_equal(clock_parse((const char *)out.data, &when), 0);
	assert_true(clock_real_ns() - when < 60 * NS_PER_SEC);
	out.len = 0;
	assert_int_equal(xattr_virtual_get(&context, node.id, "last_access", &out), 0);
	assert_int_equal(buffer_add_zero(&out, 1), 0);
	assert_int_equal(clock_parse((const char *)out.data, &when), 0);
	assert_true(clock_real_ns() - when < 60 * NS_PER_SEC);
}

static void an_empty_file_has_nothing_left_to_fetch(void **state)
{
	char hex[DIGEST_HEX_SIZE];
	struct digest digest;

	(void)state;
	assert_int_equal(digest_of("", 0, &digest), 0);
	digest_to_hex(&digest, hex);
	expect("empty", "state", "cached");
	expect("empty", "chunks", "0/0");
	expect("empty", "digest", hex);
	expect("hollow", "state", "cached");
}

static void a_directory_is_the_sum_of_what_is_below(void **state)
{
	(void)state;
	expect("dir", "state", "remote");
	expect("dir", "chunks", "0/3");
	fetch("dir/one", 0);
	/* its read-ahead may have brought the neighbour */
	AUTO_BUFFER struct buffer out = BUFFER_INIT(64);
	struct view_node dir = walk(view, "dir");

	assert_int_equal(xattr_virtual_get(&context, dir.id, "state", &out), 0);
	assert_memory_not_equal(out.data, "remote", out.len < 6 ? out.len : 6);
	fetch("dir/three", 0);
	fetch("dir/three", 40);
	/* the linked file once */
	expect("dir", "cached_bytes", "150");
	expect("dir", "chunks", "3/3");
	expect("dir", "state", "cached");
}

static void a_package_that_was_never_entered_is_not_called_cached(void **state)
{
	(void)state;
	expect("pack", "state", "remote");
	fetch("dir/one", 0);
	fetch("dir/three", 0);
	expect("", "state", "partial");
	assert_int_equal(fake_source_count_catalogs(fake), 1);
	fetch("pack/inside", 0);
	expect("pack", "state", "cached");
	expect("", "state", "cached");
	expect("", "cached_bytes", "156");
}

static void digests_packages_and_revisions_are_told(void **state)
{
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	digest_to_hex(&nested->ref.digest, hex);
	expect("pack", "digest", hex);
	expect("dir", "digest", NULL);
	expect("dir/one", "package", "/");
	expect("pack", "package", "pack");
	expect("pack/inside", "package", "pack");
	expect("dir/one", "revision", "42");
	expect("dir/one", "source", "fake://depot");
}

static void what_is_no_file_or_directory_has_no_state(void **state)
{
	(void)state;
	expect("link", "state", NULL);
	expect("link", "chunks", NULL);
	expect("link", "fetched", NULL);
}

static void the_roots_own_attributes_are_only_there(void **state)
{
	(void)state;
	expect("", "channel", "stable");
	expect("", "online", "yes");
	uint64_t before = cache_used();

	expect("", "cache_limit", "0");
	expect("dir", "cache_limit", NULL);
	expect("dir", "channel", NULL);
	expect("dir", "online", NULL);
	expect("dir", "cache_used", NULL);
	fetch("dir/one", 0);
	fetch("dir/three", 0);
	assert_true(cache_used() > before);
	fake_source_fail(fake, -EHOSTUNREACH);
	expect("", "online", "no");
}

static void an_unknown_attribute_is_not_there(void **state)
{
	(void)state;
	expect("", "nonsense", NULL);
	expect("", "", NULL);
	expect("dir/one", "stat", NULL);
	expect("dir/one", "state2", NULL);
}

static void without_memory_a_sum_fails_and_leaks_nothing(void **state)
{
	struct view_node node = root_node(view);
	int r = -1;

	(void)state;
	for (long n = 0; r != 0; n++) {
		AUTO_BUFFER struct buffer out = BUFFER_INIT(64);

		assert_true(n < 100);
		mem_fail_after(n);
		r = xattr_virtual_get(&context, node.id, "chunks", &out);
		mem_fail_after(-1);
		assert_true(r == 0 || r == -ENOMEM);
	}
}

static void what_the_master_has_no_more_is_stale(void **state)
{
	struct catalog_builder *b = builder_new("");
	struct view_changes *changes;

	(void)state;
	builder_stale(b, builder_file(b, BUILDER_TOP, "old", "o", 1, 64));
	uint32_t pack = builder_nested(b, BUILDER_TOP, "pack", nested);

	builder_stale(b, pack);
	builder_revision(b, pack, 17);
	builder_file(b, BUILDER_TOP, "new", "n", 1, 64);
	struct built_catalog *composed = builder_finish(b);

	built_keep(composed, catalogs);
	assert_int_equal(view_flip(view, &composed->ref, 43, &changes), 0);
	view_changes_free(changes);
	built_free(composed);
	expect("old", "state", "stale");
	expect("old", "revision", "43");
	expect("new", "state", "remote");
	expect("pack", "state", "stale");
	expect("pack", "revision", "17");
	expect("pack/inside", "state", "stale");
	expect("pack/inside", "revision", "17");
}

static atomic_bool is_enough;

static void *sum_again_and_again(void *arg)
{
	(void)arg;
	while (!atomic_load(&is_enough)) {
		AUTO_BUFFER struct buffer out = BUFFER_INIT(64);

		assert_int_equal(
			xattr_virtual_get(&context, VIEW_ROOT, "chunks", &out), 0);
	}
	return NULL;
}

/* For the thread sanitizer. */
static void what_is_being_summed_goes_with_a_flip(void **state)
{
	struct catalog_builder *b = builder_new("");
	struct view_changes *changes;
	pthread_t thread;

	(void)state;
	builder_dir(b, BUILDER_TOP, "other");
	struct built_catalog *other = builder_finish(b);

	built_keep(other, catalogs);
	atomic_store(&is_enough, false);
	assert_int_equal(pthread_create(&thread, NULL, sum_again_and_again, NULL), 0);
	for (unsigned int i = 0; i < FLIPS; i++) {
		const struct built_catalog *next = i % 2 ? root : other;

		assert_int_equal(view_flip(view, &next->ref, 43 + i, &changes), 0);
		view_changes_free(changes);
		view_reap(view);
	}
	atomic_store(&is_enough, true);
	pthread_join(thread, NULL);
	view_reap(view);
	struct view_usage usage;

	view_usage(view, &usage);
	assert_int_equal(usage.superseded, 0);
	built_free(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(a_files_state_follows_what_is_fetched),
		T(an_empty_file_has_nothing_left_to_fetch),
		T(a_directory_is_the_sum_of_what_is_below),
		T(a_package_that_was_never_entered_is_not_called_cached),
		T(digests_packages_and_revisions_are_told),
		T(what_is_no_file_or_directory_has_no_state),
		T(the_roots_own_attributes_are_only_there),
		T(an_unknown_attribute_is_not_there),
		T(without_memory_a_sum_fails_and_leaks_nothing),
		T(what_the_master_has_no_more_is_stale),
		T(what_is_being_summed_goes_with_a_flip),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
