/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Texts in JSON: what admins and file systems call things need not be UTF-8, but JSON is.
 *
 *	json_add_text(object, "job", run->job);		(U+FFFD for what is no UTF-8)
 *
 * Any thread.
 */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Adds `text`; NULL is as "". True if it is told as it is. */
bool json_add_text(cJSON *object, const char *name, const char *text);

/* As an item of an array: its first `len` bytes. NULL when memory is short. */
cJSON *json_text_item(const char *text, size_t len);

/* The bytes that the character at `at` takes, negative if there is none: then one byte is to be
 * skipped. */
ssize_t json_next_character(const char *at, size_t len);
