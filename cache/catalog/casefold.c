/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/catalog/casefold.h"

#include <stdint.h>
#include <utf8proc.h>

#define INVALID_BYTE 0x110000 /* bytes that are not UTF-8 sort above all code points */

/* Takes one code point off the front and returns it in upper case. */
static int32_t next_folded(const char **p, size_t *len)
{
	unsigned char c = (unsigned char)**p;
	utf8proc_int32_t cp;

	if (c < 0x80) {
		++*p;
		--*len;
		return c >= 'a' && c <= 'z' ? c - 32 : c;
	}
	utf8proc_ssize_t limit = *len < 4 ? (utf8proc_ssize_t)*len : 4;
	utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)*p, limit, &cp);

	if (n <= 0) {
		++*p;
		--*len;
		return INVALID_BYTE + c;
	}
	*p += n;
	*len -= (size_t)n;
	return utf8proc_toupper(cp);
}

int casefold_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	while (a_len && b_len) {
		int32_t x = next_folded(&a, &a_len);
		int32_t y = next_folded(&b, &b_len);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return (a_len > 0) - (b_len > 0);
}
