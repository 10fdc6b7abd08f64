/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The admin's programs around a run (sync/jobs/hook.h): what they are told of it. */
#pragma once

#include "sync/reconcile/plan/plan.h"
#include "sync/reconcile/run/run.h"

/* Runs pre_sync if there is one and something would change. A failure is noted and stops the run:
 * -EPERM, or -ECANCELED. Whoever began owes post_sync from here on (record->is_post_owed, in the
 * database before pre_sync is started), but for a pre_sync that could not be started. */
int run_hook_before(struct run *run, const struct plan *plan) WARN_UNUSED;

/* Runs post_sync if this run owes it, be it since before a kill; `result` is what has become of the
 * run, `plan` may be NULL. A failure is noted. */
void run_hook_after(struct run *run, const struct plan *plan, int result);
