/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whether a sync is what its admin can have meant: judged by the plan, before anything is changed. */
#pragma once

#include "sync/jobs/glob_list.h"
#include "sync/reconcile/plan/plan.h"
#include "sync/reconcile/run/run.h"

/* The guard: -EPERM (noted) for what would remove more of what the mount shows than is allowed. The
 * share is of what the view's catalogs hold, counted here: what they say of themselves is the
 * master's word. They are counted only as far as it takes to see that it is enough. Else 0,
 * -ECANCELED, or why a catalog cannot be had (noted). */
int run_judge_guard(struct run *run, const struct plan *plan) WARN_UNUSED;

/* Globs that match no package, neither of the view nor of the channel: for a run by hand the first
 * one is -ENXIO, for others a warning each. 0, or as above. */
int run_judge_globs(struct run *run, const struct glob_list *selection) WARN_UNUSED;
