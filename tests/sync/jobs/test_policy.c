/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/memory.h"
#include "sync/jobs/policy/policy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char example[] = "# the nights of the north\n"
			      "[schedule nightly]\n"
			      "label = site:oslo site:bergen     ; none: every mirror\n"
			      "when = daily at 02:00\n"
			      "tz = Europe/Oslo\n"
			      "splay = 30 minutes\n"
			      "mode = incremental\n"
			      "packages = npm/typescript/* deb/*\n"
			      "prefetch = all\n"
			      "rate = 20M\n"
			      "\n"
			      "[schedule weekly]\n"
			      "splay = 1 hour\n"
			      "when = weekly on sunday at 04:00\n"
			      "prefetch = npm/*/*/lib\n"
			      "  deb/*\n"
			      "[windows office]\n"
			      "label = site:oslo\n"
			      "allow = mon-fri 20:00-06:00 rate 20M,\n"
			      "\tsat, sun\n"
			      "tz = America/New_York\r\n";

static void a_policy_is_read(void **state)
{
	AUTO_POLICY struct policy policy = {0};
	char reason[TEXT_REASON_SIZE] = "";

	(void)state;
	if (policy_parse(example, strlen(example), &policy, reason) < 0)
		fail_msg("%s", reason);
	assert_int_equal(policy.schedule_count, 2);
	assert_int_equal(policy.windows_count, 1);

	const struct policy_schedule *s = &policy.schedules[0];

	assert_string_equal(s->name, "nightly");
	assert_int_equal(s->labels.count, 2);
	assert_string_equal(s->labels.items[0], "site:oslo");
	assert_string_equal(s->labels.items[1], "site:bergen");
	assert_string_equal(s->when, "daily at 02:00");
	assert_int_equal(s->schedule.kind, SCHEDULE_CRON);
	assert_string_equal(s->schedule.zone, "Europe/Oslo");
	assert_int_equal(s->schedule.splay_s, 1800);
	assert_int_equal(s->mode, POLICY_INCREMENTAL);
	assert_int_equal(s->packages.count, 2);
	assert_string_equal(s->packages.items[1], "deb/*");
	assert_int_equal(s->prefetch, POLICY_PREFETCH_ALL);
	assert_int_equal(s->rate.kind, RATE_FIXED);
	assert_int_equal(s->rate.bytes_per_sec, 20000000);

	/* what is not said, and what is said before `when` */
	s = &policy.schedules[1];
	assert_string_equal(s->schedule.zone, "");
	assert_int_equal(s->schedule.splay_s, 3600);
	assert_int_equal(s->labels.count, 0);
	assert_int_equal(s->packages.count, 0);
	assert_int_equal(s->mode, POLICY_FULL);
	assert_int_equal(s->rate.kind, RATE_UNLIMITED);
	assert_int_equal(s->prefetch, POLICY_PREFETCH_GLOBS);
	assert_int_equal(s->prefetch_globs.count, 2);
	assert_string_equal(s->prefetch_globs.items[1], "deb/*");

	assert_string_equal(policy.windows[0].name, "office");
	assert_int_equal(policy.windows[0].windows.count, 3);
	assert_string_equal(policy.windows[0].zone, "America/New_York");
}

static void an_empty_text_is_an_empty_policy(void **state)
{
	struct policy policy = {.schedule_count = 7};
	char reason[TEXT_REASON_SIZE];

	(void)state;
	assert_int_equal(policy_parse("", 0, &policy, reason), 0);
	assert_int_equal(policy.schedule_count, 0);
	assert_int_equal(policy_parse("\n; nothing\n", 11, &policy, reason), 0);
}

static void every_mistake_is_named_with_its_line(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{"when = daily\n", "line 1: [] is no section of a policy"},
		{"\n[mirror]\nurl = x\n", "line 2: [mirror] is no section"},
		{"[schedule]\nwhen = daily\n", "line 1: [schedule] is no section"},
		{"[schedule ]\nwhen = daily\n", "line 1: '' is no name"},
		{"[schedule Night]\nwhen = daily\n", "line 1: 'Night' is no name"},
		{"[schedule a234567890123456789012345678901234567890]\nwhen = daily\n",
			"line 1: 'a234567890123456789012345678901234567890' is no"},
		{"[schedule a]\nwhen = daily\n[schedule a]\nwhen = daily\n",
			"line 3: [schedule a] is there twice"},
		{"[schedule a]\n[schedule b]\nwhen = daily\n",
			"line 1: nothing stands in this section"},
		{"[schedule a]\nwhen = daily\n[windows w]\n",
			"line 3: nothing stands in this section"},
		{"[schedule a]\nmode = full\n\n[windows w]\nallow = sat\n",
			"line 1: the schedule 'a' has no 'when'"},
		{"[windows w]\ntz = UTC\n", "line 1: the windows 'w' have no 'allow'"},
		{"[schedule a]\nwhen = daily\nwhat = x\n",
			"line 3: 'what' says nothing in a section of schedules"},
		{"[schedule a]\nallow = sat\n", "line 2: 'allow' says nothing"},
		{"[windows w]\nwhen = daily\n", "line 2: 'when' says nothing"},
		{"[schedule a]\nwhen = never\n", "line 2: 'never' begins no schedule"},
		{"[schedule a]\nwhen =\n", "line 2: 'when' is empty"},
		{"[schedule a]\nwhen = daily\nwhen = daily\n",
			"line 3: 'when' is given twice"},
		{"[schedule a]\n when = daily\n tz = UTC\n",
			"line 3: 'when' is given twice (a line that begins with a blank"},
		{"[schedule a]\nwhen = daily\ntz = Oslo\n", "line 3: 'Oslo' is no time"},
		{"[schedule a]\nsplay = a bit\n", "line 2: 'a bit' is no splay"},
		{"[schedule a]\nmode = half\n", "line 2: 'half' is no mode"},
		{"[schedule a]\nrate = fast\n", "line 2: 'fast' is no rate"},
		{"[schedule a]\nlabel = site:oslo, x\n",
			"line 2: 'site:oslo,' is no label"},
		{"[schedule a]\npackages = /npm/*\n", "line 2: '/npm/*': a path"},
		{"[schedule a]\npackages = npm/* deb/\n", "line 2: 'deb/': a path"},
		{"[schedule a]\nprefetch = all\n  npm/*\n",
			"line 3: 'prefetch' is one of"},
		{"[schedule a]\nprefetch = cahced\n", "line 2: 'cahced' is neither"},
		{"[windows w]\nallow = someday\n", "line 2: 'someday' is neither"},
		{"[schedule a]\nwhen daily\n", "line 2: it is neither a [section]"},
		{"[schedule a\nwhen = daily\n", "line 1: it is neither a [section]"},
		/* the first of two */
		{"[schedule a]\nnonsense\nwhen = never\n", "line 2: it is neither"},
		{"[schedule a]\nwhen = never\nnonsense\n", "line 2: 'never' begins"},
		{"[schedule a]\nwhen = daily\n\x01\n", "line 3: the byte 0x01"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct policy policy = {.schedule_count = 7};
		char reason[TEXT_REASON_SIZE] = "";

		if (policy_parse(cases[i].text, strlen(cases[i].text), &policy, reason) !=
				-EINVAL ||
			strncmp(reason, cases[i].reason, strlen(cases[i].reason)) != 0)
			fail_msg("'%s' gives \"%s\"", cases[i].text, reason);
		assert_int_equal(policy.schedule_count, 7);
	}
}

static void a_line_is_never_cut_in_silence(void **state)
{
	char text[512];
	char reason[TEXT_REASON_SIZE] = "";
	AUTO_POLICY struct policy policy = {0};

	(void)state;
	/* a list of globs, as long as a line may be, and one byte longer */
	for (int len = 190; len <= 191; len++) {
		(void)snprintf(text, sizeof(text),
			"[schedule a]\npackages = %0*d\nwhen=daily\n", len - 12, 1);
		int r = policy_parse(text, strlen(text), &policy, reason);

		assert_int_equal(r, len == 190 ? 0 : -EINVAL);
	}
	assert_non_null(strstr(reason, "line 2: it is longer than 190 bytes"));
	assert_int_equal(strlen(policy.schedules[0].packages.items[0]), 190 - 12);
	/* a NUL ends nothing */
	static const char cut[] = "[schedule a]\nwhen = daily\0 at\n";

	assert_int_equal(policy_parse(cut, sizeof(cut) - 1, &policy, reason), -EINVAL);
	assert_non_null(strstr(reason, "line 2: the byte 0x00"));
}

static void labels_choose_the_mirrors(void **state)
{
	char oslo[] = "site:oslo";
	char bergen[] = "site:bergen";
	char big[] = "big";
	char *both[] = {oslo, big};
	char *mine[] = {big, bergen};
	const struct policy_words to_oslo = {.items = both, .count = 1};
	const struct policy_words to_both = {.items = both, .count = 2};
	const struct policy_words to_all = {0};

	(void)state;
	assert_false(policy_applies(&to_oslo, mine, 2));
	assert_true(policy_applies(&to_both, mine, 2));
	assert_false(policy_applies(&to_both, mine + 1, 1));
	assert_false(policy_applies(&to_oslo, NULL, 0));
	assert_true(policy_applies(&to_all, NULL, 0));
	assert_true(policy_applies(&to_all, mine, 2));
	assert_false(policy_label_is_valid("Site"));
	assert_false(policy_label_is_valid(":x"));
	assert_false(policy_label_is_valid(""));
}

/* Notes what it is given as one text. */
static int note_other(void *context, const char *section, const char *key,
	const char *value, char reason[TEXT_REASON_SIZE])
{
	char *noted = context;
	size_t len = strlen(noted);

	if (strcmp(key, "bad") == 0)
		return words_refuse(reason, "'%s' is bad", value);
	(void)snprintf(noted + len, 256 - len, "[%s]%s=%s ", section, key, value);
	return 0;
}

static void a_mirrors_configuration_keeps_its_other_sections(void **state)
{
	static const char text[] =
		"top = 1\n[mirror]\nurl = http://a/\n  http://b/\n"
		"[schedule a]\nwhen = hourly\n[hooks]\npost = /bin/x\n";
	static const char bad[] = "[mirror]\nurl = x\nbad = y\n";
	AUTO_POLICY struct policy policy = {0};
	char reason[TEXT_REASON_SIZE] = "";
	char noted[256] = "";

	(void)state;
	assert_int_equal(policy_parse_config(
				 text, strlen(text), note_other, noted, &policy, reason),
		0);
	assert_string_equal(noted, "[]top=1 [mirror]url=http://a/ [mirror]url=http://b/ "
				   "[hooks]post=/bin/x ");
	assert_int_equal(policy.schedule_count, 1);
	assert_int_equal(
		policy_parse_config(bad, strlen(bad), note_other, noted, &policy, reason),
		-EINVAL);
	assert_string_equal(reason, "line 3: 'y' is bad");
}

static void short_memory_is_told_and_leaks_nothing(void **state)
{
	char reason[TEXT_REASON_SIZE];
	long n = 0;
	int r;

	(void)state;
	do {
		AUTO_POLICY struct policy policy = {0};

		mem_fail_after(n++);
		r = policy_parse(example, strlen(example), &policy, reason);
		mem_fail_after(-1);
		assert_true(r == 0 || r == -ENOMEM);
	} while (r < 0);
	assert_true(n > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_policy_is_read),
		cmocka_unit_test(an_empty_text_is_an_empty_policy),
		cmocka_unit_test(every_mistake_is_named_with_its_line),
		cmocka_unit_test(a_line_is_never_cut_in_silence),
		cmocka_unit_test(labels_choose_the_mirrors),
		cmocka_unit_test(a_mirrors_configuration_keeps_its_other_sections),
		cmocka_unit_test(short_memory_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
