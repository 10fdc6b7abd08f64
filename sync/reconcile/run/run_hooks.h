/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The admin's programs around a run (sync/jobs/hook.h): what they are told of it. */
#pragma once

#include "sync/reconcile/plan/plan.h"
#include "sync/reconcile/run/run.h"

/* Runs pre_sync if there is one and something would change. A failure is noted and stops the run:
 * -EPERM, or -ECANCELED. */
int run_hook_before(struct run *run, const struct plan *plan) WARN_UNUSED;

/* Runs post_sync likewise; `result` is what has become of the run. A failure is noted. */
void run_hook_after(struct run *run, const struct plan *plan, int result);
