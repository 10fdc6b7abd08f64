/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a run fetches ahead, by its policy. */
#pragma once

#include "sync/jobs/glob_list.h"
#include "sync/reconcile/plan/plan.h"
#include "sync/reconcile/run/run.h"

/* Makes complete what the run's policy names in the plan's new tree, within the selection. What
 * cannot be had is recorded as skipped, and read from the source later. 0 (the disk being full
 * is noted), -ECANCELED, or -EHOSTUNREACH when all of it is wanted and no source answers. */
int run_prefetch(struct run *run, const struct plan *plan,
	const struct glob_list *selection) WARN_UNUSED;
