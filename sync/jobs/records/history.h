/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the daemon tells of past runs:
 *	{"verb": "history", "limit": N, "before": ID}	runs, newest first, from below ID
 *	{"verb": "history", "run": ID}			that one
 *	{"verb": "changes", "run": ID, "after": N}	a page of what it changed, and "last"
 *	{"verb": "skipped", "run": ID, "after": N}	a page of what it could not do
 * The last page is empty.
 */
#pragma once

#include "cache/state/state_db.h"
#include "sync/watch/control_verbs.h"

#define HISTORY_LIMIT 20

/* The set of these verbs, which borrows `db`. */
struct control_verbs history_verbs(struct state_db *db);
