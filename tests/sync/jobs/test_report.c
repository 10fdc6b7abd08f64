/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/cache_scene.h"
#include "tests/sync/jobs/verb_support.h"

#include "cache/base/cli.h"
#include "cache/base/threads/clock.h"
#include "cache/state/package_records.h"
#include "sync/jobs/records/commands.h"
#include "sync/jobs/records/report_verb.h"

#include <stdio.h>
#include <string.h>

#define PUBLISHED (INT64_C(1772366400) * NS_PER_SEC) /* 2026-03-01T12:00:00Z */

static struct state_db *db;
static struct report_sides sides;
static struct report_config config;
static struct control_verbs verbs;

static void get_sides(void *arg, struct report_sides *out)
{
	(void)arg;
	*out = sides;
}

static int make(void **state)
{
	(void)state;
	cache_make(NULL);
	assert_int_equal(state_db_open(scratch.path, &db), 0);
	config = (struct report_config){.cache_dirfd = scratch.fd,
		.catalogs = catalogs,
		.contents = contents,
		.state = db,
		.sides = get_sides};
	sides = (struct report_sides){
		.view_revision = 4, .head_revision = 5, .published_ns = PUBLISHED};
	verbs = report_verbs(&config);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	state_db_close(db);
	cache_drop();
	return 0;
}

/* A package with the files "same" and, unless it is NULL, `name`, each holding its name and
 * `version`; `stale` is one more, kept as stale. */
static struct built_catalog *package(
	const char *path, const char *name, const char *version, const char *stale)
{
	struct catalog_builder *b = builder_new(path);
	char data[64];

	builder_file(b, BUILDER_TOP, "same", "same", 4, 100);
	if (name) {
		(void)snprintf(data, sizeof(data), "%s %s", name, version);
		builder_file(b, BUILDER_TOP, name, data, strlen(data), 100);
	}
	if (stale)
		builder_stale(b, builder_file(b, BUILDER_TOP, stale, "old", 3, 100));
	return builder_finish(b);
}

static void hold(const char *data)
{
	struct digest digest;

	assert_int_equal(digest_of(data, strlen(data), &digest), 0);
	assert_int_equal(object_store_put(objects, &digest, data, strlen(data)), 0);
}

static const struct report_package *find(const struct report *report, const char *path)
{
	for (size_t i = 0; i < report->count; i++)
		if (strcmp(report->packages[i].path, path) == 0)
			return &report->packages[i];
	fail_msg("the report has no package %s", path);
	return NULL;
}

/* A daemon for each, so that what the test changes in between is seen by its threads. */
static int run(const char *a, const char *b)
{
	const char *const more[] = {a, b, NULL};

	verb_daemon_start(&scratch, &verbs);
	int status = verb_run(cmd_report, "report", more);

	verb_daemon_stop();
	return status;
}

static void what_both_sides_name_is_current(void **state)
{
	struct built_catalog *cached = package("cached", "f", "1", NULL);
	struct built_catalog *partly = package("partly", "g", "1", NULL);
	struct built_catalog *unseen = package("unseen", "h", "1", NULL);
	struct catalog_builder *b = builder_new("");
	struct report *report;

	(void)state;
	builder_nested(b, BUILDER_TOP, "cached", cached);
	builder_nested(b, BUILDER_TOP, "partly", partly);
	builder_nested(b, BUILDER_TOP, "unseen", unseen);
	struct built_catalog *root = builder_finish(b);

	built_keep(root, catalogs);
	built_keep(cached, catalogs);
	built_keep(partly, catalogs);
	hold("same");
	hold("f 1");
	sides.view = sides.head = root->ref;
	assert_int_equal(report_make(&config, &report), 0);
	assert_int_equal(report->count, 4);
	assert_string_equal(report->packages[0].path, "");
	assert_int_equal(report->states[REPORT_CURRENT], 4);
	assert_false(report_falls_short(report));
	const struct report_package *p = find(report, "cached");

	assert_int_equal(p->content, REPORT_CACHED);
	assert_int_equal(p->files, 2);
	assert_int_equal(p->files_cached, 2);
	assert_int_equal(p->bytes, 7);
	assert_int_equal(p->bytes_to_fetch, 0);
	assert_int_equal(p->since_ns, 0);
	p = find(report, "partly");
	assert_int_equal(p->content, REPORT_PARTLY);
	assert_int_equal(p->files_cached, 1);
	assert_int_equal(p->bytes_to_fetch, 3);
	p = find(report, "unseen");
	assert_false(p->is_entered);
	assert_int_equal(p->content, REPORT_REMOTE);
	assert_int_equal(p->bytes_to_fetch, 7);
	assert_int_equal(report->bytes_to_fetch, 10);
	assert_int_equal(report->unknown_catalogs, 0);
	report_free(report);
	assert_int_equal(run(NULL, NULL), EXIT_DONE);
	assert_non_null(
		strstr(verb_output, "0 missing, 0 out of date, 0 stale, 4 current"));
	assert_null(strstr(verb_output, "/partly"));
	assert_int_equal(run("--all", NULL), EXIT_DONE);
	assert_non_null(strstr(verb_output, "current      partly        3 B  /partly\n"));
	built_free(cached);
	built_free(partly);
	built_free(unseen);
	built_free(root);
}

/* Two trees with a package of each kind:
 *	alike	the same		changed	another file
 *	dropped	in the view only	added	in the head only
 *	kept	a stale file besides	gone	stale as a whole */
struct trees {
	struct built_catalog *alike, *old, *new, *dropped, *added, *kept, *plain, *gone;
	struct built_catalog *view, *head;
};

static void make_trees(struct trees *t)
{
	struct catalog_builder *view = builder_new("");
	struct catalog_builder *head = builder_new("");

	t->alike = package("alike", "a", "1", NULL);
	t->old = package("changed", "c", "1", NULL);
	t->new = package("changed", "c", "2", NULL);
	t->dropped = package("dropped", "d", "1", NULL);
	t->added = package("added", "n", "1", NULL);
	t->kept = package("kept", "k", "1", "zombie");
	t->plain = package("kept", "k", "1", NULL);
	t->gone = package("gone", "o", "1", NULL);
	builder_nested(view, BUILDER_TOP, "alike", t->alike);
	builder_nested(view, BUILDER_TOP, "changed", t->old);
	builder_nested(view, BUILDER_TOP, "dropped", t->dropped);
	builder_stale(view, builder_nested(view, BUILDER_TOP, "gone", t->gone));
	builder_nested(view, BUILDER_TOP, "kept", t->kept);
	builder_nested(head, BUILDER_TOP, "added", t->added);
	builder_nested(head, BUILDER_TOP, "alike", t->alike);
	builder_nested(head, BUILDER_TOP, "changed", t->new);
	builder_nested(head, BUILDER_TOP, "kept", t->plain);
	t->view = builder_finish(view);
	t->head = builder_finish(head);
	sides.view = t->view->ref;
	sides.head = t->head->ref;
}

static void free_trees(struct trees *t)
{
	struct built_catalog *const all[] = {t->alike, t->old, t->new, t->dropped,
		t->added, t->kept, t->plain, t->gone, t->view, t->head};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		built_free(all[i]);
}

static void keep_trees(const struct trees *t)
{
	const struct built_catalog *const all[] = {t->alike, t->old, t->new, t->dropped,
		t->added, t->kept, t->plain, t->gone, t->view, t->head};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		built_keep(all[i], catalogs);
}

static void expect(const struct report *report, const char *path, enum report_state state,
	uint64_t to_fetch, uint64_t stale)
{
	const struct report_package *p = find(report, path);

	assert_string_equal(report_state_text(p->state), report_state_text(state));
	assert_int_equal(p->bytes_to_fetch, to_fetch);
	assert_int_equal(p->stale_entries, stale);
}

static void each_difference_has_its_name(void **state)
{
	struct report *report;
	struct trees t;

	(void)state;
	make_trees(&t);
	keep_trees(&t);
	hold("same");
	hold("a 1");
	hold("c 1");
	hold("k 1");
	assert_int_equal(report_make(&config, &report), 0);
	expect(report, "alike", REPORT_CURRENT, 0, 0);
	expect(report, "changed", REPORT_OUT_OF_DATE, 3, 0);
	expect(report, "dropped", REPORT_OUT_OF_DATE, 0, 0);
	expect(report, "added", REPORT_MISSING, 3, 0);
	expect(report, "kept", REPORT_STALE, 0, 1);
	expect(report, "gone", REPORT_STALE, 0, 2);
	expect(report, "", REPORT_OUT_OF_DATE, 0, 1);
	assert_int_equal(report->count, 7);
	assert_int_equal(report->bytes_to_fetch, 6);
	assert_true(report_falls_short(report));
	assert_int_equal(find(report, "changed")->since_ns, PUBLISHED);
	assert_int_equal(find(report, "kept")->since_ns, 0);
	report_free(report);
	assert_int_equal(run(NULL, NULL), EXIT_SHORT);
	assert_non_null(strstr(verb_output, "out of date  cached        3 B  /changed  "
					    "since 2026-03-01T12:00:00Z\n"));
	assert_non_null(
		strstr(verb_output, "1 missing, 3 out of date, 2 stale, 1 current"));
	assert_int_equal(run("--json", NULL), EXIT_SHORT);
	AUTO_JSON cJSON *told = cJSON_Parse(verb_output);

	assert_int_equal((int)control_number(told, "revision", 0), 4);
	assert_int_equal((int)control_number(told, "newest_revision", 0), 5);
	assert_true(control_is_true(told, "falls_short"));
	assert_int_equal(
		cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(told, "packages")),
		7);
	free_trees(&t);
}

static void a_skeleton_whose_packages_changed_is_itself_current(void **state)
{
	struct catalog_builder *view = builder_new("");
	struct catalog_builder *head = builder_new("");
	struct built_catalog *old = package("p", "f", "1", NULL);
	struct built_catalog *new = package("p", "f", "2", NULL);
	struct report *report;

	(void)state;
	builder_nested(view, BUILDER_TOP, "p", old);
	builder_nested(head, BUILDER_TOP, "p", new);
	struct built_catalog *view_root = builder_finish(view);
	struct built_catalog *head_root = builder_finish(head);

	built_keep(old, catalogs);
	built_keep(new, catalogs);
	built_keep(view_root, catalogs);
	built_keep(head_root, catalogs);
	sides.view = view_root->ref;
	sides.head = head_root->ref;
	assert_int_equal(report_make(&config, &report), 0);
	assert_int_equal(find(report, "")->state, REPORT_CURRENT);
	assert_int_equal(find(report, "p")->state, REPORT_OUT_OF_DATE);
	report_free(report);
	built_free(old);
	built_free(new);
	built_free(view_root);
	built_free(head_root);
}

static void what_is_not_known_is_not_called_current_in_silence(void **state)
{
	struct report *report;
	struct trees t;

	(void)state;
	make_trees(&t);
	built_keep(t.view, catalogs);
	built_keep(t.alike, catalogs);
	assert_int_equal(report_make(&config, &report), 0);
	assert_int_equal(report->unknown_catalogs, 1);
	assert_int_equal(find(report, "")->state, REPORT_OUT_OF_DATE);
	assert_true(report_falls_short(report));
	report_free(report);
	/* the head's root alone tells that there is news below, but not how much */
	built_keep(t.head, catalogs);
	assert_int_equal(report_make(&config, &report), 0);
	assert_int_equal(report->unknown_catalogs, 2);
	assert_int_equal(find(report, "changed")->state, REPORT_OUT_OF_DATE);
	assert_int_equal(find(report, "changed")->bytes_to_fetch, 7);
	assert_int_equal(find(report, "added")->state, REPORT_MISSING);
	assert_int_equal(find(report, "added")->bytes_to_fetch, 7);
	report_free(report);
	free_trees(&t);
}

static bool promise_same(void *arg, const char *path)
{
	(void)arg;
	return strcmp(path, "p/same") == 0;
}

static void what_is_pinned_or_promised_and_not_here_falls_short(void **state)
{
	struct built_catalog *p = package("p", "f", "1", NULL);
	struct catalog_builder *b = builder_new("");
	struct report *report;

	(void)state;
	builder_nested(b, BUILDER_TOP, "p", p);
	struct built_catalog *root = builder_finish(b);

	built_keep(p, catalogs);
	built_keep(root, catalogs);
	sides.view = sides.head = root->ref;
	assert_int_equal(run(NULL, NULL), EXIT_DONE);
	assert_int_equal(state_db_pin_add(db, "p/f"), 0);
	assert_int_equal(state_db_pin_add(db, "pp"), 0);
	assert_int_equal(report_make(&config, &report), 0);
	assert_int_equal(find(report, "p")->promised_files, 1);
	assert_true(report_falls_short(report));
	report_free(report);
	assert_int_equal(run(NULL, NULL), EXIT_SHORT);
	assert_non_null(strstr(verb_output, "/p  1 promised and not here\n"));
	hold("f 1");
	assert_int_equal(run(NULL, NULL), EXIT_DONE);
	config.is_promised = promise_same;
	assert_int_equal(run(NULL, NULL), EXIT_SHORT);
	hold("same");
	assert_int_equal(run(NULL, NULL), EXIT_DONE);
	built_free(p);
	built_free(root);
}

static void what_the_runs_noted_is_told(void **state)
{
	static const struct package_record notes[] = {
		{.path = "alike", .since_ns = PUBLISHED},
		{.path = "changed",
			.since_ns = PUBLISHED - NS_PER_SEC,
			.last_error = "no source answers",
			.last_error_ns = PUBLISHED + NS_PER_SEC,
			.next_attempt_ns = PUBLISHED + 60 * NS_PER_SEC},
		{.path = "nowhere"},
	};
	struct report *report;
	struct trees t;

	(void)state;
	make_trees(&t);
	keep_trees(&t);
	assert_int_equal(state_db_packages_put(db, notes, 3), 0);
	assert_int_equal(report_make(&config, &report), 0);
	const struct report_package *p = find(report, "changed");

	assert_int_equal(p->since_ns, PUBLISHED - NS_PER_SEC);
	assert_int_equal(p->last_error_ns, PUBLISHED + NS_PER_SEC);
	assert_string_equal(p->last_error, "no source answers");
	assert_int_equal(find(report, "alike")->since_ns, 0);
	report_free(report);
	assert_int_equal(run(NULL, NULL), EXIT_SHORT);
	assert_non_null(strstr(verb_output,
		"/changed  since 2026-03-01T11:59:59Z  last error: no source answers"
		"  next attempt 2026-03-01T12:01:00Z\n"));
	free_trees(&t);
}

static void a_partial_is_partly_here(void **state)
{
	struct built_catalog *root = package("", "f", "1", NULL);
	struct digest digest;
	char hex[DIGEST_HEX_SIZE];
	char path[128];
	struct report *report;

	(void)state;
	built_keep(root, catalogs);
	sides.view = sides.head = root->ref;
	assert_int_equal(digest_of("f 1", 3, &digest), 0);
	digest_to_hex(&digest, hex);
	(void)snprintf(path, sizeof(path), "partial/%s", hex);
	scratch_write(&scratch, path, "?", 1);
	assert_int_equal(report_make(&config, &report), 0);
	assert_int_equal(find(report, "")->content, REPORT_PARTLY);
	assert_int_equal(find(report, "")->files_cached, 0);
	/* that one has no record of what landed in it */
	assert_int_equal(find(report, "")->bytes_to_fetch, 7);
	report_free(report);
	built_free(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			what_both_sides_name_is_current, make, drop),
		cmocka_unit_test_setup_teardown(each_difference_has_its_name, make, drop),
		cmocka_unit_test_setup_teardown(
			a_skeleton_whose_packages_changed_is_itself_current, make, drop),
		cmocka_unit_test_setup_teardown(
			what_is_not_known_is_not_called_current_in_silence, make, drop),
		cmocka_unit_test_setup_teardown(
			what_is_pinned_or_promised_and_not_here_falls_short, make, drop),
		cmocka_unit_test_setup_teardown(what_the_runs_noted_is_told, make, drop),
		cmocka_unit_test_setup_teardown(a_partial_is_partly_here, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
