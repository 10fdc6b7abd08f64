/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/watch/json_text.h"

#include "cache/base/cleanup.h"
#include "cache/base/memory.h"

#include <string.h>
#include <utf8proc.h>

ssize_t json_next_character(const char *at, size_t len)
{
	utf8proc_int32_t point;

	return utf8proc_iterate(
		(const utf8proc_uint8_t *)at, (utf8proc_ssize_t)len, &point);
}

/* A copy with U+FFFD for what is no UTF-8. NULL when memory is short. */
static char *make_text(const char *from, size_t left, bool *out_is_exact)
{
	static const char replacement[] = "\xef\xbf\xbd";
	char *text = mem_alloc(left * (sizeof(replacement) - 1) + 1);
	size_t len = 0;

	*out_is_exact = true;
	while (text && left) {
		ssize_t n = json_next_character(from, left);
		const char *bytes = n > 0 ? from : replacement;
		size_t take = n > 0 ? (size_t)n : sizeof(replacement) - 1;

		memcpy(text + len, bytes, take);
		len += take;
		*out_is_exact &= n > 0;
		from += n > 0 ? n : 1;
		left -= n > 0 ? (size_t)n : 1;
	}
	if (text)
		text[len] = '\0';
	return text;
}

bool json_add_text(cJSON *object, const char *name, const char *text)
{
	bool is_exact;
	AUTO_FREE char *copy =
		make_text(text ? text : "", text ? strlen(text) : 0, &is_exact);

	return copy && cJSON_AddStringToObject(object, name, copy) && is_exact;
}

cJSON *json_text_item(const char *text, size_t len)
{
	bool is_exact;
	AUTO_FREE char *copy = make_text(text, len, &is_exact);

	return copy ? cJSON_CreateString(copy) : NULL;
}
