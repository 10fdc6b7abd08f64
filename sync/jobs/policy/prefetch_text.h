/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How admins write what is fetched ahead: "none", "cached", "all", or globs over paths separated by
 * blanks. A glob has a '/', '*', '?' or '[' in it, so that a slip in one of the three words is none.
 * Pure; any thread.
 */
#pragma once

#include "sync/jobs/calendar/words.h"

/* 0, or -EINVAL with the reason and what could have been meant. "" is as "cached". */
int prefetch_text_check(const char *text, char reason[TEXT_REASON_SIZE]) WARN_UNUSED;

/* Likewise globs alone. */
int prefetch_globs_check(const char *globs, char reason[TEXT_REASON_SIZE]) WARN_UNUSED;
