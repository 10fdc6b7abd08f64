/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How records of state.db look in answers of the daemon and in --json, and paths on a terminal. */
#pragma once

#include "cache/state/change_records.h"
#include "cache/state/run_records.h"

#include <cjson/cJSON.h>
#include <stdio.h>

/* Adds a path as a text. Bytes that are no UTF-8 become U+FFFD, and `name`_hex holds the path's
 * bytes then. */
void record_add_path(cJSON *object, const char *name, const char *path);

/* The bytes of an item's "path" that record_add_path() wrote, for free(); NULL when memory is short. */
char *record_path_of(const cJSON *item);

/* Adds all that is known of a run; texts as json_add_text() does. */
void record_add_run(cJSON *object, const struct run_record *run);

/* How the run of an answer was meant, in a word or two: "full", "dry full", "incremental", ... */
const char *record_mode_text(const cJSON *run);

void record_add_change(cJSON *object, const struct change_record *change);

/* A path that a run could not do, at the end of an array. */
void record_add_skipped(cJSON *array, const struct skipped_record *skipped);

/* The line that tells of such an item. */
void record_print_skipped(const cJSON *skipped);

/* Prints a path that must not disturb a terminal or a line: control characters, backslashes and what
 * is no UTF-8 as \xNN. */
void record_print_path(FILE *to, const char *path);
