/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/records/history.h"

#include "sync/jobs/records/record_json.h"

#include <errno.h>

/* A page of long paths stays far below CONTROL_REPLY_MAX. */
#define PAGE 5000

/* Of a request; what is not a sensible number is `otherwise`. */
static int64_t integer_of(const cJSON *request, const char *name, int64_t otherwise)
{
	double number = control_number(request, name, (double)otherwise);

	return number >= 0 && number < 1e15 ? (int64_t)number : otherwise;
}

/* An empty object at the end of the array; NULL when memory is short. */
static cJSON *add_object(cJSON *array)
{
	cJSON *object = cJSON_CreateObject();

	if (object && !cJSON_AddItemToArray(array, object)) {
		cJSON_Delete(object);
		return NULL;
	}
	return object;
}

static int answer_history(void *arg, const cJSON *request, cJSON *answer)
{
	struct state_db *db = arg;
	struct run_list list;
	int64_t id = integer_of(request, "run", 0);
	int r = id ? state_db_run_find(db, id, &list)
		   : state_db_runs_list(db, integer_of(request, "before", 0),
			     (size_t)integer_of(request, "limit", HISTORY_LIMIT), &list);

	if (r == -ENOENT)
		return control_refuse(
			answer, r, "the history has no run %lld", (long long)id);
	if (r < 0)
		return r;
	cJSON *runs = cJSON_AddArrayToObject(answer, "runs");

	for (size_t i = 0; i < list.count && r == 0; i++) {
		cJSON *run = add_object(runs);

		r = run ? 0 : -ENOMEM;
		if (run)
			record_add_run(run, &list.items[i]);
	}
	run_list_release(&list);
	return r;
}

static int answer_changes(void *arg, const cJSON *request, cJSON *answer)
{
	struct change_list list;
	int r = state_db_changes_list(arg, integer_of(request, "run", 0),
		integer_of(request, "after", 0), PAGE, &list);

	if (r < 0)
		return r;
	cJSON *changes = cJSON_AddArrayToObject(answer, "changes");

	for (size_t i = 0; i < list.count && r == 0; i++) {
		cJSON *change = add_object(changes);

		r = change ? 0 : -ENOMEM;
		if (change)
			record_add_change(change, &list.items[i]);
	}
	cJSON_AddNumberToObject(answer, "last", (double)list.last);
	change_list_release(&list);
	return r;
}

static int answer_skipped(void *arg, const cJSON *request, cJSON *answer)
{
	struct skipped_list list;
	int r = state_db_skipped_list(arg, integer_of(request, "run", 0),
		integer_of(request, "after", 0), PAGE, &list);

	if (r < 0)
		return r;
	cJSON *skipped = cJSON_AddArrayToObject(answer, "skipped");

	for (size_t i = 0; i < list.count; i++)
		record_add_skipped(skipped, &list.items[i]);
	cJSON_AddNumberToObject(answer, "last", (double)list.last);
	skipped_list_release(&list);
	return r;
}

struct control_verbs history_verbs(struct state_db *db)
{
	static const struct control_verb verbs[] = {
		{"history", answer_history},
		{"changes", answer_changes},
		{"skipped", answer_skipped},
	};

	return (struct control_verbs){
		.verbs = verbs, .count = ARRAY_SIZE(verbs), .arg = db};
}
