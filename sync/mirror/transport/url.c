/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/transport/url.h"

#include "cache/base/memory.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool url_is_supported(const char *url)
{
	static const char *const schemes[] = {
		"file://", "http://", "https://", "sftp://"};

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0)
			return true;
	return false;
}

bool url_is_file(const char *url)
{
	return strncasecmp(url, "file://", 7) == 0;
}

bool url_is_http(const char *url)
{
	return strncasecmp(url, "http://", 7) == 0 ||
	       strncasecmp(url, "https://", 8) == 0;
}

void url_strip(const char *url, char *out, size_t size)
{
	const char *scheme_end = strstr(url, "://");
	const char *host = scheme_end ? scheme_end + 3 : url;
	size_t authority = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', authority);

	(void)snprintf(out, size, "%.*s%s", scheme_end ? (int)(host - url) : 0, url,
		at ? at + 1 : host);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

char *url_join(const char *base, const char *path)
{
	size_t base_len = strlen(base);
	size_t path_len = strlen(path);

	while (base_len && base[base_len - 1] == '/')
		base_len--;
	char *url = mem_alloc(base_len + 1 + path_len + 1);

	if (!url)
		return NULL;
	memcpy(url, base, base_len);
	url[base_len] = '/';
	memcpy(url + base_len + 1, path, path_len);
	url[base_len + 1 + path_len] = '\0';
	return url;
}
