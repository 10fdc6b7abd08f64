/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/view/flipped_view.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/epoch.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <string.h>

#define MANY_FLIPS 10000
#define READERS	   4

static void who_is_inside_the_old_package_has_it_complete(void **state)
{
	struct view_node node;
	struct view_node up;
	struct view_dir dir;

	(void)state;
	show(flipped_deep("one", "two"));
	uint64_t y = remember("top/mid/y");
	uint64_t text = remember("top/mid/y/lib/text");

	for (int i = 0; i < 40; i++)
		show(flipped_deep("one", i % 2 ? "two!" : "TWO"));
	view_reap(view);
	assert_int_equal(view_resolve(view, text, &node), 0);
	assert_true(node.entry->size == 3);
	assert_int_equal(view_resolve(view, y, &node), 0);
	assert_int_equal(view_enter(view, &node, &dir, NULL), 0);
	assert_int_equal(catalog_lookup(dir.catalog, dir.index, "lib", 3), dir.index + 1);
	/* its parent is the directory of today */
	assert_int_equal(view_parent(view, &node, &up), 0);
	assert_true(up.id == find("top/mid").id);
}

/* Somebody's working directory is in a plain directory that the new tree lacks. */
static void a_removed_directory_goes_on_for_who_is_in_it(void **state)
{
	struct catalog_builder *b = builder_new("");
	struct view_node node;
	struct view_dir dir;
	uint32_t d = builder_dir(b, BUILDER_TOP, "dir");
	uint32_t kept;

	(void)state;
	kept = builder_file(b, BUILDER_TOP, "kept", "x", 1, 64);
	builder_link(b, d, "link", kept);
	builder_file(b, d, "file", "y", 1, 64);
	show(builder_finish(b));
	uint64_t id = remember("dir");
	uint32_t slots = usage().slots;

	b = builder_new("");
	builder_file(b, BUILDER_TOP, "other", "x", 1, 64);
	show(builder_finish(b));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), 0);
	assert_int_equal(view_enter(view, &node, &dir, NULL), 0);
	/* names that nobody has looked up before */
	for (uint32_t i = 0; i < 2; i++) {
		struct view_node child;
		struct view_node up;

		assert_int_equal(
			view_child(view, &dir,
				catalog_entry(dir.catalog, dir.index)->first + i, &child),
			0);
		view_remember(&child);
		assert_int_equal(view_resolve(view, child.id, &up), 0);
		assert_ptr_equal(up.entry, child.entry);
		assert_true(view_forget(view, child.id, 1));
	}
	assert_true(view_forget(view, id, 1));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), -ESTALE);
	assert_true(usage().slots < slots);
	assert_int_equal(usage().superseded, 0);
	assert_int_equal(usage().catalogs, 1);
}

static void what_nobody_remembers_goes_and_its_number_is_told_apart(void **state)
{
	struct view_node node;

	(void)state;
	show(flipped_small("one", "two"));
	struct view_usage before = usage();
	struct view_node b = find("b/lib/text");
	uint64_t id = b.id;
	uint64_t dir = find("b").id;
	uint32_t generation = b.generation;

	view_remember(&b);
	view_remember(&b);
	show(flipped_small("one", "TWO"));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), 0);
	assert_int_equal(usage().superseded, 1);
	assert_false(view_forget(view, id, 1));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), 0);
	assert_true(view_forget(view, id, 1));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), -ESTALE);
	assert_int_equal(view_resolve(view, dir, &node), -ESTALE);
	assert_int_equal(usage().superseded, 0);
	/* the next to get the number is not taken for the former */
	struct view_node next = find("b/lib/text");

	assert_true(next.id == id);
	assert_true(next.generation != generation);
	assert_int_equal(usage().slots, before.slots + 1);
}

static size_t listed_superseded(void)
{
	struct view_changes *list;

	assert_int_equal(view_list_superseded(view, &list), 0);
	size_t count = list->count;

	view_changes_free(list);
	return count;
}

static void only_names_that_the_kernel_was_told_are_listed_again(void **state)
{
	struct view_node node;
	struct view_node child;
	struct view_dir dir;

	(void)state;
	show(flipped_small("one", "two"));
	uint64_t b = remember("b");

	(void)find("b/lib");
	show(flipped_small("one", "TWO"));
	assert_int_equal(usage().superseded, 1);
	assert_int_equal(view_resolve(view, b, &node), 0);
	assert_int_equal(view_enter(view, &node, &dir, NULL), 0);
	(void)listed_superseded();
	assert_int_equal(listed_superseded(), 0);
	/* somebody in this process looks */
	assert_int_equal(view_child(view, &dir, dir.index + 1, &child), 0);
	assert_int_equal(listed_superseded(), 0);
	view_note_names(&dir);
	assert_true(listed_superseded() > 0);
	assert_int_equal(listed_superseded(), 0);
	assert_true(view_forget(view, b, 1));
	view_reap(view);
	assert_int_equal(usage().superseded, 0);
}

static void an_answer_that_is_on_its_way_keeps_what_it_names(void **state)
{
	struct view_node node;

	(void)state;
	show(flipped_small("one", "two"));
	uint64_t id = remember("b/lib");

	show(flipped_small("one", "TWO"));
	assert_true(view_forget(view, id, 1));
	/* found before it was let go, told afterwards */
	assert_int_equal(view_resolve(view, id, &node), 0);
	view_remember(&node);
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), 0);
	assert_true(view_forget(view, id, 1));
	view_reap(view);
	assert_int_equal(view_resolve(view, id, &node), -ESTALE);
}

static void a_flip_overtakes_a_fetch(void **state)
{
	struct built_catalog *roots[2];
	struct built_catalog *packs[2];
	struct view_node node;
	struct test_waiter w;
	struct view_dir dir;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct catalog_builder *p = builder_new("p");
		struct catalog_builder *r = builder_new("");

		builder_file(p, BUILDER_TOP, i ? "new" : "old", "x", 1, 64);
		packs[i] = builder_finish(p);
		fake_source_serve(fake, packs[i]);
		builder_nested(r, BUILDER_TOP, "p", packs[i]);
		roots[i] = builder_finish(r);
	}
	show(roots[0]);
	node = find("p");
	fake_source_hold(fake);
	test_waiter_init(&w);
	assert_int_equal(view_enter(view, &node, &dir, &w.waiter), -EINPROGRESS);
	show(roots[1]);
	fake_source_release(fake);
	assert_int_equal(test_waiter_wait(&w), 0);
	test_waiter_release(&w);
	/* who was woken asks again, and is shown the new one only */
	test_waiter_init(&w);
	node = find("p");
	assert_int_equal(view_enter(view, &node, &dir, &w.waiter), -EINPROGRESS);
	assert_int_equal(test_waiter_wait(&w), 0);
	test_waiter_release(&w);
	(void)find("p/new");
	assert_int_equal(flipped_try("p/old", &node), -ENOENT);
	built_free(packs[0]);
	built_free(packs[1]);
}

static struct built_catalog *package_of(const char *path, const char *name)
{
	struct catalog_builder *b = builder_new(path);

	builder_file(b, BUILDER_TOP, name, name, strlen(name), 64);
	return builder_finish(b);
}

static int enter_by_number(uint64_t id, struct test_waiter *w)
{
	struct view_node node;
	struct view_dir dir;

	test_waiter_init(w);
	assert_int_equal(view_resolve(view, id, &node), 0);
	return view_enter(view, &node, &dir, &w->waiter);
}

static void a_fetch_that_fails_behind_a_flip_is_no_error_for_who_waits(void **state)
{
	struct built_catalog *old = package_of("p", "old");
	struct built_catalog *new = package_of("p", "new");
	struct built_catalog *same = package_of("same", "x");
	struct built_catalog *gone = package_of("gone", "x");
	struct catalog_builder *roots[] = {builder_new(""), builder_new("")};
	struct test_waiter waiters[3];
	uint64_t ids[3];

	(void)state;
	nest(roots[0], BUILDER_TOP, "p", old);
	nest(roots[0], BUILDER_TOP, "same", same);
	nest(roots[0], BUILDER_TOP, "gone", gone);
	nest(roots[1], BUILDER_TOP, "p", new);
	nest(roots[1], BUILDER_TOP, "same", same);
	show(builder_finish(roots[0]));
	ids[0] = remember("p");
	ids[1] = remember("same");
	ids[2] = remember("gone");
	fake_source_hold(fake);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		assert_int_equal(enter_by_number(ids[i], &waiters[i]), -EINPROGRESS);
	show(builder_finish(roots[1]));
	/* the depot has the old ones no more, or nobody answers */
	fake_source_fail(fake, -EHOSTUNREACH);
	fake_source_release(fake);
	assert_int_equal(test_waiter_wait(&waiters[0]), 0);
	assert_int_equal(test_waiter_wait(&waiters[1]), 0);
	assert_int_equal(test_waiter_wait(&waiters[2]), -ESTALE);
	assert_true(fake_source_wait_idle(fake));
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		test_waiter_release(&waiters[i]);
	/* who looks again is told of what counts now */
	assert_int_equal(enter_by_number(ids[1], &waiters[1]), -EINPROGRESS);
	assert_int_equal(test_waiter_wait(&waiters[1]), -EHOSTUNREACH);
	test_waiter_release(&waiters[1]);
	fake_source_fail(fake, 0);
	fake_source_serve(fake, new);
	assert_int_equal(enter_by_number(ids[0], &waiters[0]), -EINPROGRESS);
	assert_int_equal(test_waiter_wait(&waiters[0]), 0);
	test_waiter_release(&waiters[0]);
	(void)find("p/new");
	built_free(old);
	built_free(new);
	built_free(same);
	built_free(gone);
}

static void without_memory_nothing_flips_and_the_next_try_does(void **state)
{
	struct built_catalog *root;
	int r = -1;

	(void)state;
	show(flipped_deep("one", "two"));
	remember("top/mid");
	uint64_t x = remember("top/mid/x/lib/text");
	uint64_t y = remember("top/mid/y");

	remember("top/mid/y/lib");
	root = keep(flipped_deep("one", "TWO"));
	for (long n = 0; r != 0; n++) {
		struct view_changes *list = NULL;

		assert_true(n < 1000);
		mem_fail_after(n);
		r = view_flip(view, &root->ref, 2, &list);
		mem_fail_after(-1);
		if (r == 0) {
			view_changes_free(list);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_true(find("top/mid/y").id == y);
		assert_int_equal(usage().superseded, 0);
	}
	assert_true(find("top/mid/x/lib/text").id == x);
	assert_true(find("top/mid/y").id != y);
	built_free(root);
}

/* A night of a busy master, and a kernel that looks at everything and forgets it again. */
static void ten_thousand_flips_leave_memory_as_it_was(void **state)
{
	struct catalog_ref refs[4];
	size_t bytes = 0;
	struct view_usage before = {0};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct built_catalog *root =
			flipped_deep(i & 1 ? "one" : "ONE", i & 2 ? "two" : "TWO");

		refs[i] = root->ref;
		if (i == 0)
			show(root);
		else
			built_free(keep(root));
	}
	for (int i = 0; i < MANY_FLIPS; i++) {
		static const char *const paths[] = {"top", "top/mid", "top/mid/x",
			"top/mid/x/lib/text", "top/mid/y", "top/mid/y/lib/text"};
		uint64_t ids[ARRAY_SIZE(paths)];
		struct view_changes *list;

		for (size_t k = 0; k < ARRAY_SIZE(paths); k++)
			ids[k] = remember(paths[k]);
		assert_int_equal(
			view_flip(view, &refs[(unsigned int)i % 4], 2, &list), 0);
		view_changes_free(list);
		for (size_t k = 0; k < ARRAY_SIZE(paths); k++)
			(void)view_forget(view, ids[k], 1);
		view_reap(view);
		if (i == 103) {
			bytes = mallinfo2().uordblks;
			before = usage();
		}
	}
	struct view_usage after = usage();

	assert_int_equal(after.superseded, 0);
	assert_int_equal(after.slots, before.slots);
	assert_int_equal(after.catalogs, before.catalogs);
	assert_true(mallinfo2().uordblks < bytes + 16 * 1024);
}

static atomic_bool must_end;
static atomic_uint wrong;

/* Looks the same path up again and again, as the kernel would, and remembers some of it. */
static void *read_along(void *arg)
{
	unsigned int *rounds = arg;

	while (!atomic_load(&must_end)) {
		AUTO_EPOCH epoch = epoch_enter();
		struct view_node node;
		struct view_node up;
		bool is_text = ++*rounds % 2;
		int r = flipped_try(is_text ? "top/mid/y/lib/text" : "top/mid/x", &node);

		if (r == -ERESTART)
			continue;
		if (r < 0 || (is_text && node.entry->size != 3)) {
			atomic_fetch_add(&wrong, 1);
			continue;
		}
		view_remember(&node);
		r = view_resolve(view, node.id, &up);
		if (r < 0)
			atomic_fetch_add(&wrong, 1);
		r = view_parent(view, &node, &up);
		if (r < 0 && r != -ERESTART)
			atomic_fetch_add(&wrong, 1);
		(void)view_revision(view, &node);
		(void)view_forget(view, node.id, 1);
	}
	return NULL;
}

static void readers_and_flips_do_not_disturb_each_other(void **state)
{
	struct catalog_ref refs[2];
	pthread_t readers[READERS];
	unsigned int rounds[READERS] = {0, 1, 2, 3};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct built_catalog *root = flipped_deep("one", i ? "two" : "TWO");

		refs[i] = root->ref;
		if (i == 0)
			show(root);
		else
			built_free(keep(root));
	}
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(
			pthread_create(&readers[i], NULL, read_along, &rounds[i]), 0);
	for (unsigned int i = 0; i < 150; i++) {
		struct view_changes *list = NULL;

		if (view_flip(view, &refs[(i + 1) % 2], i, &list) < 0)
			atomic_fetch_add(&wrong, 1);
		view_changes_free(list);
		view_reap(view);
	}
	atomic_store(&must_end, true);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	view_reap(view);
	assert_int_equal(usage().superseded, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, flipped_make, flipped_drop)
	const struct CMUnitTest tests[] = {
		T(who_is_inside_the_old_package_has_it_complete),
		T(a_removed_directory_goes_on_for_who_is_in_it),
		T(what_nobody_remembers_goes_and_its_number_is_told_apart),
		T(only_names_that_the_kernel_was_told_are_listed_again),
		T(an_answer_that_is_on_its_way_keeps_what_it_names),
		T(a_flip_overtakes_a_fetch),
		T(a_fetch_that_fails_behind_a_flip_is_no_error_for_who_waits),
		T(without_memory_nothing_flips_and_the_next_try_does),
		T(ten_thousand_flips_leave_memory_as_it_was),
		T(readers_and_flips_do_not_disturb_each_other),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
