/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/run/run_hooks.h"

#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "sync/jobs/hook.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Of the list in the environment; the whole one stands on standard input. */
#define PACKAGES_MAX (32 * 1024)
#define VALUES	     12

struct environment {
	struct buffer texts[VALUES];
	const char *values[VALUES + 1];
	size_t count;
	int error;
};

static void environment_release(struct environment *e)
{
	for (size_t i = 0; i < e->count; i++)
		buffer_release(&e->texts[i]);
}
#define AUTO_ENVIRONMENT CLEANUP(environment_release)

static void add_text(struct environment *e, const char *name, const char *value)
{
	struct buffer *text = &e->texts[e->count++];

	*text = (struct buffer)BUFFER_INIT(PACKAGES_MAX + 256);
	int r = buffer_printf(text, "DEPOTFS_%s=%s", name, value);

	if (r < 0)
		e->error = r;
	e->values[e->count - 1] = (const char *)text->data;
}

static void add_number(struct environment *e, const char *name, uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, value);
	add_text(e, name, text);
}

/* The changed packages' paths, each followed by `end`; no more than `max` bytes of them. */
static int list_packages(
	const struct plan *plan, char end, size_t max, struct buffer *out)
{
	size_t count = plan ? plan_package_count(plan) : 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const char *path = plan_package(plan, i)->path;

		if (!*path)
			path = "."; /* a shell's loop would not see an empty name */
		if (out->len + strlen(path) + 2 > max)
			break;
		r = buffer_printf(out, "%s%c", path, end);
	}
	return r;
}

static void note_line(void *arg, const char *line)
{
	const struct run *run = arg;

	job_log_print(run->log, "hook: %s", line);
}

static int run_program(struct run *run, const struct plan *plan, const char *path,
	const char *outcome, const atomic_bool *is_cancelled, char words[HOOK_WORDS_SIZE])
{
	AUTO_BUFFER struct buffer names = BUFFER_INIT(PACKAGES_MAX + 8);
	AUTO_BUFFER struct buffer input = BUFFER_INIT(SIZE_MAX / 2);
	AUTO_ENVIRONMENT struct environment e = {0};
	const struct run_record *record = run->record;
	int r = list_packages(plan, ' ', PACKAGES_MAX, &names);

	if (r == 0 && names.len)
		names.len--; /* the last space */
	if (r == 0)
		r = buffer_add(&names, "", 1);
	if (r == 0)
		r = list_packages(plan, '\n', SIZE_MAX / 2, &input);
	if (r < 0)
		return r;
	add_text(&e, "JOB", record->job);
	add_number(&e, "RUN", (uint64_t)record->id);
	add_text(&e, "MOUNTPOINT", run->env->mountpoint);
	add_text(&e, "MODE", record->is_full ? "full" : "incremental");
	add_text(&e, "OUTCOME", outcome);
	add_text(&e, "PACKAGE", (const char *)names.data);
	add_number(&e, "REVISION_OLD", record->revision_before);
	add_number(&e, "REVISION_NEW", run->head->revision);
	add_number(&e, "ADDED", record->counts.added);
	add_number(&e, "CHANGED", record->counts.changed);
	add_number(&e, "REMOVED", record->counts.removed);
	add_number(&e, "STALE", record->counts.kept_stale);
	if (e.error < 0)
		return e.error;
	const struct hook hook = {.path = path,
		.env = e.values,
		.input = input.data,
		.input_len = input.len,
		.timeout_ns = run->settings->hook_timeout_sec * NS_PER_SEC,
		.is_cancelled = is_cancelled,
		.on_line = note_line,
		.arg = run};

	atomic_store(&run->progress->phase, RUN_PHASE_HOOK);
	job_log_print(run->log, "running %s", path);
	return hook_run(&hook, words);
}

/* Whether it was started, however it ended. */
static bool was_started(int result)
{
	return result == 0 || result == -ECHILD || result == -ETIMEDOUT ||
	       result == -ECANCELED;
}

/* Written down before pre_sync may stop anything, so that a kill loses nothing of it. */
static void owe_post(struct run *run, bool is_owed)
{
	if (run->record->is_post_owed == is_owed)
		return;
	run->record->is_post_owed = is_owed;
	if (state_db_run_update(run->env->state, run->record) < 0)
		log_warn("that run %lld owes post_sync is not in the state database: a "
			 "kill would lose it",
			(long long)run->record->id);
}

int run_hook_before(struct run *run, const struct plan *plan)
{
	const struct settings *s = run->settings;
	bool was_owed = run->record->is_post_owed;
	char words[HOOK_WORDS_SIZE] = "out of memory";

	if ((!s->pre_sync && !s->post_sync) || !run->has_changes)
		return 0;
	owe_post(run, true);
	if (!s->pre_sync)
		return 0;
	int r = run_program(run, plan, s->pre_sync, "", run->is_cancelled, words);

	if (!was_started(r))
		owe_post(run, was_owed);
	if (r == 0 || r == -ECANCELED)
		return r;
	return run_note_error(
		run, -EPERM, "%s: the sync is stopped, nothing was changed", words);
}

static const char *outcome_of(const struct run *run, int result)
{
	if (result == 0)
		return "done";
	if (result == -ECANCELED)
		return "cancelled";
	return run->is_held ? "stopped" : "failed";
}

void run_hook_after(struct run *run, const struct plan *plan, int result)
{
	char words[HOOK_WORDS_SIZE] = "out of memory";

	if (!run->record->is_post_owed)
		return;
	/* even if the run is cancelled: what pre_sync has stopped must not stay so */
	int r = run->settings->post_sync
			? run_program(run, plan, run->settings->post_sync,
				  outcome_of(run, result), NULL, words)
			: 0;

	if (r < 0)
		(void)run_note_error(run, r, "%s", words);
	owe_post(run, false);
}
