/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Plans whose catalogs are not all here. */
#include "tests/sync/reconcile/planning.h"

#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "sync/reconcile/plan/catalog_loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `count` packages p0.. with a file of this content each; of number `odd` with another. */
static char *many(unsigned int count, unsigned int odd, const char *content)
{
	char *text = malloc((size_t)count * 40 + 1);
	size_t at = 0;

	assert_non_null(text);
	text[0] = '\0';
	for (unsigned int i = 0; i < count; i++)
		at += (size_t)sprintf(text + at, "g%u/p%u// g%u/p%u/f=%s ", i / 100, i,
			i / 100, i, i == odd ? "77" : content);
	return text;
}

static void unchanged_packages_are_not_opened(void **state)
{
	struct fake_source *fake = fake_source_new();
	struct model_catalogs old;
	struct model_catalogs new;
	char *old_text = many(1000, 1000, "1");
	char *new_text = many(1000, 500, "1");
	struct plan *plan;

	(void)state;
	planning_build(old_text, &old);
	planning_build(new_text, &new);
	model_serve(&old, fake);
	model_serve(&new, fake);
	struct plan_config config =
		planning_config(&old.root, &new.root, PLAN_INCREMENTAL, NULL, 0);

	config.source = fake_source_of(fake);
	assert_int_equal(plan_make(&config, &plan), 0);
	/* two roots and both sides of what has changed */
	assert_int_equal(fake_source_count_catalogs(fake), 4);
	assert_int_equal(plan_totals(plan)->unchanged_packages, 999);
	assert_int_equal(plan_change_count(plan), 1);
	plan_free(plan);
	fake_source_free(fake);
	model_catalogs_release(&old);
	model_catalogs_release(&new);
	free(old_text);
	free(new_text);
}

struct making {
	struct plan_config config;
	struct plan *plan;
	int error;
};

static void *make_plan(void *arg)
{
	struct making *m = arg;

	m->error = plan_make(&m->config, &m->plan);
	return NULL;
}

/* Each in a package of its own, so that a walk comes to them one after the other. */
static char *many_alone(unsigned int count, const char *content)
{
	char *text = malloc((size_t)count * 40 + 1);
	size_t at = 0;

	assert_non_null(text);
	for (unsigned int i = 0; i < count; i++)
		at += (size_t)sprintf(
			text + at, "g%u// g%u/p// g%u/p/f=%s ", i, i, i, content);
	return text;
}

static void keep_short_paths(const struct model_catalogs *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct catalog *opened = built_open(c->built[i]);
		struct catalog *kept;

		if (!memchr(opened->path, '/', opened->path_length)) {
			assert_int_equal(
				catalog_store_put(planning_store, &c->built[i]->ref,
					c->built[i]->data, &kept),
				0);
			catalog_close(kept);
		}
		catalog_close(opened);
	}
}

static void changed_packages_are_fetched_many_at_once(void **state)
{
	struct fake_source *fake = fake_source_new();
	struct model_catalogs old;
	struct model_catalogs new;
	char *old_text = many_alone(60, "1");
	char *new_text = many_alone(60, "2");
	pthread_t thread;

	(void)state;
	planning_build(old_text, &old);
	planning_build(new_text, &new);
	keep_short_paths(&old);
	keep_short_paths(&new);
	model_serve(&old, fake);
	model_serve(&new, fake);
	struct making m = {
		.config = planning_config(&old.root, &new.root, PLAN_FULL, NULL, 0)};

	m.config.source = fake_source_of(fake);
	fake_source_hold(fake);
	assert_int_equal(thread_start(&thread, "plan", make_plan, &m), 0);
	bool is_wide = fake_source_wait_held(fake, CATALOG_LOADER_WINDOW);

	fake_source_release(fake);
	pthread_join(thread, NULL);
	assert_true(is_wide);
	assert_int_equal(m.error, 0);
	assert_int_equal(fake_source_count_catalogs(fake), 120);
	assert_int_equal(plan_totals(m.plan)->changed, 60);
	struct catalog_ref root = plan_root(m.plan);

	assert_true(digest_equal(&root.digest, &new.root.digest));
	plan_free(m.plan);
	fake_source_free(fake);
	model_catalogs_release(&old);
	model_catalogs_release(&new);
	free(old_text);
	free(new_text);
}

/* Keeps a tree's catalogs but for those whose path is this. */
static struct catalog_ref keep_without(const char *text, const char *path)
{
	struct model_catalogs c;
	struct catalog_ref root;

	planning_build(text, &c);
	root = c.root;
	for (size_t i = 0; i < c.count; i++) {
		struct catalog *opened = built_open(c.built[i]);
		struct catalog *kept;

		if (opened->path_length != strlen(path) ||
			memcmp(opened->path, path, strlen(path)) != 0) {
			assert_int_equal(
				catalog_store_put(planning_store, &c.built[i]->ref,
					c.built[i]->data, &kept),
				0);
			catalog_close(kept);
		}
		catalog_close(opened);
	}
	model_catalogs_release(&c);
	return root;
}

static void an_old_catalog_that_is_gone_is_passed_over(void **state)
{
	struct catalog_ref old = keep_without("a// a/f=1 a/g=1 b// b/f=1", "a");
	struct catalog_ref new = planning_keep("a// a/f=2 b// b/f=1");
	struct plan_config config =
		planning_config(&old, &new, PLAN_INCREMENTAL, NULL, 0);
	struct plan *plan;

	(void)state;
	assert_int_equal(plan_make(&config, &plan), 0);
	char *shown = planning_shown(plan);

	assert_string_equal(shown, "a// a/f=2 b// b/f=1");
	assert_int_equal(plan_totals(plan)->missing_packages, 1);
	free(shown);
	plan_free(plan);
	/* dropped: how many entries go is known all the same */
	new = planning_keep("b// b/f=1");
	config = planning_config(&old, &new, PLAN_FULL, NULL, 0);
	assert_int_equal(plan_make(&config, &plan), 0);
	assert_int_equal(plan_totals(plan)->removed, 3);
	assert_int_equal(plan_change_count(plan), 1);
	plan_free(plan);
}

static void a_new_catalog_that_cannot_be_had_stops_the_plan(void **state)
{
	struct fake_source *fake = fake_source_new();
	struct catalog_ref old = planning_keep("a// a/f=1");
	struct catalog_ref new = keep_without("a// a/f=2", "a");
	struct plan_config config = planning_config(&old, &new, PLAN_FULL, NULL, 0);
	struct plan *plan;
	char text[512];

	(void)state;
	assert_int_equal(plan_make(&config, &plan), -EHOSTUNREACH);
	log_last_error(text, sizeof(text));
	assert_non_null(strstr(text, "cannot compare revision 6"));
	config.source = fake_source_of(fake);
	assert_int_equal(plan_make(&config, &plan), -ENOENT);
	fake_source_fail(fake, -EHOSTUNREACH);
	assert_int_equal(plan_make(&config, &plan), -EHOSTUNREACH);
	fake_source_fail(fake, 0);
	fake_source_hold(fake);
	config.timeout_ns = 200 * NS_PER_MS;
	assert_int_equal(plan_make(&config, &plan), -ETIMEDOUT);
	fake_source_free(fake);
}

static void a_plan_can_be_cancelled(void **state)
{
	atomic_bool is_cancelled = true;
	struct catalog_ref old = planning_keep("a// a/f=1");
	struct catalog_ref new = planning_keep("a// a/f=2");
	struct plan_config config = planning_config(&old, &new, PLAN_FULL, NULL, 0);
	struct plan *plan;

	(void)state;
	config.is_cancelled = &is_cancelled;
	assert_int_equal(plan_make(&config, &plan), -ECANCELED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, planning_make, planning_drop)
	const struct CMUnitTest tests[] = {
		T(unchanged_packages_are_not_opened),
		T(changed_packages_are_fetched_many_at_once),
		T(an_old_catalog_that_is_gone_is_passed_over),
		T(a_new_catalog_that_cannot_be_had_stops_the_plan),
		T(a_plan_can_be_cancelled),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
