/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is asked for ahead of who goes from package to package: over a source that notes what it is asked
 * for, and by a clock that stands still.
 */
#include "tests/cache/cache_scene.h"

#include "cache/base/threads/clock.h"
#include "cache/base/threads/epoch.h"
#include "cache/content/fetch/ahead.h"
#include "cache/view/view.h"
#include "fs/session/onward.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KIB   UINT64_C(1024)
#define MIB   (1024 * KIB)
#define CHUNK (64 * 1024)
#define MOST  48

static struct fake_source *fake; /* of the catalogs */
static struct built_catalog *packages[MOST];
static struct built_catalog
	*others[2]; /* another version of a package, and the root with it */
static struct built_catalog *root;
static size_t package_count;
static uint32_t frame_bytes; /* of the packages that are added */
static struct view *view;
static struct onward_walks walks;
static atomic_bool is_ending;
static bool is_held; /* the background */
static struct frame_request *asked[MOST];
static size_t asked_count;
static struct mutex asked_lock; /* of both, where two threads ask */
static void (*on_asked)(void);	/* NULL: nothing happens then */
static int64_t now_ns;

static void note_frames(struct source *source, struct frame_request *rq)
{
	(void)source;
	mutex_lock(&asked_lock);
	assert_true(asked_count < MOST);
	asked[asked_count++] = rq;
	mutex_unlock(&asked_lock);
	if (on_asked)
		on_asked();
}

static void fetch_catalog(struct source *source, struct catalog_request *rq)
{
	(void)source;
	source_fetch_catalog(fake_source_of(fake), rq);
}

static bool is_background_free(struct source *source)
{
	(void)source;
	return !is_held;
}

static const struct source_ops noting_ops = {.fetch_frames = note_frames,
	.fetch_catalog = fetch_catalog,
	.is_background_free = is_background_free};
static struct source noting = {.ops = &noting_ops};

static int make(void **state)
{
	(void)state;
	fake = fake_source_new();
	cache_make(&noting);
	package_count = 0;
	frame_bytes = FRAME_MAX_BYTES;
	atomic_store(&is_ending, false);
	is_held = false;
	on_asked = NULL;
	now_ns = NS_PER_SEC;
	clock_fake(now_ns);
	mutex_init(&asked_lock);
	return 0;
}

static void let_go(void)
{
	for (size_t i = 0; i < asked_count; i++)
		asked[i]->done(asked[i], -ECANCELED);
	asked_count = 0;
}

static int drop(void **state)
{
	(void)state;
	clock_fake(0);
	let_go();
	fake_source_release(fake);
	(void)fake_source_wait_idle(fake);
	content_store_let_go(contents);
	view_free(view);
	view = NULL;
	cache_drop();
	fake_source_free(fake);
	for (size_t i = 0; i < package_count; i++)
		built_free(packages[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		built_free(others[i]);
		others[i] = NULL;
	}
	built_free(root);
	root = NULL;
	mutex_release(&asked_lock);
	return 0;
}

static void path_of(size_t i, char path[8])
{
	(void)snprintf(path, 8, "p%02zu", i);
}

/* One file that does not compress; of 0 bytes: nothing is to be fetched. */
static struct built_catalog *build_package(size_t i, uint64_t bytes, unsigned int seed)
{
	static uint8_t data[8 * MIB];
	char path[8];

	assert_true(bytes <= sizeof(data));
	path_of(i, path);
	struct catalog_builder *b = builder_new(path);

	if (bytes) {
		built_fill(data, bytes, seed);
		builder_frame_bytes(b, frame_bytes);
		builder_file(b, BUILDER_TOP, "file", data, bytes,
			frame_bytes < CHUNK ? frame_bytes : CHUNK);
	}
	return builder_finish(b);
}

static struct built_catalog *build_root(void)
{
	struct catalog_builder *b = builder_new("");
	char path[8];

	for (size_t i = 0; i < package_count; i++) {
		path_of(i, path);
		builder_nested(b, BUILDER_TOP, path, packages[i]);
	}
	return builder_finish(b);
}

static void add_packages(size_t count, uint64_t bytes)
{
	assert_true(package_count + count <= MOST);
	for (size_t n = 0; n < count; n++) {
		packages[package_count] = build_package(
			package_count, bytes, (unsigned int)package_count + 1);
		package_count++;
	}
}

/* Shows the packages; the catalogs of the first `here` are on this machine. */
static void show(size_t here)
{
	root = build_root();
	built_keep(root, catalogs);
	for (size_t i = 0; i < package_count; i++) {
		fake_source_serve(fake, packages[i]);
		if (i < here)
			built_keep(packages[i], catalogs);
	}
	const struct view_config config = {.catalogs = catalogs,
		.source = &noting,
		.root = root->ref,
		.fetch_deadline_ns = 120 * NS_PER_SEC};

	assert_int_equal(view_new(&config, &view), 0);
	assert_int_equal(view_load(view), 0);
	fake_source_hold(fake);
	walks = (struct onward_walks){
		.view = view, .contents = contents, .is_ending = &is_ending};
}

static void show_all(void)
{
	show(package_count);
}

/* Somebody goes through a package, so long after the one before. */
static void come_after(int64_t ms, size_t i)
{
	char path[8];

	now_ns += ms * NS_PER_MS;
	clock_fake(now_ns);
	path_of(i, path);
	onward_walks_go_on(&walks, path);
}

static void come(size_t i)
{
	come_after(1, i);
}

static uint64_t asked_bytes_of(const struct built_catalog *package)
{
	uint64_t bytes = 0;

	for (size_t n = 0; n < asked_count; n++) {
		if (!digest_equal(&asked[n]->pack, &package->pack))
			continue;
		for (size_t k = 0; k < asked[n]->frame_count; k++)
			bytes += asked[n]->frames[k].stored_bytes;
	}
	return bytes;
}

/* Whether of [first, end) all is asked for, and of the others nothing. */
static void expect_asked(size_t first, size_t end, uint64_t bytes)
{
	for (size_t i = 0; i < package_count; i++)
		assert_int_equal(
			asked_bytes_of(packages[i]), i >= first && i < end ? bytes : 0);
}

/* Lets those come that are asked for, not before. So many were so far. */
static void expect_catalogs(unsigned int count)
{
	clock_fake(0); /* who waits goes by it */
	fake_source_release(fake);
	assert_true(fake_source_wait_idle(fake));
	fake_source_hold(fake);
	clock_fake(now_ns);
	assert_int_equal(fake_source_count_catalogs(fake), count);
}

static void two_packages_in_a_row_are_a_walk(void **state)
{
	(void)state;
	add_packages(16, 64 * KIB);
	show_all();
	come(0);
	assert_int_equal(asked_count, 0);
	come(1);
	/* four times as much as was gone through, in order */
	expect_asked(2, 10, 64 * KIB);
	for (size_t i = 0; i < asked_count; i++) {
		assert_true(digest_equal(&asked[i]->pack, &packages[i + 2]->pack));
		assert_int_equal(asked[i]->class, FETCH_READ_AHEAD);
	}
}

/* What was asked for and not come to yet counts. */
static void a_walk_goes_on_as_far_as_before(void **state)
{
	(void)state;
	add_packages(24, 64 * KIB);
	show_all();
	come(0);
	come(1);
	come(2);
	expect_asked(2, 15, 64 * KIB);
	come(3);
	expect_asked(2, 20, 64 * KIB);
}

static void packages_in_another_order_are_no_walk(void **state)
{
	static const size_t order[] = {9, 8, 7, 5, 2, 0};

	(void)state;
	add_packages(12, 64 * KIB);
	show_all();
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		come(order[i]);
	assert_int_equal(asked_count, 0);
}

static void it_is_no_more_than_what_comes_in_8_seconds(void **state)
{
	(void)state;
	add_packages(24, 64 * KIB);
	show_all();
	come(0);
	come_after(4000, 1);
	expect_asked(2, 4, 64 * KIB);
	/* by the pace of the last one, not of all of them */
	come_after(4000, 2);
	expect_asked(2, 5, 64 * KIB);
	come(3);
	expect_asked(2, 20, 64 * KIB);
	come_after(100000, 4);
	expect_asked(2, 20, 64 * KIB);
}

/* Out of a part of the tree that is here, into one that is not. */
static void what_was_here_says_nothing_of_the_line(void **state)
{
	(void)state;
	add_packages(3, 64 * KIB);
	for (size_t i = 3; i < 10; i++) /* all of it comes with the one before */
		packages[package_count++] = build_package(i, 64 * KIB, 3);
	add_packages(12, 64 * KIB);
	show_all();
	come(0);
	come_after(3999, 1);
	expect_asked(2, 11, 64 * KIB);
	come_after(3999, 2);
	expect_asked(2, 12, 64 * KIB);
	come_after(3999, 3);
	for (size_t i = 4; i < 10; i++)
		come(i);
	expect_asked(2, 12, 64 * KIB);
	/* by the pace of what was fetched last */
	come_after(3999, 10);
	expect_asked(2, 13, 64 * KIB);
	come_after(1999, 11);
	expect_asked(2, 16, 64 * KIB);
}

/* Who reads it fetches the rest of it himself. */
static void what_was_asked_for_in_part_tells_of_the_line_too(void **state)
{
	(void)state;
	add_packages(8, MIB);
	show_all();
	come(0);
	for (size_t i = 1; i < 4; i++) {
		come_after(31999, i);
		assert_int_equal(asked_bytes_of(packages[i + 1]), 256 * KIB);
	}
	/* which is faster now */
	come_after(3999, 4);
	assert_int_equal(asked_bytes_of(packages[5]), MIB);
	assert_int_equal(asked_bytes_of(packages[6]), MIB);
	assert_int_equal(asked_bytes_of(packages[7]), 0);
}

static void it_is_no_more_than_16_mib(void **state)
{
	(void)state;
	add_packages(10, 4 * MIB);
	show_all();
	come(0);
	come(1);
	expect_asked(2, 6, 4 * MIB);
	come(2);
	expect_asked(2, 7, 4 * MIB);
}

static void it_is_no_more_than_16_packages(void **state)
{
	(void)state;
	add_packages(2, MIB);
	add_packages(24, 4 * KIB);
	show_all();
	come(0);
	come(1);
	expect_asked(2, 18, 4 * KIB);
	come(2);
	expect_asked(2, 19, 4 * KIB);
}

/* Parallel readers, of whom the first are packages further. */
static void a_package_that_was_gone_through_begins_no_other_walk(void **state)
{
	(void)state;
	add_packages(20, 2 * MIB);
	show_all();
	for (size_t i = 0; i < 3; i++)
		come(i);
	expect_asked(2, 11, 2 * MIB);
	size_t before = asked_count;

	for (size_t i = 0; i < 3; i++)
		come(i);
	assert_int_equal(asked_count, before);
	/* the walk has not ended by it */
	come(3);
	assert_true(asked_count > before);
	/* much later it is somebody else */
	let_go();
	come_after(61000, 0);
	come(1);
	assert_true(asked_count > 0);
}

static void four_walks_go_on_side_by_side(void **state)
{
	(void)state;
	add_packages(40, 64 * KIB);
	show_all();
	for (size_t step = 0; step < 2; step++)
		for (size_t walk = 0; walk < 4; walk++)
			come(walk * 10 + step);
	for (size_t walk = 0; walk < 4; walk++)
		assert_true(asked_bytes_of(packages[walk * 10 + 2]) > 0);
}

static void of_five_the_one_who_came_first_is_forgotten(void **state)
{
	(void)state;
	add_packages(40, 64 * KIB);
	show_all();
	for (size_t walk = 0; walk < 5; walk++)
		come(walk * 8);
	come(1);
	assert_int_equal(asked_count, 0);
	come(33);
	assert_true(asked_bytes_of(packages[34]) > 0);
}

/* A later version has less of the same frames than the earlier one needs. */
static void beyond_a_package_of_which_not_all_is_asked_for_nothing_is(void **state)
{
	(void)state;
	add_packages(3, 64 * KIB);
	add_packages(1, MIB);
	add_packages(4, 64 * KIB);
	show_all();
	come(0);
	come(1);
	assert_int_equal(asked_bytes_of(packages[2]), 64 * KIB);
	assert_int_equal(asked_bytes_of(packages[3]), 512 * KIB);
	come(2);
	assert_int_equal(asked_count, 2);
	/* who reads in it asks for the rest of it himself */
	come(3);
	assert_int_equal(asked_bytes_of(packages[4]), 64 * KIB);
}

/* As many frames as a reader reads ahead, though they are small. */
static void so_it_is_beyond_a_package_of_very_many_frames(void **state)
{
	(void)state;
	add_packages(2, MIB);
	frame_bytes = KIB;
	add_packages(1, 200 * KIB);
	frame_bytes = FRAME_MAX_BYTES;
	add_packages(2, 64 * KIB);
	show_all();
	come(0);
	come(1);
	assert_int_equal(asked_bytes_of(packages[2]), AHEAD_FRAMES * KIB);
	assert_int_equal(asked_bytes_of(packages[3]), 0);
}

/* Nobody is seen going through them. */
static void packages_of_which_nothing_is_fetched_are_passed_over(void **state)
{
	(void)state;
	add_packages(1, 64 * KIB);
	add_packages(2, 0);
	add_packages(1, 64 * KIB);
	add_packages(1, 0);
	add_packages(1, 64 * KIB);
	add_packages(20, 0);
	add_packages(1, 64 * KIB);
	show_all();
	come(0);
	come(3);
	assert_int_equal(asked_count, 1);
	assert_int_equal(asked_bytes_of(packages[5]), 64 * KIB);
	/* but not any number of them */
	come(5);
	assert_int_equal(asked_count, 1);
}

static void who_takes_one_package_causes_no_other_catalog_to_be_fetched(void **state)
{
	(void)state;
	add_packages(8, 64 * KIB);
	show(1);
	come(0);
	expect_catalogs(0);
}

static void a_catalog_that_is_not_here_is_fetched_for_the_next_time(void **state)
{
	(void)state;
	add_packages(8, 64 * KIB);
	show(3);
	come(0);
	come(1);
	assert_int_equal(asked_bytes_of(packages[2]), 64 * KIB);
	assert_int_equal(asked_count, 1);
	expect_catalogs(1);
	come(2);
	assert_int_equal(asked_bytes_of(packages[3]), 64 * KIB);
	expect_catalogs(2);
}

static void while_the_background_is_held_nothing_is_fetched(void **state)
{
	(void)state;
	add_packages(8, 64 * KIB);
	show(4);
	is_held = true;
	come(0);
	come(1);
	come(2);
	come(3);
	assert_int_equal(asked_count, 0);
	expect_catalogs(0);
	/* it is the same walk still */
	is_held = false;
	built_keep(packages[4], catalogs);
	come(4);
	expect_catalogs(1);
}

static void when_the_session_ends_no_further_package_is_asked_for(void **state)
{
	(void)state;
	add_packages(8, 64 * KIB);
	show_all();
	come(0);
	atomic_store(&is_ending, true);
	come(1);
	expect_asked(2, 3, 64 * KIB);
}

/* Somebody who flips waits for those who look at the view. */
static struct {
	pthread_t thread;
	unsigned int asked;
	atomic_bool is_waiting;
	atomic_bool is_over;
	bool was_over; /* while packages were asked for still */
} flip;

static void *wait_for_readers(void *arg)
{
	(void)arg;
	atomic_store(&flip.is_waiting, true);
	epoch_wait();
	atomic_store(&flip.is_over, true);
	return NULL;
}

static void wait_at_the_first(void)
{
	if (flip.asked++ == 0) {
		assert_int_equal(
			pthread_create(&flip.thread, NULL, wait_for_readers, NULL), 0);
		while (!atomic_load(&flip.is_waiting))
			pause_ms(1);
		pause_ms(50); /* who enters from now on is not waited for */
	} else {
		/* it may have been slow to begin, and wait for the second one */
		for (int i = 0; i < 20000 && !atomic_load(&flip.is_over); i++)
			pause_ms(1);
		flip.was_over = atomic_load(&flip.is_over);
	}
}

static void a_flip_waits_for_one_package_not_for_all(void **state)
{
	(void)state;
	add_packages(8, 64 * KIB);
	show_all();
	come(0);
	on_asked = wait_at_the_first;
	come(1);
	on_asked = NULL;
	assert_true(flip.asked > 2);
	assert_int_equal(pthread_join(flip.thread, NULL), 0);
	assert_true(flip.was_over);
}

static void a_package_that_a_flip_has_changed_is_asked_for(void **state)
{
	struct view_changes *changes;

	(void)state;
	add_packages(12, 64 * KIB);
	show_all();
	come(0);
	come(1);
	expect_asked(2, 10, 64 * KIB);
	struct built_catalog *before = packages[3];

	others[0] = build_package(3, 64 * KIB, 100);
	packages[3] = others[0];
	others[1] = build_root();
	packages[3] = before;
	built_keep(others[0], catalogs);
	built_keep(others[1], catalogs);
	assert_int_equal(view_flip(view, &others[1]->ref, 2, &changes), 0);
	come(2);
	assert_int_equal(asked_bytes_of(others[0]), 64 * KIB);
	view_changes_free(changes);
}

static void who_goes_through_no_package_is_not_followed(void **state)
{
	(void)state;
	add_packages(4, 64 * KIB);
	show_all();
	onward_walks_go_on(&walks, "");
	onward_walks_go_on(&walks, "none");
	come(3); /* behind it is nothing */
	come(3);
	assert_int_equal(asked_count, 0);
}

static pthread_t reader;
static atomic_bool is_blocked;
static atomic_bool may_go_on;

static void block_who_goes_on(void)
{
	if (pthread_equal(pthread_self(), reader))
		return;
	atomic_store(&is_blocked, true);
	while (!atomic_load(&may_go_on))
		(void)usleep(1000);
}

/* As a reader does of whom the store tells. */
static void go_through(size_t i)
{
	AUTO_EPOCH epoch = epoch_enter();
	struct view_package package;
	const struct catalog *c;
	uint64_t bytes;
	char path[8];

	path_of(i, path);
	assert_int_equal(view_find_package(view, path, strlen(path), &package), 0);
	assert_int_equal(view_package_catalog(view, &package, false, &c), 0);
	assert_true(content_expect(contents, c, MIB, &bytes));
	content_touch(contents, c, &c->contents[0]);
}

static size_t waiting(struct onward *o)
{
	mutex_lock(&o->lock);
	size_t count = o->count;

	mutex_unlock(&o->lock);
	return count;
}

/* It reads a catalog from a slow disk, say. */
static void of_those_that_come_meanwhile_8_wait(void **state)
{
	struct onward o;

	(void)state;
	add_packages(40, 4 * KIB);
	show_all();
	reader = pthread_self();
	atomic_store(&is_blocked, false);
	atomic_store(&may_go_on, false);
	on_asked = block_who_goes_on;
	assert_int_equal(onward_init(&o, view, contents), 0);
	go_through(0);
	go_through(1);
	while (!atomic_load(&is_blocked))
		(void)usleep(1000);
	assert_int_equal(waiting(&o), 0);
	for (size_t i = 0; i < 2 * ONWARD_QUEUED; i++) {
		go_through(20 + i);
		assert_int_equal(waiting(&o), i < ONWARD_QUEUED ? i + 1 : ONWARD_QUEUED);
	}
	atomic_store(&may_go_on, true);
	while (waiting(&o))
		(void)usleep(1000);
	onward_stop(&o);
	/* from then on nobody is listened to */
	go_through(10);
	assert_int_equal(waiting(&o), 0);
	onward_release(&o);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(two_packages_in_a_row_are_a_walk),
		T(a_walk_goes_on_as_far_as_before),
		T(packages_in_another_order_are_no_walk),
		T(it_is_no_more_than_what_comes_in_8_seconds),
		T(what_was_here_says_nothing_of_the_line),
		T(what_was_asked_for_in_part_tells_of_the_line_too),
		T(it_is_no_more_than_16_mib),
		T(it_is_no_more_than_16_packages),
		T(a_package_that_was_gone_through_begins_no_other_walk),
		T(four_walks_go_on_side_by_side),
		T(of_five_the_one_who_came_first_is_forgotten),
		T(beyond_a_package_of_which_not_all_is_asked_for_nothing_is),
		T(so_it_is_beyond_a_package_of_very_many_frames),
		T(packages_of_which_nothing_is_fetched_are_passed_over),
		T(who_takes_one_package_causes_no_other_catalog_to_be_fetched),
		T(a_catalog_that_is_not_here_is_fetched_for_the_next_time),
		T(while_the_background_is_held_nothing_is_fetched),
		T(when_the_session_ends_no_further_package_is_asked_for),
		T(a_flip_waits_for_one_package_not_for_all),
		T(a_package_that_a_flip_has_changed_is_asked_for),
		T(who_goes_through_no_package_is_not_followed),
		T(of_those_that_come_meanwhile_8_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
