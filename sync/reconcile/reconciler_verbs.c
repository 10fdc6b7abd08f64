/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What can be asked of the reconciler over the control socket. */
#include "cache/base/data/buffer.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "sync/jobs/calendar/rate.h"
#include "sync/jobs/policy/prefetch_text.h"
#include "sync/jobs/records/record_json.h"
#include "sync/reconcile/reconciler_state.h"
#include "sync/watch/json_text.h"

#include <errno.h>
#include <string.h>

#define JOBS_LISTED	   100
#define JOB_SKIPPED_LISTED 100
#define SELECTION_MAX	   (64 * 1024)
#define SCHEDULE_NAME_MAX  64

static void add_progress(struct reconciler *r, cJSON *run)
{
	const struct run_progress *p = &r->progress;
	cJSON *o = cJSON_AddObjectToObject(run, "progress");

	cJSON_AddStringToObject(
		o, "phase", run_phase_text((enum run_phase)atomic_load(&p->phase)));
	cJSON_AddNumberToObject(o, "bytes_total", (double)p->bytes_total);
	cJSON_AddNumberToObject(o, "bytes_done",
		(double)(p->fetch.bytes_fetched + p->fetch.bytes_reused));
	cJSON_AddNumberToObject(o, "contents_total", (double)p->contents_total);
	cJSON_AddNumberToObject(o, "contents_done",
		(double)(p->fetch.contents_done + p->fetch.contents_failed));
}

static void describe_run(struct reconciler *r, struct run_record *record, cJSON *out)
{
	char message[RUN_MESSAGE_SIZE];

	(void)run_queue_correct(r->queue, record, message, sizeof(message));
	record_add_run(out, record);
	if (record->id == run_queue_running(r->queue))
		add_progress(r, out);
}

static void add_next(struct reconciler *r, cJSON *answer)
{
	cJSON *next = cJSON_AddArrayToObject(answer, "next");
	struct timers timers;

	timers_init(&timers, r->env.state, r->mirror);
	if (timers_load(&timers) == 0)
		for (size_t i = 0; i < timers.count; i++) {
			const struct timer *t = &timers.items[i];
			cJSON *o = cJSON_CreateObject();

			cJSON_AddStringToObject(o, "name", t->record->name);
			control_add_time(
				o, "at", t->begin_ns == TIMER_NEVER ? 0 : t->begin_ns);
			cJSON_AddItemToArray(next, o);
		}
	timers_release(&timers);
}

static int answer_jobs(void *arg, const cJSON *request, cJSON *answer)
{
	struct reconciler *r = arg;
	cJSON *runs = cJSON_AddArrayToObject(answer, "runs");
	struct run_list list = {0};
	int error = state_db_runs_unfinished(r->env.state, &list);

	(void)request;
	for (size_t i = 0; error == 0 && i < list.count && i < JOBS_LISTED; i++) {
		char message[RUN_MESSAGE_SIZE];

		if (run_queue_correct(r->queue, &list.items[i], message, sizeof(message)))
			continue;
		cJSON *run = cJSON_CreateObject();

		describe_run(r, &list.items[i], run);
		cJSON_AddItemToArray(runs, run);
	}
	run_list_release(&list);
	add_next(r, answer);
	mutex_lock(&r->lock);
	bool is_open = r->is_window_open;
	int64_t changes_ns = r->window_changes_ns;

	mutex_unlock(&r->lock);
	cJSON_AddBoolToObject(answer, "window_open", is_open);
	control_add_time(
		answer, "window_changes", changes_ns == TIMER_NEVER ? 0 : changes_ns);
	return error;
}

/* The first of what a run could not do; `history --run` has all. */
static int add_skipped(struct reconciler *r, int64_t id, cJSON *answer)
{
	struct skipped_list list = {0};
	int error = state_db_skipped_list(r->env.state, id, 0, JOB_SKIPPED_LISTED, &list);
	cJSON *skipped = cJSON_AddArrayToObject(answer, "skipped_paths");

	for (size_t i = 0; i < list.count; i++)
		record_add_skipped(skipped, &list.items[i]);
	skipped_list_release(&list);
	return error;
}

static int answer_job(void *arg, const cJSON *request, cJSON *answer)
{
	struct reconciler *r = arg;
	int64_t id = (int64_t)control_number(request, "run", 0);
	struct run_list list = {0};
	int error = state_db_run_find(r->env.state, id, &list);

	if (error == -ENOENT)
		return control_refuse(
			answer, error, "there is no run %lld", (long long)id);
	if (error == 0)
		describe_run(r, &list.items[0], answer);
	run_list_release(&list);
	if (error == 0)
		error = add_skipped(r, id, answer);
	mutex_lock(&r->lock);
	int64_t next_ns = retries_of(&r->retries, id);

	mutex_unlock(&r->lock);
	control_add_time(answer, "next_attempt", next_ns);
	return error;
}

static int answer_job_cancel(void *arg, const cJSON *request, cJSON *answer)
{
	struct reconciler *r = arg;
	int64_t id = (int64_t)control_number(request, "run", 0);
	int error = run_queue_cancel(r->queue, id);

	if (error == -ENOENT)
		return control_refuse(
			answer, error, "run %lld neither runs nor waits", (long long)id);
	/* it may wait for the channel's answer */
	mutex_lock(&r->lock);
	condition_broadcast(&r->changed);
	mutex_unlock(&r->lock);
	return error;
}

/* The globs of a request, one a line. */
static int read_packages(const cJSON *request, struct buffer *out)
{
	const cJSON *globs = cJSON_GetObjectItemCaseSensitive(request, "packages");
	const cJSON *glob;
	int r = 0;

	if (globs && !cJSON_IsArray(globs))
		return -EINVAL;
	cJSON_ArrayForEach(glob, globs)
	{
		/* an empty one, of a variable that was not set, must not come to mean everything */
		if (!cJSON_IsString(glob) || !*glob->valuestring ||
			strchr(glob->valuestring, '\n'))
			return -EINVAL;
		if (r == 0)
			r = buffer_printf(
				out, "%s%s", out->len ? "\n" : "", glob->valuestring);
	}
	return r == 0 ? buffer_add(out, "", 1) : r;
}

static int answer_sync(void *arg, const cJSON *request, cJSON *answer)
{
	struct reconciler *r = arg;
	AUTO_BUFFER struct buffer packages = BUFFER_INIT(SELECTION_MAX);
	const char *mode = control_text(request, "mode", "full");
	int64_t id = 0;

	if (strcmp(mode, "full") != 0 && strcmp(mode, "incremental") != 0)
		return control_refuse(answer, -EINVAL, "there is no mode '%s'", mode);
	if (read_packages(request, &packages) < 0)
		return control_refuse(answer, -EINVAL,
			"a package's glob is empty or not one line of text");
	const char *prefetch = control_text(request, "prefetch", "");
	char reason[TEXT_REASON_SIZE];

	if (prefetch_text_check(prefetch, reason) < 0)
		return control_refuse(answer, -EINVAL, "--prefetch: %s", reason);
	struct shared_settings *settings = reconciler_settings(r);
	const struct run_record run = {.job = "sync",
		.trigger = RUN_BY_HAND,
		.selection = (const char *)packages.data,
		.prefetch = *prefetch ? prefetch : settings->settings.prefetch,
		.is_full = strcmp(mode, "full") == 0,
		.is_dry = control_is_true(request, "dry_run"),
		.is_deep = control_is_true(request, "deep"),
		.is_delete_allowed = control_is_true(request, "allow_delete")};
	int error = run_queue_add(r->queue, &run, &id);

	shared_settings_put(settings);
	if (error < 0)
		return error;
	cJSON_AddNumberToObject(answer, "run", (double)id);
	cJSON_AddStringToObject(answer, "state",
		run_queue_running(r->queue) == id ? "running" : "queued");
	return 0;
}

static int answer_schedule_list(void *arg, const cJSON *request, cJSON *answer)
{
	const struct reconciler *r = arg;
	cJSON *list = cJSON_AddArrayToObject(answer, "schedules");
	struct timers timers;

	(void)request;
	timers_init(&timers, r->env.state, r->mirror);
	int error = timers_load(&timers);

	for (size_t i = 0; error == 0 && i < timers.count; i++) {
		const struct timer *t = &timers.items[i];
		const struct schedule_record *s = t->record;
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "name", s->name);
		cJSON_AddStringToObject(o, "origin", schedule_origin_text(s->origin));
		cJSON_AddBoolToObject(o, "enabled", s->is_enabled);
		cJSON_AddStringToObject(o, "when", s->when);
		cJSON_AddStringToObject(o, "tz", s->zone);
		cJSON_AddStringToObject(o, "splay", s->splay);
		cJSON_AddStringToObject(o, "mode", *s->mode ? s->mode : "full");
		json_add_text(o, "packages", s->packages);
		json_add_text(o, "prefetch", s->prefetch);
		cJSON_AddStringToObject(o, "rate", s->rate);
		cJSON_AddStringToObject(o, "error", t->error);
		control_add_time(o, "last", s->last_run_ns);
		control_add_time(o, "next", t->begin_ns == TIMER_NEVER ? 0 : t->begin_ns);
		cJSON_AddItemToArray(list, o);
	}
	timers_release(&timers);
	return error;
}

/* The schedule of this name: 0, -ENOENT, or -errno. */
static int find_origin(struct reconciler *r, const char *name, enum schedule_origin *out)
{
	struct schedule_list list = {0};
	int error = state_db_schedules_list(r->env.state, &list);
	bool is_found = false;

	for (size_t i = 0; error == 0 && i < list.count; i++)
		if (strcmp(list.items[i].name, name) == 0) {
			*out = list.items[i].origin;
			is_found = true;
		}
	schedule_list_release(&list);
	return error < 0 || is_found ? error : -ENOENT;
}

static int refuse_foreign(cJSON *answer, const char *name, enum schedule_origin origin)
{
	return control_refuse(answer, -EPERM,
		"schedule %s is the %s's: change it there; 'depotfs schedule disable' "
		"ends "
		"it here",
		name, origin == SCHEDULE_BY_POLICY ? "master" : "configuration file");
}

static int check_schedule(const struct schedule_record *s, cJSON *answer)
{
	char reason[TEXT_REASON_SIZE] = "";
	struct schedule schedule;
	struct rate_limit rate;
	int r = schedule_parse(s->when, &schedule, reason);

	/* what cannot be read would be run as a full one, which removes */
	if (r == 0 && strcmp(s->mode, "full") != 0 && strcmp(s->mode, "incremental") != 0)
		r = words_refuse(reason, "there is no mode '%s'", s->mode);
	if (r == 0 && *s->zone)
		r = schedule_set_zone(&schedule, s->zone, reason);
	if (r == 0 && *s->splay)
		r = schedule_set_splay(&schedule, s->splay, reason);
	if (r == 0)
		r = prefetch_text_check(s->prefetch, reason);
	if (r == 0 && *s->rate)
		r = rate_parse(s->rate, &rate, reason);
	return r < 0 ? control_refuse(answer, r, "%s", reason) : 0;
}

static bool name_is_valid(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < SCHEDULE_NAME_MAX &&
	       strspn(name,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		       "._-") == len;
}

static int answer_schedule_add(void *arg, const cJSON *request, cJSON *answer)
{
	struct reconciler *r = arg;
	const struct schedule_record s = {.name = control_text(request, "name", ""),
		.when = control_text(request, "when", ""),
		.zone = control_text(request, "tz", ""),
		.splay = control_text(request, "splay", ""),
		.mode = control_text(request, "mode", "full"),
		.packages = control_text(request, "packages", ""),
		.prefetch = control_text(request, "prefetch", "cached"),
		.rate = control_text(request, "rate", ""),
		.origin = SCHEDULE_BY_COMMAND,
		.is_enabled = true,
		.created_ns = clock_real_ns()};
	enum schedule_origin origin = SCHEDULE_BY_COMMAND;

	if (!name_is_valid(s.name))
		return control_refuse(answer, -EINVAL,
			"'%s' cannot be a schedule's name: letters, digits, '.', '_' and "
			"'-'",
			s.name);
	int error = check_schedule(&s, answer);

	if (error < 0)
		return error;
	mutex_lock(&r->schedules);
	error = find_origin(r, s.name, &origin);
	bool is_ours = (error == 0 || error == -ENOENT) && origin == SCHEDULE_BY_COMMAND;

	if (is_ours)
		error = state_db_schedule_put(r->env.state, &s);
	mutex_unlock(&r->schedules);
	if (error == 0 && !is_ours)
		return refuse_foreign(answer, s.name, origin);
	reconciler_wake(r);
	return error;
}

static int no_schedule(cJSON *answer, const char *name)
{
	return control_refuse(answer, -ENOENT, "there is no schedule '%s'", name);
}

static int answer_schedule_remove(void *arg, const cJSON *request, cJSON *answer)
{
	struct reconciler *r = arg;
	const char *name = control_text(request, "name", "");
	enum schedule_origin origin = SCHEDULE_BY_COMMAND;

	mutex_lock(&r->schedules);
	int error = find_origin(r, name, &origin);

	if (error == 0 && origin == SCHEDULE_BY_COMMAND)
		error = state_db_schedule_remove(r->env.state, name);
	mutex_unlock(&r->schedules);
	if (error == -ENOENT)
		return no_schedule(answer, name);
	if (error == 0 && origin != SCHEDULE_BY_COMMAND)
		return refuse_foreign(answer, name, origin);
	reconciler_wake(r);
	return error;
}

static int enable(
	struct reconciler *r, const cJSON *request, cJSON *answer, bool is_enabled)
{
	const char *name = control_text(request, "name", "");

	mutex_lock(&r->schedules);
	int error = state_db_schedule_enable(r->env.state, name, is_enabled);

	/* what passed while it was disabled was not missed */
	if (error == 0 && is_enabled)
		error = state_db_schedule_ran(r->env.state, name, clock_real_ns());
	mutex_unlock(&r->schedules);
	if (error == -ENOENT)
		return no_schedule(answer, name);
	reconciler_wake(r);
	return error;
}

static int answer_schedule_enable(void *arg, const cJSON *request, cJSON *answer)
{
	return enable(arg, request, answer, true);
}

static int answer_schedule_disable(void *arg, const cJSON *request, cJSON *answer)
{
	return enable(arg, request, answer, false);
}

static int answer_reload(void *arg, const cJSON *request, cJSON *answer)
{
	struct reconciler *r = arg;
	char reason[TEXT_REASON_SIZE] = "";
	struct settings settings;

	(void)request;
	int error = r->reload(r->reload_arg, &settings, reason);

	if (error < 0)
		return *reason ? control_refuse(answer, error, "%s", reason) : error;
	error = settings.logdir
			? job_log_claim(settings.logdir, r->env.mountpoint, reason)
			: 0;
	if (error < 0) {
		settings_release(&settings);
		return control_refuse(answer, error, "%s", reason);
	}
	struct shared_settings *fresh = shared_settings_new(&settings);

	settings_release(&settings);
	if (!fresh)
		return -ENOMEM;
	mutex_lock(&r->lock);
	struct shared_settings *old = r->settings;

	r->settings = fresh;
	mutex_unlock(&r->lock);
	shared_settings_put(old);
	reconciler_wake(r);
	return 0;
}

static const struct control_verb verbs[] = {
	{"sync", answer_sync},
	{"jobs", answer_jobs},
	{"job", answer_job},
	{"job-cancel", answer_job_cancel},
	{"schedule-list", answer_schedule_list},
	{"schedule-add", answer_schedule_add},
	{"schedule-remove", answer_schedule_remove},
	{"schedule-enable", answer_schedule_enable},
	{"schedule-disable", answer_schedule_disable},
	{"reload", answer_reload},
};

void reconciler_set_verbs(struct reconciler *r)
{
	r->verbs = (struct control_verbs){
		.verbs = verbs, .count = ARRAY_SIZE(verbs), .arg = r};
}
