/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/policy/prefetch_text.h"

#include <string.h>

#define BLANKS	   " \t\n"
#define WORD_SHOWN 48

int prefetch_globs_check(const char *globs, char reason[TEXT_REASON_SIZE])
{
	for (;;) {
		globs += strspn(globs, BLANKS);
		size_t len = strcspn(globs, BLANKS);
		int shown = len < WORD_SHOWN ? (int)len : WORD_SHOWN;

		if (len == 0)
			return 0;
		if (strcspn(globs, "/*?[") >= len)
			return words_refuse(reason,
				"'%.*s' is neither none, cached or all alone, nor a glob "
				"over paths: write '%.*s/*' for what is below it",
				shown, globs, shown, globs);
		globs += len;
	}
}

int prefetch_text_check(const char *text, char reason[TEXT_REASON_SIZE])
{
	static const char *const words[] = {"none", "cached", "all"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(text, words[i]) == 0)
			return 0;
	return prefetch_globs_check(text, reason);
}
