/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/reconcile/model.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "sync/reconcile/plan/catalog_loader.h"
#include "sync/reconcile/plan/catalog_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define CATALOGS 100

static struct scratch scratch;
static struct catalog_store *store;
static struct fake_source *fake;
static struct built_catalog *built[CATALOGS];
static struct catalog_loader *loader;
static atomic_bool is_cancelled;

static void open_loader(struct source *source, int64_t timeout_ns)
{
	struct catalog_loader_config config = {.catalogs = store,
		.source = source,
		.is_cancelled = &is_cancelled,
		.timeout_ns = timeout_ns};

	assert_int_equal(catalog_loader_new(&config, &loader), 0);
}

static int make(void **state)
{
	(void)state;
	scratch_make(&scratch);
	assert_int_equal(catalog_store_open(scratch.fd, &store), 0);
	fake = fake_source_new();
	for (unsigned int i = 0; i < CATALOGS; i++) {
		char path[16];

		(void)snprintf(path, sizeof(path), "p%u", i);
		built[i] = builder_finish(builder_new(path));
		fake_source_serve(fake, built[i]);
	}
	atomic_store(&is_cancelled, false);
	open_loader(fake_source_of(fake), 20 * NS_PER_SEC);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	catalog_loader_free(loader);
	fake_source_free(fake);
	catalog_store_free(store);
	for (unsigned int i = 0; i < CATALOGS; i++)
		built_free(built[i]);
	scratch_remove(&scratch);
	return 0;
}

static void reopen(struct source *source, int64_t timeout_ns)
{
	catalog_loader_free(loader);
	open_loader(source, timeout_ns);
}

static int get(unsigned int i)
{
	struct catalog *c;
	int r = catalog_loader_get(loader, &built[i]->ref, &c);

	if (r == 0) {
		assert_int_equal(c->map_bytes, built[i]->len);
		assert_memory_equal(c->header, built[i]->data, built[i]->len);
		catalog_close(c);
	}
	return r;
}

static void what_is_not_here_is_fetched_once_and_kept(void **state)
{
	(void)state;
	assert_int_equal(get(0), 0);
	assert_int_equal(get(0), 0);
	assert_true(catalog_store_has(store, &built[0]->ref.digest));
	assert_int_equal(catalog_loader_want(loader, &built[0]->ref), 0);
	reopen(fake_source_of(fake), NS_PER_SEC);
	assert_int_equal(get(0), 0);
	assert_int_equal(fake_source_count_catalogs(fake), 1);
}

static void many_are_under_way_at_once_but_no_more_than_the_window(void **state)
{
	struct source_status status;

	(void)state;
	fake_source_hold(fake);
	for (unsigned int i = 0; i < CATALOGS; i++)
		assert_int_equal(catalog_loader_want(loader, &built[i]->ref), 0);
	assert_true(fake_source_wait_held(fake, CATALOG_LOADER_WINDOW));
	source_status(fake_source_of(fake), &status);
	assert_int_equal(status.requests, CATALOG_LOADER_WINDOW);
	fake_source_release(fake);
	for (unsigned int i = CATALOGS; i; i--)
		assert_int_equal(get(i - 1), 0);
	assert_int_equal(fake_source_count_catalogs(fake), CATALOGS);
}

static void what_fails_is_not_tried_again(void **state)
{
	struct built_catalog *other = builder_finish(builder_new("other"));
	struct catalog *c;

	(void)state;
	assert_int_equal(catalog_loader_get(loader, &other->ref, &c), -ENOENT);
	assert_int_equal(catalog_loader_get(loader, &other->ref, &c), -ENOENT);
	assert_int_equal(fake_source_count_catalogs(fake), 1);
	fake_source_fail(fake, -EHOSTUNREACH);
	assert_int_equal(get(0), -EHOSTUNREACH);
	fake_source_fail(fake, 0);
	assert_int_equal(get(1), 0);
	built_free(other);
}

static void offline_only_what_is_here_can_be_had(void **state)
{
	(void)state;
	assert_int_equal(get(0), 0);
	reopen(NULL, NS_PER_SEC);
	assert_int_equal(get(0), 0);
	assert_int_equal(catalog_loader_want(loader, &built[1]->ref), 0);
	assert_int_equal(get(1), -EHOSTUNREACH);
}

static void a_wait_ends_at_its_deadline(void **state)
{
	int64_t began_ns = clock_mono_ns();

	(void)state;
	reopen(fake_source_of(fake), 300 * NS_PER_MS);
	fake_source_hold(fake);
	assert_int_equal(get(0), -ETIMEDOUT);
	assert_true(clock_mono_ns() - began_ns >= 300 * NS_PER_MS);
	/* what was under way lands, though the loader is gone */
	reopen(NULL, NS_PER_SEC);
	fake_source_release(fake);
	assert_true(fake_source_wait_idle(fake));
	assert_int_equal(get(0), 0);
}

static void *cancel_soon(void *arg)
{
	(void)arg;
	if (fake_source_wait_held(fake, 1))
		atomic_store(&is_cancelled, true);
	return NULL;
}

static void a_wait_can_be_cancelled(void **state)
{
	pthread_t thread;

	(void)state;
	fake_source_hold(fake);
	assert_int_equal(thread_start(&thread, "cancel", cancel_soon, NULL), 0);
	assert_int_equal(get(0), -ECANCELED);
	pthread_join(thread, NULL);
}

static void what_the_disk_does_not_take_is_handed_over_from_memory(void **state)
{
	(void)state;
	/* the store holds a directory that is no more: nothing can be made in it */
	assert_int_equal(unlinkat(scratch.fd, "catalog", AT_REMOVEDIR), 0);
	assert_int_equal(catalog_loader_want(loader, &built[0]->ref), 0);
	assert_int_equal(get(0), 0);
	/* it was in memory once: the next one fetches again */
	assert_int_equal(get(0), 0);
	assert_int_equal(fake_source_count_catalogs(fake), 2);
}

static void a_source_that_ends_ends_what_waits(void **state)
{
	(void)state;
	fake_source_hold(fake);
	for (unsigned int i = 0; i < CATALOGS; i++)
		assert_int_equal(catalog_loader_want(loader, &built[i]->ref), 0);
	assert_true(fake_source_wait_held(fake, CATALOG_LOADER_WINDOW));
	fake_source_cancel(fake);
	assert_int_equal(get(0), -ECANCELED);
}

static int count_visit(void *arg, const struct catalog_place *place)
{
	(void)place;
	++*(unsigned int *)arg;
	return 0;
}

/* Else a few bytes make a tree without end: one catalog at two places in each of forty levels. */
static void a_walk_enters_no_catalog_that_belongs_elsewhere(void **state)
{
	struct catalog_builder *b = builder_new("");
	unsigned int visits = 0;
	struct catalog_walk walk = {
		.loader = loader, .visit = count_visit, .arg = &visits};

	(void)state;
	builder_nested(b, BUILDER_TOP, "p0", built[0]);
	builder_nested(b, BUILDER_TOP, "p2", built[1]);
	struct built_catalog *root = builder_finish(b);

	fake_source_serve(fake, root);
	assert_int_equal(catalog_walk(&walk, &root->ref), -EUCLEAN);
	assert_int_equal(visits, 2);
	/* what is only counted goes on without it */
	visits = 0;
	walk.is_lenient = true;
	assert_int_equal(catalog_walk(&walk, &root->ref), 0);
	assert_int_equal(visits, 2);
	built_free(root);
}

static void without_memory_it_fails_and_leaks_nothing(void **state)
{
	struct catalog_loader_config config = {.catalogs = store};
	struct catalog_loader *other;

	(void)state;
	for (long n = 0; n < 2; n++) {
		mem_fail_after(n);
		assert_int_equal(catalog_loader_new(&config, &other), -ENOMEM);
	}
	mem_fail_after(0);
	assert_int_equal(catalog_loader_want(loader, &built[0]->ref), -ENOMEM);
	mem_fail_after(-1);
	assert_int_equal(get(0), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(what_is_not_here_is_fetched_once_and_kept),
		T(many_are_under_way_at_once_but_no_more_than_the_window),
		T(what_fails_is_not_tried_again),
		T(offline_only_what_is_here_can_be_had),
		T(a_wait_ends_at_its_deadline),
		T(a_wait_can_be_cancelled),
		T(what_the_disk_does_not_take_is_handed_over_from_memory),
		T(a_source_that_ends_ends_what_waits),
		T(a_walk_enters_no_catalog_that_belongs_elsewhere),
		T(without_memory_it_fails_and_leaks_nothing),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
