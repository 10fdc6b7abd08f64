/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/records/report_verb.h"

#include "sync/jobs/records/record_json.h"

#include <errno.h>

static void add_package(cJSON *object, const struct report_package *p)
{
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {{"files", p->files}, {"bytes", p->bytes},
		{"files_cached", p->files_cached}, {"bytes_to_fetch", p->bytes_to_fetch},
		{"stale_entries", p->stale_entries},
		{"promised_files", p->promised_files}};

	record_add_path(object, "path", p->path);
	cJSON_AddStringToObject(object, "state", report_state_text(p->state));
	cJSON_AddStringToObject(object, "content", report_content_text(p->content));
	cJSON_AddBoolToObject(object, "entered", p->is_entered);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		cJSON_AddNumberToObject(
			object, numbers[i].name, (double)numbers[i].value);
	control_add_time(object, "since", p->since_ns);
	cJSON_AddStringToObject(object, "last_error", p->last_error ? p->last_error : "");
	control_add_time(object, "last_error_time", p->last_error_ns);
	control_add_time(object, "next_attempt", p->next_attempt_ns);
}

static int fill(const struct report *report, cJSON *answer)
{
	cJSON *states = cJSON_AddObjectToObject(answer, "states");

	cJSON_AddNumberToObject(answer, "revision", (double)report->sides.view_revision);
	cJSON_AddNumberToObject(
		answer, "newest_revision", (double)report->sides.head_revision);
	control_add_time(answer, "newest_published", report->sides.published_ns);
	cJSON_AddBoolToObject(answer, "falls_short", report_falls_short(report));
	cJSON_AddNumberToObject(answer, "bytes_to_fetch", (double)report->bytes_to_fetch);
	cJSON_AddNumberToObject(answer, "promised_files", (double)report->promised_files);
	cJSON_AddNumberToObject(
		answer, "unknown_catalogs", (double)report->unknown_catalogs);
	for (int i = 0; i <= REPORT_CURRENT; i++)
		cJSON_AddNumberToObject(states, report_state_text((enum report_state)i),
			(double)report->states[i]);
	cJSON *packages = cJSON_AddArrayToObject(answer, "packages");

	for (size_t i = 0; i < report->count; i++) {
		cJSON *package = cJSON_CreateObject();

		if (!package || !cJSON_AddItemToArray(packages, package)) {
			cJSON_Delete(package);
			return -ENOMEM;
		}
		add_package(package, &report->packages[i]);
	}
	return 0;
}

static int answer_report(void *arg, const cJSON *request, cJSON *answer)
{
	struct report *report;
	int r = report_make(arg, &report);

	(void)request;
	if (r < 0)
		return r;
	r = fill(report, answer);
	report_free(report);
	return r;
}

struct control_verbs report_verbs(struct report_config *config)
{
	static const struct control_verb verbs[] = {{"report", answer_report}};

	return (struct control_verbs){
		.verbs = verbs, .count = ARRAY_SIZE(verbs), .arg = config};
}
