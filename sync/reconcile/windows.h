/* SPDX-License-Identifier: GPL-3.0-or-later */
/* When background work may run, by all the windows that are for this mirror. */
#pragma once

#include "sync/jobs/policy/policy.h"
#include "sync/jobs/settings.h"

/* The windows of the settings' file count; where it has none for these labels, the master's; where
 * that has none either, it is always open and without a limit. Several sections add up: open
 * when one of them is, at the rate of the first that is. A zone that this machine does not know
 * leaves its section out, with a warning. Not to be called in a hurry: reads zones. */
void windows_at(const struct settings *settings, const struct policy *master,
	int64_t now_ns, struct window_state *out);
