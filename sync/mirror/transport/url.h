/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The addresses of sources: how they are joined, checked and shown. Any thread. */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

#define URL_TEXT_SIZE 512

/* True for the schemes that a source may have: file, http, https, sftp. */
bool url_is_supported(const char *url);
bool url_is_file(const char *url);
bool url_is_http(const char *url); /* or https */

/* Copies `url` for people to read: without user and password, without control characters,
 * cut to `size` bytes. */
void url_strip(const char *url, char *out, size_t size);

/* `base`/`path` with one slash between them. Returns a string to free(), NULL when out of
 * memory. */
char *url_join(const char *base, const char *path);
