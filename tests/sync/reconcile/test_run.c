/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One run from plan to sweep, with a flip that is told here what becomes of it. */
#include "tests/sync/reconcile/planning.h"

#include "cache/base/memory.h"
#include "sync/reconcile/run/run.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct state_db *db;
static struct pins *pins;
static struct checkpoint *checkpoint;
static struct object_store *objects;
static struct settings settings;
static struct run_progress progress;
static atomic_bool is_cancelled;
static int flip_result;
static unsigned int flips;
static long fail_after; /* of a run's allocations */
static struct state_view view;
static struct head head;
static struct run_record record;
static char message[RUN_MESSAGE_SIZE];
static const char *prefetch;
static uint64_t shown_revision;

static int make(void **state)
{
	planning_make(state);
	assert_int_equal(state_db_open(planning_scratch.path, &db), 0);
	assert_int_equal(pins_open(db, &pins), 0);
	assert_int_equal(checkpoint_open(planning_scratch.fd, &checkpoint), 0);
	assert_int_equal(object_store_open(planning_scratch.fd, checkpoint, &objects), 0);
	assert_int_equal(settings_init(&settings), 0);
	flip_result = 0;
	prefetch = "none";
	shown_revision = 5;
	flips = 0;
	fail_after = -1;
	atomic_store(&is_cancelled, false);
	return 0;
}

static int drop(void **state)
{
	settings_release(&settings);
	object_store_free(objects);
	checkpoint_free(checkpoint);
	pins_close(pins);
	state_db_close(db);
	return planning_drop(state);
}

static int flip(void *arg, const struct catalog_ref *root, uint64_t revision)
{
	(void)arg;
	(void)root;
	(void)revision;
	flips++;
	return flip_result;
}

static void ignore_coming(void *arg, const struct catalog_ref *root)
{
	(void)arg;
	(void)root;
}

/* Between two trees, from revision 5 to 6, as `wanted` says. */
static int run_between(const struct catalog_ref *old, const struct catalog_ref *new,
	const struct run_record *wanted)
{
	const struct run_env env = {.mountpoint = "/mnt",
		.cache_dirfd = planning_scratch.fd,
		.catalogs = planning_store,
		.objects = objects,
		.state = db,
		.pins = pins,
		.timeout_ns = INT64_C(1000000000),
		.flip = flip,
		.coming = ignore_coming};
	struct run run = {.env = &env,
		.settings = &settings,
		.head = &head,
		.record = &record,
		.view = &view,
		.progress = &progress,
		.is_cancelled = &is_cancelled};

	head = (struct head){.root = *new, .revision = 6, .sequence = 9};
	view = (struct state_view){
		.root = *old, .revision = shown_revision, .sequence = 8};
	assert_int_equal(state_db_view_set(db, &view), 0);
	record = *wanted;
	record.job = "job";
	record.prefetch = prefetch;
	record.state = RUN_RUNNING;
	record.revision_before = record.revision_after = shown_revision;
	assert_int_equal(state_db_run_add(db, &record, &record.id), 0);
	mem_fail_after(fail_after);
	int r = run_execute(&run);

	mem_fail_after(-1);
	memcpy(message, run.message, sizeof(message));
	return r;
}

static int run_trees(const char *old, const char *new, const struct run_record *wanted)
{
	struct catalog_ref a = planning_keep(old);
	struct catalog_ref b = planning_keep(new);

	return run_between(&a, &b, wanted);
}

static const struct run_record by_hand = {.trigger = RUN_BY_HAND, .is_full = true};

static size_t count_changes(void)
{
	struct change_list list;

	assert_int_equal(state_db_changes_list(db, record.id, 0, 100, &list), 0);
	size_t count = list.count;

	change_list_release(&list);
	return count;
}

static void a_run_switches_over_and_records_what_it_changed(void **state)
{
	struct state_view written;

	(void)state;
	assert_int_equal(
		run_trees("a// a/f=1 a/g=1", "a// a/f=2 a/h=1 a/g=1", &by_hand), 0);
	assert_int_equal(record.state, RUN_DONE);
	assert_int_equal(flips, 1);
	assert_int_equal(count_changes(), 2);
	assert_int_equal(state_db_view_get(db, &written), 0);
	assert_int_equal(written.revision, 6);
	assert_int_equal(written.sequence, 9);
}

static void a_flip_that_fails_leaves_no_record_of_changes(void **state)
{
	struct state_view written;

	(void)state;
	flip_result = -EIO;
	assert_int_equal(run_trees("a// a/f=1", "a// a/f=2", &by_hand), -EIO);
	assert_int_equal(record.state, RUN_FAILED);
	assert_int_equal(record.counts.changed, 0);
	assert_int_equal(count_changes(), 0);
	assert_int_equal(state_db_view_get(db, &written), 0);
	assert_int_equal(written.revision, 5);
}

/* Notifications end with the session, which ends before the runner is told to. */
static void a_run_that_the_end_of_the_mount_cuts_short_is_left_for_the_next_start(
	void **state)
{
	struct state_view written;

	(void)state;
	flip_result = -ECANCELED;
	assert_int_equal(run_trees("a// a/f=1", "a// a/f=2", &by_hand), -ECANCELED);
	assert_int_equal(record.state, RUN_QUEUED);
	assert_string_equal(message, "");
	assert_int_equal(state_db_view_get(db, &written), 0);
	assert_int_equal(written.revision, 5);
	/* somebody wanted its end */
	atomic_store(&is_cancelled, true);
	assert_int_equal(run_trees("a// a/f=1", "a// a/f=2", &by_hand), -ECANCELED);
	assert_int_equal(record.state, RUN_CANCELLED);
}

/* A program that notes that it was run, and as what, then does `body`. */
static void write_hook(char **setting, const char *name, const char *body)
{
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/%s", planning_scratch.path, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fprintf(f, "#!/bin/sh\necho \"%s$DEPOTFS_OUTCOME\" >>%s/ran\n%s\n",
			    name, planning_scratch.path, body) > 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0755), 0);
	*setting = strdup(path);
	assert_non_null(*setting);
}

/* What ran, one after the other. */
static void assert_ran(const char *wanted)
{
	char path[96];
	char text[256] = "";

	(void)snprintf(path, sizeof(path), "%s/ran", planning_scratch.path);
	FILE *f = fopen(path, "r");

	if (f) {
		(void)!fread(text, 1, sizeof(text) - 1, f);
		assert_int_equal(fclose(f), 0);
	}
	assert_string_equal(text, wanted);
}

static bool is_owed_meanwhile;

/* On another thread than the run's: nothing is asserted. */
static bool is_owed_of_first(void)
{
	struct run_list list;

	if (state_db_run_find(db, 1, &list) < 0)
		return false;
	bool is_owed = list.items[0].is_post_owed;

	run_list_release(&list);
	return is_owed;
}

static bool is_owed_on_disk(void)
{
	struct run_list list;

	assert_int_equal(state_db_run_find(db, record.id, &list), 0);
	bool is_owed = list.items[0].is_post_owed;

	run_list_release(&list);
	return is_owed;
}

static void post_sync_is_run_after_a_pre_sync_that_failed(void **state)
{
	(void)state;
	write_hook(&settings.pre_sync, "pre", "exit 1");
	write_hook(&settings.post_sync, "post", "");
	assert_int_equal(run_trees("f=1", "f=2", &by_hand), -EPERM);
	assert_int_equal(record.state, RUN_STOPPED);
	assert_ran("pre\npoststopped\n");
	assert_false(is_owed_on_disk());
}

static void *cancel_soon(void *arg)
{
	char path[96];

	(void)arg;
	(void)snprintf(path, sizeof(path), "%s/ran", planning_scratch.path);
	while (access(path, F_OK) < 0)
		(void)usleep(10000);
	is_owed_meanwhile = is_owed_of_first();
	atomic_store(&is_cancelled, true);
	return NULL;
}

static void post_sync_is_run_after_a_pre_sync_that_was_cancelled(void **state)
{
	pthread_t thread;

	(void)state;
	write_hook(&settings.pre_sync, "pre", "exec sleep 60");
	write_hook(&settings.post_sync, "post", "");
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
	assert_int_equal(run_trees("f=1", "f=2", &by_hand), -ECANCELED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(record.state, RUN_CANCELLED);
	assert_true(is_owed_meanwhile);
	assert_ran("pre\npostcancelled\n");
	assert_false(is_owed_on_disk());
}

static void post_sync_is_not_run_if_pre_sync_cannot_be_started(void **state)
{
	(void)state;
	write_hook(&settings.post_sync, "post", "");
	settings.pre_sync = strdup("/no/such/program");
	assert_int_equal(run_trees("f=1", "f=2", &by_hand), -EPERM);
	assert_ran("");
	assert_false(is_owed_on_disk());
}

static void post_sync_that_was_owed_before_a_kill_is_run_once(void **state)
{
	struct run_record wanted = by_hand;

	(void)state;
	write_hook(&settings.pre_sync, "pre", "");
	write_hook(&settings.post_sync, "post", "");
	wanted.trigger = RUN_BY_RESUME;
	wanted.is_post_owed = true;
	assert_int_equal(run_trees("f=1", "f=1", &wanted), 0);
	assert_ran("postdone\n");
	assert_false(is_owed_on_disk());
}

static void post_sync_that_is_owed_is_run_even_if_the_run_cannot_begin(void **state)
{
	struct run_record wanted = by_hand;

	(void)state;
	write_hook(&settings.post_sync, "post", "");
	wanted.trigger = RUN_BY_RESUME;
	wanted.is_post_owed = true;
	wanted.selection = "a";
	fail_after = 0;
	assert_int_equal(run_trees("f=1", "f=1", &wanted), -ENOMEM);
	assert_ran("postfailed\n");
	assert_false(is_owed_on_disk());
}

static void hooks_are_not_run_if_nothing_changes(void **state)
{
	struct run_record wanted = by_hand;

	(void)state;
	write_hook(&settings.pre_sync, "pre", "");
	write_hook(&settings.post_sync, "post", "");
	wanted.trigger = RUN_BY_RESUME;
	assert_int_equal(run_trees("f=1", "f=1", &wanted), 0);
	assert_ran("");
}

/* Else each start of the mount takes it for being behind. */
static void a_run_without_changes_takes_up_the_heads_sequence(void **state)
{
	struct run_record wanted = by_hand;
	struct state_view written;

	(void)state;
	shown_revision = 6;
	assert_int_equal(run_trees("a// a/f=1", "a// a/f=1", &wanted), 0);
	assert_int_equal(flips, 0);
	assert_int_equal(state_db_view_get(db, &written), 0);
	assert_int_equal(written.sequence, 9);
	assert_int_equal(view.sequence, 9);
	/* but not if it was for some packages alone */
	wanted.selection = "a";
	assert_int_equal(run_trees("a// a/f=1", "a// a/f=1", &wanted), 0);
	assert_int_equal(state_db_view_get(db, &written), 0);
	assert_int_equal(written.sequence, 8);
}

#define TEN "a// a/0=1 a/1=1 a/2=1 a/3=1 a/4=1 a/5=1 a/6=1 b// b/f=1"

static void the_guard_stops_what_removes_more_than_its_share(void **state)
{
	(void)state;
	/* 3 of 11 are more than 25 of 100 */
	assert_int_equal(
		run_trees(TEN, "a// a/3=1 a/4=1 a/5=1 a/6=1 b// b/f=1", &by_hand),
		-EPERM);
	assert_int_equal(record.state, RUN_STOPPED);
	assert_non_null(strstr(message, "3 of 11 entries"));
	assert_int_equal(flips, 0);
	/* 2 are not */
	assert_int_equal(
		run_trees(TEN, "a// a/2=1 a/3=1 a/4=1 a/5=1 a/6=1 b// b/f=1", &by_hand),
		0);
	assert_int_equal(flips, 1);
}

static void the_guard_stops_what_removes_more_than_its_number(void **state)
{
	(void)state;
	settings.guard_share = 100;
	settings.guard_count = 1;
	assert_int_equal(
		run_trees(TEN, "a// a/2=1 a/3=1 a/4=1 a/5=1 a/6=1 b// b/f=1", &by_hand),
		-EPERM);
	assert_non_null(strstr(message, "guard_count=1"));
}

/* The tree's root with other numbers of its packages; its own add up. */
static struct catalog_ref keep_claiming(const char *text, uint64_t nested_entries)
{
	struct model_catalogs c;
	struct catalog *opened;

	planning_build(text, &c);
	model_keep(&c, planning_store);
	struct catalog_ref ref = c.root;

	for (size_t i = 0; i < c.count; i++) {
		struct built_catalog *b = c.built[i];

		if (!digest_equal(&b->ref.digest, &c.root.digest))
			continue;
		struct catalog *plain = built_open(b);
		uint8_t *copy = mem_dup(b->data, b->len);
		struct catalog_header *header = (void *)copy;
		struct catalog_nested *nested =
			(void *)(copy + ((const uint8_t *)plain->nested -
						(const uint8_t *)plain->header));

		for (uint32_t n = 0; n < plain->nested_count; n++) {
			header->tree_entries += nested_entries - nested[n].tree_entries;
			nested[n].tree_entries = nested_entries;
		}
		assert_int_equal(digest_of(copy, b->len, &ref.digest), 0);
		assert_int_equal(
			catalog_store_put(planning_store, &ref, copy, &opened), 0);
		catalog_close(opened);
		catalog_close(plain);
		free(copy);
	}
	assert_false(digest_equal(&ref.digest, &c.root.digest));
	model_catalogs_release(&c);
	return ref;
}

/* So nobody, the guard least of all, judges by what is not so. */
static void numbers_that_a_catalog_does_not_have_are_refused(void **state)
{
	struct catalog_ref plain = planning_keep(TEN);
	struct catalog_ref lie = keep_claiming("b// b/f=1", 1000000);

	(void)state;
	assert_int_equal(run_between(&plain, &lie, &by_hand), -EUCLEAN);
	assert_int_equal(record.state, RUN_FAILED);
	assert_int_equal(flips, 0);
}

/* The first tree that a mirror shows was not compared with any. */
static void a_view_that_is_not_sound_is_left(void **state)
{
	struct catalog_ref lie = keep_claiming(TEN, 1000000);
	struct catalog_ref plain =
		planning_keep("a// a/2=1 a/3=1 a/4=1 a/5=1 a/6=1 b// b/f=1");

	(void)state;
	assert_int_equal(run_between(&lie, &plain, &by_hand), 0);
	assert_int_equal(flips, 1);
}

static void a_glob_without_a_package_fails_a_run_by_hand(void **state)
{
	struct run_record wanted = by_hand;

	(void)state;
	wanted.selection = "npm/a\nnpm/b*";
	assert_int_equal(
		run_trees("npm/ npm/a// npm/a/f=1", "npm/ npm/a// npm/a/f=2", &wanted),
		-ENXIO);
	assert_int_equal(record.state, RUN_FAILED);
	assert_non_null(strstr(message, "'npm/b*'"));
	assert_int_equal(flips, 0);
}

static void a_glob_without_a_package_is_a_warning_to_a_schedule(void **state)
{
	struct run_record wanted = {.trigger = RUN_BY_SCHEDULE, .is_full = true};

	(void)state;
	wanted.selection = "npm/a\nnpm/b*";
	assert_int_equal(
		run_trees("npm/ npm/a// npm/a/f=1", "npm/ npm/a// npm/a/f=2", &wanted),
		0);
	assert_int_equal(record.state, RUN_DONE);
	assert_int_equal(record.counts.errors, 0);
	assert_non_null(strstr(message, "no package matches 'npm/b*'"));
	assert_null(strstr(message, "npm/a'"));
	assert_int_equal(flips, 1);
}

static void a_glob_matches_what_either_side_has(void **state)
{
	struct run_record wanted = by_hand;

	(void)state;
	settings.guard_share = 100;
	wanted.selection = "old\nnew\nsame\nsame/deep";
	assert_int_equal(
		run_trees("old// old/f=1 same// same/deep// same/deep/f=1",
			"new// new/f=1 same// same/deep// same/deep/f=1", &wanted),
		0);
	assert_string_equal(message, "");
}

/* The path of the last is longer than PATH_MAX. */
#define DEPTH	    2100
#define STACK_BYTES (512 * 1024)

/* Packages within each other, one file at the bottom. */
static struct catalog_ref keep_deep(const char *content)
{
	AUTO_FREE char *path = mem_calloc(1, 2 * DEPTH + 1);
	struct built_catalog *child = NULL;
	struct catalog_ref ref = {0};

	for (size_t depth = DEPTH + 1; depth-- > 0;) {
		for (size_t i = 0; i < 2 * depth; i++)
			path[i] = i % 2 ? '/' : 'd';
		path[depth ? 2 * depth - 1 : 0] = '\0';
		struct catalog_builder *b = builder_new(path);
		struct catalog *opened;

		if (child)
			builder_nested(b, BUILDER_TOP, "d", child);
		else
			builder_file(b, BUILDER_TOP, "f", content, strlen(content), 64);
		built_free(child);
		child = builder_finish(b);
		ref = child->ref;
		assert_int_equal(catalog_store_put(planning_store, &child->ref,
					 child->data, &opened),
			0);
		catalog_close(opened);
	}
	built_free(child);
	return ref;
}

struct deep_run {
	struct catalog_ref old;
	struct catalog_ref new;
	int result;
};

static void *run_deep(void *arg)
{
	struct deep_run *deep = arg;

	deep->result = run_between(&deep->old, &deep->new, &by_hand);
	return NULL;
}

static void packages_may_be_nested_deeper_than_a_stack(void **state)
{
	struct deep_run deep = {.old = keep_deep("1"), .new = keep_deep("2")};
	pthread_attr_t small;
	pthread_t thread;

	(void)state;
	/* globs have the whole tree walked, this one for nothing */
	prefetch = "no/such/*";
	assert_int_equal(pthread_attr_init(&small), 0);
	assert_int_equal(pthread_attr_setstacksize(&small, STACK_BYTES), 0);
	assert_int_equal(pthread_create(&thread, &small, run_deep, &deep), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)pthread_attr_destroy(&small);
	assert_int_equal(deep.result, 0);
	assert_int_equal(record.counts.changed, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_run_switches_over_and_records_what_it_changed, make, drop),
		cmocka_unit_test_setup_teardown(
			a_flip_that_fails_leaves_no_record_of_changes, make, drop),
		cmocka_unit_test_setup_teardown(
			a_run_that_the_end_of_the_mount_cuts_short_is_left_for_the_next_start,
			make, drop),
		cmocka_unit_test_setup_teardown(
			a_run_without_changes_takes_up_the_heads_sequence, make, drop),
		cmocka_unit_test_setup_teardown(
			the_guard_stops_what_removes_more_than_its_share, make, drop),
		cmocka_unit_test_setup_teardown(
			the_guard_stops_what_removes_more_than_its_number, make, drop),
		cmocka_unit_test_setup_teardown(
			numbers_that_a_catalog_does_not_have_are_refused, make, drop),
		cmocka_unit_test_setup_teardown(
			a_view_that_is_not_sound_is_left, make, drop),
		cmocka_unit_test_setup_teardown(
			a_glob_without_a_package_fails_a_run_by_hand, make, drop),
		cmocka_unit_test_setup_teardown(
			a_glob_without_a_package_is_a_warning_to_a_schedule, make, drop),
		cmocka_unit_test_setup_teardown(
			a_glob_matches_what_either_side_has, make, drop),
		cmocka_unit_test_setup_teardown(
			packages_may_be_nested_deeper_than_a_stack, make, drop),
		cmocka_unit_test_setup_teardown(
			post_sync_is_run_after_a_pre_sync_that_failed, make, drop),
		cmocka_unit_test_setup_teardown(
			post_sync_is_run_after_a_pre_sync_that_was_cancelled, make, drop),
		cmocka_unit_test_setup_teardown(
			post_sync_is_not_run_if_pre_sync_cannot_be_started, make, drop),
		cmocka_unit_test_setup_teardown(
			post_sync_that_was_owed_before_a_kill_is_run_once, make, drop),
		cmocka_unit_test_setup_teardown(
			post_sync_that_is_owed_is_run_even_if_the_run_cannot_begin, make,
			drop),
		cmocka_unit_test_setup_teardown(
			hooks_are_not_run_if_nothing_changes, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
