/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/glob_list.h"
#include "sync/jobs/policy/prefetch_text.h"
#include "sync/jobs/prefetch_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static void empty_lines_hold_no_glob(void **state)
{
	AUTO_GLOB_LIST struct glob_list none = {0};
	AUTO_GLOB_LIST struct glob_list two = {0};

	(void)state;
	assert_int_equal(glob_list_parse(NULL, &none), 0);
	assert_int_equal((int)none.count, 0);
	assert_false(glob_list_has_path(&none, "npm"));
	assert_int_equal(glob_list_parse("\nnpm/a\n\ndeb/b", &two), 0);
	assert_int_equal((int)two.count, 2);
	assert_string_equal(two.globs[0], "npm/a");
	assert_string_equal(two.globs[1], "deb/b");
}

static void a_policy_is_a_word_or_globs(void **state)
{
	static const struct {
		const char *text;
		int kind;
	} cases[] = {{NULL, PREFETCH_CACHED}, {"", PREFETCH_CACHED},
		{"cached", PREFETCH_CACHED}, {"none", PREFETCH_NONE},
		{"all", PREFETCH_ALL}, {"all*", PREFETCH_GLOBS},
		{"npm/a deb/*.deb", PREFETCH_GLOBS}};

	char reason[TEXT_REASON_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct prefetch_policy policy;

		assert_int_equal(
			prefetch_policy_parse(cases[i].text, &policy, reason), 0);
		assert_int_equal((int)policy.kind, cases[i].kind);
		prefetch_policy_release(&policy);
	}
}

static void a_policys_star_crosses_directories(void **state)
{
	struct prefetch_policy policy;
	char reason[TEXT_REASON_SIZE];

	(void)state;
	assert_int_equal(prefetch_policy_parse("npm/a deb/*.deb", &policy, reason), 0);
	assert_int_equal((int)policy.globs.count, 2);
	assert_true(glob_list_has_path(&policy.globs, "deb/pool/main/curl.deb"));
	assert_true(glob_list_has_path(&policy.globs, "npm/a"));
	assert_false(glob_list_has_path(&policy.globs, "npm/ab"));
	prefetch_policy_release(&policy);
}

/* A slip in one of the three words must not come to mean a glob that matches nothing. */
static void a_bare_word_is_no_glob(void **state)
{
	static const char *const refused[] = {
		"cahced", "npm", "Cached", "npm/* all", "all none", "cached\tnpm/*"};
	char reason[TEXT_REASON_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct prefetch_policy policy;

		assert_int_equal(
			prefetch_policy_parse(refused[i], &policy, reason), -EINVAL);
		assert_int_equal(prefetch_text_check(refused[i], reason), -EINVAL);
	}
	assert_int_equal(prefetch_text_check("cahced", reason), -EINVAL);
	assert_non_null(strstr(reason, "'cahced/*'"));
	assert_int_equal(prefetch_text_check("cached", reason), 0);
	assert_int_equal(prefetch_text_check("npm/a\tdeb/*.deb n?de [a-c]x", reason), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_lines_hold_no_glob),
		cmocka_unit_test(a_policy_is_a_word_or_globs),
		cmocka_unit_test(a_policys_star_crosses_directories),
		cmocka_unit_test(a_bare_word_is_no_glob),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
