/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who waits for the thread that asks for the next packages.
 */
#include "tests/fs/packages_scene.h"

#include "cache/base/threads/epoch.h"
#include "cache/content/content.h"
#include "fs/session/onward.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

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
#define T(name) cmocka_unit_test_setup_teardown(name, packages_make, packages_drop)
	const struct CMUnitTest tests[] = {
		T(of_those_that_come_meanwhile_8_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
