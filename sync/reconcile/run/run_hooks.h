/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The admin's programs around a run (sync/jobs/hook.h): what they are told of it. */
#pragma once

#include "sync/reconcile/plan/plan.h"
#include "sync/reconcile/run/run.h"

/* Runs pre_sync if there is one and something would change. A failure is noted and stops the run:
 * -EPERM, or -ECANCELED. */
int run_hook_before(struct run *run, const struct plan *plan) WARN_UNUSED;

/* Runs post_sync if what comes behind pre_sync was begun, by this run or by one that was killed;
 * `result` is what has become of it, `plan` may be NULL. A failure is noted. */
void run_hook_after(struct run *run, const struct plan *plan, int result);
