/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/cleanup.h"
#include "cache/catalog/casefold.h"

#include <string.h>

static int compare(const char *a, const char *b)
{
	return casefold_compare(a, strlen(a), b, strlen(b));
}

static void names_that_differ_in_case_are_the_same(void **state)
{
	(void)state;
	assert_int_equal(compare("ReadMe.TXT", "readme.txt"), 0);
	assert_int_equal(compare("ÄÖÜ", "äöü"), 0);
	assert_int_equal(compare("ΣΊΣΥΦΟΣ", "σίσυφοσ"), 0);
	assert_int_equal(compare("ПАКЕТ", "пакет"), 0);
	assert_int_equal(compare("", ""), 0);
}

static void strasse_with_sharp_s_is_not_spelled_with_two(void **state)
{
	(void)state;
	assert_int_equal(compare("STRAßE", "Straße"), 0);
	assert_int_not_equal(compare("STRASSE", "Straße"), 0);
}

static void composed_and_decomposed_letters_stay_apart(void **state)
{
	(void)state;
	assert_int_not_equal(compare("\xc3\xa9", "e\xcc\x81"), 0);
}

static void bytes_that_are_no_utf8_stand_for_themselves(void **state)
{
	(void)state;
	assert_int_equal(compare("a\xff", "A\xff"), 0);
	assert_int_not_equal(compare("a\xff", "a\xfe"), 0);
	/* Latin-1: 0xe4 and 0xc4 are no letters here */
	assert_int_not_equal(compare("\xe4", "\xc4"), 0);
	/* a sequence cut short, an overlong one, a surrogate */
	assert_int_not_equal(compare("\xc3", "\xc3\xa4"), 0);
	assert_int_equal(compare("\xc0\xaf", "\xc0\xaf"), 0);
	assert_int_not_equal(compare("\xc0\xaf", "/"), 0);
	assert_int_not_equal(compare("\xed\xa0\x80", "\xed\xa0\x81"), 0);
	/* above every code point */
	assert_true(compare("\x80", "\xf4\x8f\xbf\xbf") > 0);
}

static void a_shorter_name_comes_first(void **state)
{
	(void)state;
	assert_true(compare("ab", "ABC") < 0);
	assert_true(compare("ABC", "ab") > 0);
	assert_true(compare("", "a") < 0);
}

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

/* What a binary search needs of an order. */
static void the_order_is_total(void **state)
{
	static const char *const names[] = {"", "a", "A", "B", "b", "_", "Z", "z", "ab",
		"AB", "ä", "Ä", "ß", "ẞ", "SS", "ss", "ſ", "s", "k", "\xe2\x84\xaa", "İ",
		"ı", "i", "I", "ǅ", "ǆ", "\xff", "\xc3", "\xc3(", "a\xffz", "𐐀", "𐐨", "0",
		"~", "\x80\x80", "\xf0\x9f\x98"};
	const size_t n = ARRAY_SIZE(names);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(compare(names[i], names[i]), 0);
		for (size_t j = 0; j < n; j++) {
			int ij = sign(compare(names[i], names[j]));

			assert_int_equal(ij, -sign(compare(names[j], names[i])));
			for (size_t k = 0; k < n; k++)
				if (ij <= 0 && compare(names[j], names[k]) <= 0)
					assert_true(compare(names[i], names[k]) <= 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_differ_in_case_are_the_same),
		cmocka_unit_test(strasse_with_sharp_s_is_not_spelled_with_two),
		cmocka_unit_test(composed_and_decomposed_letters_stay_apart),
		cmocka_unit_test(bytes_that_are_no_utf8_stand_for_themselves),
		cmocka_unit_test(a_shorter_name_comes_first),
		cmocka_unit_test(the_order_is_total),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
