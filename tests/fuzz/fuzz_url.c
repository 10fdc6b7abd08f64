/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The functions on addresses, with any text and any room. */
#include "sync/mirror/transport/url.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

bool fuzz_was_accepted;

static void check_strip(const char *url, size_t room)
{
	char *out = malloc(room);

	if (!out)
		return;
	url_strip(url, out, room);
	MUST(strnlen(out, room) < room);
	for (const char *p = out; *p; p++)
		MUST((unsigned char)*p >= 0x20 && *p != 0x7f);
	/* whole: no user and no password is left */
	const char *host = strstr(url, "://");

	if (room > strlen(url) && host) {
		const char *shown = strstr(out, "://");

		MUST(shown != NULL);
		MUST(!memchr(shown + 3, '@', strcspn(shown + 3, "/?#")));
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *url = malloc(size + 1);

	if (!url)
		return 0;
	if (size)
		memcpy(url, data, size);
	url[size] = '\0';
	fuzz_was_accepted = url_is_supported(url);
	if (url_is_file(url))
		MUST(fuzz_was_accepted);
	check_strip(url, URL_TEXT_SIZE);
	check_strip(url, size ? data[0] % 16u + 1 : 1);
	check_strip(url, size + 2);
	char *joined = url_join(url, "pack/aa");

	if (joined) {
		size_t len = strlen(joined);

		MUST(len >= 8 && strcmp(joined + len - 8, "/pack/aa") == 0);
		MUST(len == 8 || joined[len - 9] != '/');
	}
	free(joined);
	free(url);
	return 0;
}
