/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/windows.h"

#include "cache/base/log.h"

/* Adds what the policy's sections say; false if none is for this mirror. */
static bool add_sections(const struct policy *policy, const struct settings *settings,
	int64_t now_ns, struct window_state *out)
{
	bool is_any = false;

	for (size_t i = 0; i < policy->windows_count; i++) {
		const struct policy_windows *w = &policy->windows[i];
		AUTO_TIME_ZONE struct time_zone *zone = NULL;
		struct window_state state;

		if (!policy_applies(&w->labels, settings->labels, settings->label_count))
			continue;
		int r = time_zone_open(w->zone, &zone);

		if (r < 0) {
			log_warn("windows %s are left out: there is no time zone '%s' "
				 "here",
				w->name, w->zone);
			continue;
		}
		window_at(&w->windows, zone, now_ns, &state);
		if (!is_any)
			*out = (struct window_state){.changes_ns = WINDOW_NEVER};
		is_any = true;
		if (state.is_open && !out->is_open) {
			out->is_open = true;
			out->rate = state.rate;
		}
		if (state.changes_ns < out->changes_ns)
			out->changes_ns = state.changes_ns;
	}
	return is_any;
}

void windows_at(const struct settings *settings, const struct policy *master,
	int64_t now_ns, struct window_state *out)
{
	*out = (struct window_state){.is_open = true, .changes_ns = WINDOW_NEVER};
	if (!add_sections(&settings->local, settings, now_ns, out))
		(void)add_sections(master, settings, now_ns, out);
}
