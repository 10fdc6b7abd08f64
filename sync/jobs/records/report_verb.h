/* SPDX-License-Identifier: GPL-3.0-or-later */
/* {"verb": "report"}: what sync/jobs/records/report.h finds, as JSON; the fields are in the manual. */
#pragma once

#include "sync/jobs/records/report.h"
#include "sync/watch/control_verbs.h"

/* The set of this verb, which borrows `config`. */
struct control_verbs report_verbs(struct report_config *config);
