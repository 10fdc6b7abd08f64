/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/memory.h"
#include "sync/watch/control_verbs.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static int say_name(void *arg, const cJSON *request, cJSON *answer)
{
	(void)request;
	cJSON_AddStringToObject(answer, "name", arg);
	return 0;
}

static int say_twice(void *arg, const cJSON *request, cJSON *answer)
{
	(void)arg;
	cJSON_AddNumberToObject(answer, "twice", 2 * control_number(request, "of", -1));
	return 0;
}

static int fail_plainly(void *arg, const cJSON *request, cJSON *answer)
{
	(void)arg;
	(void)request;
	(void)answer;
	return -ENOSPC;
}

static int fail_with_words(void *arg, const cJSON *request, cJSON *answer)
{
	(void)arg;
	(void)request;
	return control_refuse(answer, -EBUSY, "wait for run %d", 7);
}

static const struct control_verb first_verbs[] = {{"name", say_name}};
static const struct control_verb more_verbs[] = {
	{"twice", say_twice}, {"fail", fail_plainly}, {"refuse", fail_with_words}};

static char first_name[] = "first";
static const struct control_verbs more = {.verbs = more_verbs, .count = 3};
static const struct control_verbs all = {
	.verbs = first_verbs, .count = 1, .arg = first_name, .next = &more};

static cJSON *ask(const char *request)
{
	AUTO_BUFFER struct buffer reply = BUFFER_INIT(4096);

	assert_int_equal(control_verbs_answer(&all, request, &reply), 0);
	cJSON *answer = cJSON_ParseWithLength((const char *)reply.data, reply.len);

	assert_non_null(answer);
	return answer;
}

static void expect_text(const char *request, const char *member, const char *text)
{
	AUTO_JSON cJSON *answer = ask(request);

	assert_string_equal(control_text(answer, member, ""), text);
}

static void a_verb_is_found_in_every_set(void **state)
{
	AUTO_JSON cJSON *answer = ask("{\"verb\":\"twice\",\"of\":21}");

	(void)state;
	assert_int_equal((int)control_number(answer, "twice", 0), 42);
	expect_text("{\"verb\":\"name\"}", "name", "first");
}

static void what_is_not_known_is_an_error(void **state)
{
	static const char *const requests[] = {
		"{\"verb\":\"nothing\"}", "{\"verb\":3}", "{}", "[]", "no json", ""};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		expect_text(
			requests[i], "error", "this daemon does not know the request");
}

static void a_failure_is_told_in_words(void **state)
{
	(void)state;
	expect_text("{\"verb\":\"fail\"}", "error", "the disk is full");
	expect_text("{\"verb\":\"refuse\"}", "error", "wait for run 7");
}

static void members_of_another_type_are_missing(void **state)
{
	AUTO_JSON cJSON *o = cJSON_Parse("{\"n\":\"text\",\"t\":1,\"b\":\"true\"}");

	(void)state;
	assert_int_equal((int)control_number(o, "n", 5), 5);
	assert_string_equal(control_text(o, "t", "none"), "none");
	assert_false(control_is_true(o, "b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verb_is_found_in_every_set),
		cmocka_unit_test(what_is_not_known_is_an_error),
		cmocka_unit_test(a_failure_is_told_in_words),
		cmocka_unit_test(members_of_another_type_are_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
