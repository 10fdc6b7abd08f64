/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The end of a full sync: the disk holds what the view names, and that whole. */
#pragma once

#include "sync/reconcile/run/run.h"

/* Has every catalog of the view here; removes content, partials and catalogs that nothing in it
 * names; checks what is here (its size; its digest for a deep run); fetches again what was
 * damaged. 0, -ECANCELED, or -errno (noted). */
int run_sweep(struct run *run) WARN_UNUSED;
