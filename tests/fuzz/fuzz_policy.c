/* SPDX-License-Identifier: GPL-3.0-or-later */
/* policy_parse() on any bytes; then when its schedules run and its windows are open. */
#include "cache/base/threads/clock.h"
#include "sync/jobs/policy/policy.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#define SOME_TIME_NS                                                                     \
	(INT64_C(1806195600) * NS_PER_SEC) /* the night clocks change in Oslo */

bool fuzz_was_accepted;

static void walk_schedule(const struct policy_schedule *s)
{
	AUTO_TIME_ZONE struct time_zone *zone = NULL;
	int64_t ns = SOME_TIME_NS;

	MUST(time_zone_open(s->schedule.zone, &zone) == 0);
	MUST(s->schedule.splay_s >= 0 && s->schedule.splay_s <= SCHEDULE_SPLAY_MAX_S);
	for (int i = 0; i < 5; i++) {
		int64_t next;

		MUST(schedule_next(&s->schedule, zone, ns, &next) == 0);
		MUST(next > ns);
		ns = next;
	}
}

static void walk_windows(const struct policy_windows *w)
{
	AUTO_TIME_ZONE struct time_zone *zone = NULL;
	struct window_state state;

	MUST(time_zone_open(w->zone, &zone) == 0);
	MUST(w->windows.count > 0 && w->windows.count <= WINDOW_MAX);
	window_at(&w->windows, zone, SOME_TIME_NS, &state);
	MUST(state.changes_ns > SOME_TIME_NS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_POLICY struct policy policy = {0};
	char reason[TEXT_REASON_SIZE] = "";
	int r = policy_parse((const char *)data, size, &policy, reason);

	fuzz_was_accepted = r == 0;
	if (r < 0) {
		MUST(r == -EINVAL || r == -ENOMEM);
		MUST(r == -ENOMEM || strncmp(reason, "line ", 5) == 0);
		return 0;
	}
	for (size_t i = 0; i < policy.schedule_count; i++)
		walk_schedule(&policy.schedules[i]);
	for (size_t i = 0; i < policy.windows_count; i++)
		walk_windows(&policy.windows[i]);
	return 0;
}
