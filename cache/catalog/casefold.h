/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Case without regard, one code point for one, as Samba compares names: simple upper case of
 * each (utf8proc), so that STRAßE equals Straße and not STRASSE. Bytes that are not UTF-8
 * stand for themselves, above every code point. Any thread, allocates nothing.
 */
#pragma once

#include <stddef.h>

/* memcmp-like order of two names' folded forms; 0 when they are the same but for case. */
int casefold_compare(const char *a, size_t a_len, const char *b, size_t b_len);
