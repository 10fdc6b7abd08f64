/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/memory.h"
#include "sync/reconcile/plan/selection.h"

#include <errno.h>
#include <string.h>

static struct selection *select_all_of(const char *a, const char *b)
{
	const char *globs[] = {a, b};
	struct selection *s;

	assert_int_equal(selection_new(globs, b ? 2 : a ? 1 : 0, &s), 0);
	return s;
}

static void no_glob_selects_everything(void **state)
{
	struct selection *s = select_all_of(NULL, NULL);

	(void)state;
	assert_true(selection_is_everything(s));
	assert_true(selection_has(s, ""));
	assert_true(selection_has(s, "a/b"));
	assert_true(selection_reaches_below(s, "a/b"));
	assert_true(selection_concerns(s, "a"));
	selection_free(s);
}

static void a_star_stops_at_a_slash(void **state)
{
	struct selection *s = select_all_of("npm/typescript/*", NULL);

	(void)state;
	assert_false(selection_is_everything(s));
	assert_true(selection_has(s, "npm/typescript/5.4.2"));
	assert_false(selection_has(s, "npm/typescript"));
	assert_false(selection_has(s, "npm/typescript/5.4.2/lib"));
	assert_false(selection_has(s, "npm/left-pad/1.0.0"));
	selection_free(s);
}

static void globs_tell_how_deep_to_look(void **state)
{
	struct selection *s = select_all_of("npm/typescript/*", "a[bc]/x");

	(void)state;
	assert_true(selection_reaches_below(s, ""));
	assert_true(selection_reaches_below(s, "npm"));
	assert_true(selection_reaches_below(s, "npm/typescript"));
	assert_false(selection_reaches_below(s, "npm/typescript/5.4.2"));
	assert_false(selection_reaches_below(s, "npm/left-pad"));
	assert_false(selection_reaches_below(s, "np"));
	assert_true(selection_reaches_below(s, "ac"));
	assert_false(selection_reaches_below(s, "ad"));
	assert_true(selection_concerns(s, "npm/typescript/5.4.2/lib/nested"));
	assert_true(selection_concerns(s, "ab"));
	assert_false(selection_concerns(s, "npm/left-pad/1.0.0"));
	selection_free(s);
}

static void the_root_is_selected_by_no_glob(void **state)
{
	struct selection *s = select_all_of("*", NULL);

	(void)state;
	assert_false(selection_has(s, ""));
	assert_true(selection_has(s, "a"));
	selection_free(s);
}

static void slashes_at_the_ends_do_not_count(void **state)
{
	struct selection *s = select_all_of("/a/b//", NULL);

	(void)state;
	assert_true(selection_has(s, "a/b"));
	assert_true(selection_reaches_below(s, "a"));
	selection_free(s);
}

static void globs_that_mean_nothing_are_refused(void **state)
{
	static const char *const empty[] = {"a", ""};
	static const char *const slashes[] = {"//"};
	char long_one[1100];
	const char *long_globs[] = {long_one};
	struct selection *s;

	(void)state;
	memset(long_one, 'x', sizeof(long_one) - 1);
	long_one[sizeof(long_one) - 1] = '\0';
	assert_int_equal(selection_new(empty, 2, &s), -EINVAL);
	assert_int_equal(selection_new(slashes, 1, &s), -EINVAL);
	assert_int_equal(selection_new(long_globs, 1, &s), -EINVAL);
}

static void without_memory_it_fails_and_leaks_nothing(void **state)
{
	static const char *const globs[] = {"a", "b"};
	struct selection *s;

	(void)state;
	for (long n = 0; n < 3; n++) {
		mem_fail_after(n);
		assert_int_equal(selection_new(globs, 2, &s), -ENOMEM);
	}
	mem_fail_after(-1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_glob_selects_everything),
		cmocka_unit_test(a_star_stops_at_a_slash),
		cmocka_unit_test(globs_tell_how_deep_to_look),
		cmocka_unit_test(the_root_is_selected_by_no_glob),
		cmocka_unit_test(slashes_at_the_ends_do_not_count),
		cmocka_unit_test(globs_that_mean_nothing_are_refused),
		cmocka_unit_test(without_memory_it_fails_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
