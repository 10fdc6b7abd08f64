/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/commands/window_notice.h"

#include "cache/base/threads/clock.h"
#include "sync/watch/control_verbs.h"

#include <stdio.h>
#include <string.h>

/* Nothing has moved for so long, and the window may be why. */
#define STILL_NS NS_PER_SEC

/* If it was not, it may have become so. */
#define ASK_EVERY_NS (2 * NS_PER_SEC)

static bool is_time(struct window_notice *notice, const char *how_far)
{
	int64_t now_ns = clock_mono_ns();

	if (notice->since_ns == 0 || strcmp(notice->how_far, how_far) != 0) {
		(void)snprintf(notice->how_far, sizeof(notice->how_far), "%s", how_far);
		notice->since_ns = now_ns;
		notice->asked_ns = 0;
	}
	if (now_ns - notice->since_ns < STILL_NS ||
		(notice->asked_ns && now_ns - notice->asked_ns < ASK_EVERY_NS))
		return false;
	notice->asked_ns = now_ns;
	return true;
}

/* The number of the run that has something to fetch; 0: none has. */
static double fetching_run(const cJSON *jobs)
{
	const cJSON *run;

	cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(jobs, "runs"))
	{
		const cJSON *p = cJSON_GetObjectItemCaseSensitive(run, "progress");

		if (strcmp(control_text(p, "phase", ""), "fetching") == 0 &&
			control_number(p, "bytes_done", 0) <
				control_number(p, "bytes_total", 0))
			return control_number(run, "run", 0);
	}
	return 0;
}

bool window_notice_look(
	struct window_notice *notice, const char *how_far, struct window_wait *out)
{
	AUTO_JSON cJSON *request = NULL;
	AUTO_JSON cJSON *jobs = NULL;

	if (!is_time(notice, how_far))
		return false;
	request = control_request("jobs");
	if (control_ask(notice->mountpoint, request, &jobs) < 0 ||
		control_is_true(jobs, "window_open"))
		return false;
	const char *opens = control_text(jobs, "window_changes", "never");
	double run = fetching_run(jobs);

	if ((notice->is_for_run && run == 0) || strcmp(notice->told, opens) == 0)
		return false;
	(void)snprintf(notice->told, sizeof(notice->told), "%s", opens);
	if (strcmp(opens, "never") == 0)
		(void)snprintf(out->until, sizeof(out->until), "and none opens");
	else
		(void)snprintf(out->until, sizeof(out->until), "until one opens at %s",
			notice->told);
	out->run = run;
	return true;
}
