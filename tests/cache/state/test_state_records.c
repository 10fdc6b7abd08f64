/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/state/state_scene.h"
#include "tests/cache/support.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/state/package_records.h"
#include "cache/state/run_records.h"
#include "cache/state/schedule_records.h"
#include "cache/state/state_db.h"

#include <errno.h>
#include <string.h>

#define NOW (INT64_C(1700000000) * NS_PER_SEC)

static int64_t add_run(enum run_state state, int64_t end_ns)
{
	struct run_record run = {.job = "all",
		.trigger = RUN_BY_CHANGE,
		.state = state,
		.queued_ns = 1,
		.end_ns = end_ns};
	int64_t id;

	assert_int_equal(state_db_run_add(db, &run, &id), 0);
	return id;
}

static void a_run_comes_back_as_it_was_written(void **state)
{
	struct run_record run = {.job = "nightly",
		.selection = "npm/*\ndeb/*",
		.prefetch = "cached",
		.trigger = RUN_BY_SCHEDULE,
		.state = RUN_QUEUED,
		.is_full = true,
		.is_deep = true,
		.queued_ns = NOW};
	struct run_list list;

	(void)state;
	assert_int_equal(state_db_run_add(db, &run, &run.id), 0);
	run.state = RUN_STOPPED;
	run.is_deep = false;
	run.is_dry = true;
	run.is_delete_allowed = true;
	run.start_ns = NOW + 1;
	run.end_ns = NOW + 2;
	run.revision_before = 7;
	run.revision_after = 9;
	run.counts = (struct run_counts){UINT64_C(1) << 40, 2, 3, 4, 5, 6, 7, 8};
	run.message = "the guard: 40 % of the entries would go";
	assert_int_equal(state_db_run_update(db, &run), 0);
	state_scene_reopen();
	assert_int_equal(state_db_run_find(db, run.id, &list), 0);
	const struct run_record *got = &list.items[0];

	assert_int_equal(list.count, 1);
	assert_string_equal(got->job, run.job);
	assert_string_equal(got->selection, run.selection);
	assert_string_equal(got->prefetch, run.prefetch);
	assert_string_equal(got->message, run.message);
	assert_int_equal(got->id, run.id);
	assert_int_equal(got->trigger, RUN_BY_SCHEDULE);
	assert_int_equal(got->state, RUN_STOPPED);
	assert_true(got->is_full && got->is_dry && got->is_delete_allowed);
	assert_false(got->is_deep);
	assert_int_equal(got->queued_ns, NOW);
	assert_int_equal(got->start_ns, NOW + 1);
	assert_int_equal(got->end_ns, NOW + 2);
	assert_int_equal(got->revision_before, 7);
	assert_int_equal(got->revision_after, 9);
	assert_memory_equal(&got->counts, &run.counts, sizeof(run.counts));
	run_list_release(&list);
	run.id++;
	assert_int_equal(state_db_run_update(db, &run), -ENOENT);
	assert_int_equal(state_db_run_find(db, run.id, &list), -ENOENT);
}

static void runs_are_listed_newest_first_and_page_by_page(void **state)
{
	struct run_list list;

	(void)state;
	for (int i = 1; i <= 5; i++)
		assert_int_equal(add_run(RUN_DONE, NOW), i);
	assert_int_equal(state_db_runs_list(db, 0, 3, &list), 0);
	assert_int_equal(list.count, 3);
	assert_int_equal(list.items[0].id, 5);
	assert_int_equal(list.items[2].id, 3);
	run_list_release(&list);
	assert_int_equal(state_db_runs_list(db, 3, 3, &list), 0);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.items[0].id, 2);
	run_list_release(&list);
}

static void what_a_kill_interrupted_is_found_oldest_first(void **state)
{
	struct run_list list;

	(void)state;
	add_run(RUN_DONE, NOW);
	int64_t running = add_run(RUN_RUNNING, 0);
	int64_t queued = add_run(RUN_QUEUED, 0);

	add_run(RUN_FAILED, NOW);
	add_run(RUN_CANCELLED, NOW);
	add_run(RUN_STOPPED, NOW);
	assert_int_equal(state_db_runs_unfinished(db, &list), 0);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.items[0].id, running);
	assert_int_equal(list.items[1].id, queued);
	run_list_release(&list);
}

static void add_changes(int64_t run, size_t count)
{
	AUTO_FREE struct change_record *changes = mem_calloc(count, sizeof(*changes));

	assert_non_null(changes);
	for (size_t i = 0; i < count; i++)
		changes[i] = (struct change_record){.path = "p", .what = CHANGE_ADDED};
	assert_int_equal(state_db_changes_add(db, run, changes, count), 0);
}

static size_t count_changes(int64_t run)
{
	struct change_list list;

	assert_int_equal(
		state_db_changes_list(db, run, 0, 2 * STATE_KEEP_CHANGES, &list), 0);
	size_t count = list.count;

	change_list_release(&list);
	return count;
}

static void old_runs_are_forgotten_with_their_changes(void **state)
{
	static const struct skipped_record skip = {"p", "no source has it"};
	struct skipped_list skipped;
	struct run_list list;

	(void)state;
	int64_t old = add_run(RUN_DONE, NOW - STATE_KEEP_NS - 1);
	int64_t waiting = add_run(RUN_QUEUED, 0);
	int64_t recent = add_run(RUN_DONE, NOW - STATE_KEEP_NS + 1);

	for (int64_t id = old; id <= recent; id++) {
		add_changes(id, 3);
		assert_int_equal(state_db_skipped_add(db, id, &skip, 1), 0);
	}
	assert_int_equal(state_db_rotate(db, NOW), 0);
	assert_int_equal(state_db_runs_list(db, 0, 10, &list), 0);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.items[0].id, recent);
	assert_int_equal(list.items[1].id, waiting);
	run_list_release(&list);
	assert_int_equal(count_changes(old), 0);
	assert_int_equal(count_changes(waiting), 3);
	assert_int_equal(count_changes(recent), 3);
	assert_int_equal(state_db_skipped_list(db, old, 0, 10, &skipped), 0);
	assert_int_equal(skipped.count, 0);
	skipped_list_release(&skipped);
	assert_int_equal(state_db_skipped_list(db, recent, 0, 10, &skipped), 0);
	assert_int_equal(skipped.count, 1);
	skipped_list_release(&skipped);
}

static void the_newest_runs_are_kept_and_no_id_comes_twice(void **state)
{
	struct run_list list;
	int64_t last = 0;

	(void)state;
	for (int i = 0; i < STATE_KEEP_RUNS + 20; i++)
		last = add_run(RUN_DONE, NOW);
	assert_int_equal(state_db_rotate(db, NOW), 0);
	assert_int_equal(state_db_runs_list(db, 0, 10000, &list), 0);
	assert_int_equal(list.count, STATE_KEEP_RUNS);
	assert_int_equal(list.items[0].id, last);
	run_list_release(&list);
	/* when all are gone */
	assert_int_equal(state_db_rotate(db, NOW + STATE_KEEP_NS + 1), 0);
	assert_int_equal(state_db_runs_list(db, 0, 10, &list), 0);
	assert_int_equal(list.count, 0);
	run_list_release(&list);
	state_scene_reopen();
	assert_int_equal(add_run(RUN_DONE, NOW), last + 1);
}

static void of_too_many_changes_the_oldest_runs_go(void **state)
{
	const size_t half = STATE_KEEP_CHANGES / 2;
	struct run_list list;
	int64_t ids[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		ids[i] = add_run(RUN_DONE, NOW);
		add_changes(ids[i], half);
	}
	assert_int_equal(state_db_rotate(db, NOW), 0);
	assert_int_equal(count_changes(ids[0]), 0);
	assert_int_equal(count_changes(ids[1]), half);
	assert_int_equal(count_changes(ids[2]), half);
	/* the run itself stays, and a single one is never cut */
	assert_int_equal(state_db_run_find(db, ids[0], &list), 0);
	run_list_release(&list);
	add_changes(ids[2], half + 1);
	assert_int_equal(state_db_rotate(db, NOW), 0);
	assert_int_equal(count_changes(ids[1]), 0);
	assert_int_equal(count_changes(ids[2]), STATE_KEEP_CHANGES + 1);
}

static void changes_keep_their_order_and_any_path(void **state)
{
	struct change_record changes[] = {
		{.path = "z\xff/new\nline",
			.what = CHANGE_ADDED,
			.after = {.is_set = true, .bytes = UINT64_C(1) << 40}},
		{.path = "a",
			.what = CHANGE_REMOVED,
			.before = {.is_set = true, .bytes = 5}},
		{.path = "dir", .what = CHANGE_STALE},
	};
	struct change_list list;

	(void)state;
	memset(changes[0].after.digest.bytes, 0x11, DIGEST_SIZE);
	assert_int_equal(state_db_changes_add(db, 1, changes, 2), 0);
	assert_int_equal(state_db_changes_add(db, 1, changes + 2, 1), 0);
	assert_int_equal(state_db_changes_list(db, 1, 0, 2, &list), 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.items[0].path, changes[0].path);
	assert_int_equal(list.items[0].what, CHANGE_ADDED);
	assert_false(list.items[0].before.is_set);
	assert_true(list.items[0].after.is_set);
	assert_true(list.items[0].after.bytes == UINT64_C(1) << 40);
	assert_memory_equal(
		&list.items[0].after.digest, &changes[0].after.digest, DIGEST_SIZE);
	assert_string_equal(list.items[1].path, "a");
	assert_true(list.items[1].before.is_set);
	int64_t after = list.last;

	change_list_release(&list);
	assert_int_equal(state_db_changes_list(db, 1, after, 2, &list), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.items[0].path, "dir");
	change_list_release(&list);
}

static void schedules_are_written_disabled_and_removed_by_name(void **state)
{
	struct schedule_record night = {.name = "night",
		.when = "daily at 02:00",
		.zone = "Europe/Oslo",
		.splay = "10 min",
		.mode = "full",
		.packages = "npm/*",
		.prefetch = "all",
		.rate = "idle",
		.origin = SCHEDULE_BY_POLICY,
		.is_enabled = true,
		.created_ns = NOW};
	struct schedule_list list;

	(void)state;
	assert_int_equal(state_db_schedule_put(db, &night), 0);
	night.name = "a";
	night.zone = NULL;
	assert_int_equal(state_db_schedule_put(db, &night), 0);
	assert_int_equal(state_db_schedule_enable(db, "night", false), 0);
	assert_int_equal(state_db_schedule_ran(db, "night", NOW + 5), 0);
	assert_int_equal(state_db_schedule_enable(db, "none", false), -ENOENT);
	assert_int_equal(state_db_schedule_ran(db, "none", 1), -ENOENT);
	assert_int_equal(state_db_schedule_remove(db, "none"), -ENOENT);
	state_scene_reopen();
	assert_int_equal(state_db_schedules_list(db, &list), 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.items[0].name, "a");
	assert_string_equal(list.items[0].zone, "");
	const struct schedule_record *s = &list.items[1];

	assert_string_equal(s->name, "night");
	assert_string_equal(s->when, "daily at 02:00");
	assert_string_equal(s->zone, "Europe/Oslo");
	assert_string_equal(s->splay, "10 min");
	assert_string_equal(s->mode, "full");
	assert_string_equal(s->packages, "npm/*");
	assert_string_equal(s->prefetch, "all");
	assert_string_equal(s->rate, "idle");
	assert_int_equal(s->origin, SCHEDULE_BY_POLICY);
	assert_false(s->is_enabled);
	assert_int_equal(s->last_run_ns, NOW + 5);
	assert_int_equal(s->created_ns, NOW);
	schedule_list_release(&list);
	assert_int_equal(state_db_schedule_remove(db, "a"), 0);
	assert_int_equal(state_db_schedules_list(db, &list), 0);
	assert_int_equal(list.count, 1);
	schedule_list_release(&list);
}

static void pins_are_a_set_of_paths(void **state)
{
	struct pin_list list;

	(void)state;
	assert_int_equal(state_db_pin_add(db, "npm/b"), 0);
	assert_int_equal(state_db_pin_add(db, "npm/\xfe"), 0);
	assert_int_equal(state_db_pin_add(db, "npm/a"), 0);
	assert_int_equal(state_db_pin_add(db, "npm/a"), 0);
	assert_int_equal(state_db_pin_remove(db, "npm/b"), 0);
	assert_int_equal(state_db_pin_remove(db, "npm/b"), -ENOENT);
	state_scene_reopen();
	assert_int_equal(state_db_pins_list(db, &list), 0);
	assert_int_equal(list.paths.count, 2);
	assert_string_equal(list.paths.items[0], "npm/a");
	assert_string_equal(list.paths.items[1], "npm/\xfe");
	pin_list_release(&list);
}

static void packages_that_lag_are_known_until_they_are_removed(void **state)
{
	static const struct package_record packages[] = {
		{.path = "npm/b", .since_ns = NOW},
		{.path = "npm/a",
			.since_ns = NOW + 1,
			.last_error = "no source answers",
			.last_error_ns = NOW + 2,
			.next_attempt_ns = NOW + 3},
	};
	struct package_list list;

	(void)state;
	assert_int_equal(state_db_packages_put(db, packages, 2), 0);
	assert_int_equal(state_db_packages_put(db, packages, 1), 0);
	assert_int_equal(state_db_packages_list(db, &list), 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.items[0].path, "npm/a");
	assert_string_equal(list.items[0].last_error, "no source answers");
	assert_int_equal(list.items[0].since_ns, NOW + 1);
	assert_int_equal(list.items[0].last_error_ns, NOW + 2);
	assert_int_equal(list.items[0].next_attempt_ns, NOW + 3);
	assert_string_equal(list.items[1].last_error, "");
	package_list_release(&list);
	assert_int_equal(state_db_package_remove(db, "npm/a"), 0);
	assert_int_equal(state_db_package_remove(db, "npm/a"), 0);
	assert_int_equal(state_db_packages_list(db, &list), 0);
	assert_int_equal(list.count, 1);
	package_list_release(&list);
}

static void lists_survive_short_memory(void **state)
{
	struct change_list changes;
	struct run_list runs;
	int r;

	(void)state;
	for (int i = 0; i < 10; i++)
		add_run(RUN_DONE, NOW);
	add_changes(1, 10);
	for (long n = 0;; n++) {
		mem_fail_after(n);
		r = state_db_runs_list(db, 0, 10, &runs);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
	}
	run_list_release(&runs);
	for (long n = 0;; n++) {
		mem_fail_after(n);
		r = state_db_changes_list(db, 1, 0, 10, &changes);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
	}
	mem_fail_after(-1);
	change_list_release(&changes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_run_comes_back_as_it_was_written,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			runs_are_listed_newest_first_and_page_by_page, state_scene_make,
			state_scene_drop),
		cmocka_unit_test_setup_teardown(
			what_a_kill_interrupted_is_found_oldest_first, state_scene_make,
			state_scene_drop),
		cmocka_unit_test_setup_teardown(old_runs_are_forgotten_with_their_changes,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			the_newest_runs_are_kept_and_no_id_comes_twice, state_scene_make,
			state_scene_drop),
		cmocka_unit_test_setup_teardown(of_too_many_changes_the_oldest_runs_go,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(changes_keep_their_order_and_any_path,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			schedules_are_written_disabled_and_removed_by_name,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			pins_are_a_set_of_paths, state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			packages_that_lag_are_known_until_they_are_removed,
			state_scene_make, state_scene_drop),
		cmocka_unit_test_setup_teardown(
			lists_survive_short_memory, state_scene_make, state_scene_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
