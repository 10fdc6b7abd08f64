/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/run/run.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/state/package_records.h"
#include "sync/jobs/glob_list.h"
#include "sync/reconcile/plan/plan.h"
#include "sync/reconcile/run/run_hooks.h"
#include "sync/reconcile/run/run_judge.h"
#include "sync/reconcile/run/run_prefetch.h"
#include "sync/reconcile/run/run_sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* Changes written to the history at a time, outside of the flip. */
#define CHANGES_BATCH 10000

const char *run_phase_text(enum run_phase phase)
{
	static const char *const texts[] = {"waiting", "planning", "running a hook",
		"fetching", "switching over", "checking"};

	return texts[phase];
}

/* Adds to what is said of the run in the end, and to the logs. */
static PRINTF_LIKE(3, 0) void note(
	struct run *run, const char *kind, const char *format, va_list args)
{
	size_t len = strlen(run->message);

	if (len && len < sizeof(run->message) - 3) {
		memcpy(run->message + len, "; ", 3);
		len += 2;
	}
	(void)vsnprintf(run->message + len, sizeof(run->message) - len, format, args);
	log_make_plain(run->message + len);
	job_log_print(run->log, "%s: %s", kind, run->message + len);
	log_warn("run %lld (%s): %s", (long long)run->record->id, run->record->job,
		run->message + len);
}

int run_note_error(struct run *run, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	note(run, "error", format, args);
	va_end(args);
	run->record->counts.errors++;
	return error;
}

void run_note_warning(struct run *run, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	note(run, "warning", format, args);
	va_end(args);
}

static void enter_phase(struct run *run, enum run_phase phase)
{
	atomic_store(&run->progress->phase, (int)phase);
}

static int make_plan(
	struct run *run, const struct glob_list *selection, struct plan **out)
{
	struct plan_config config = {
		.catalogs = run->env->catalogs,
		.source = run->env->source,
		.is_cancelled = run->is_cancelled,
		.timeout_ns = run->env->timeout_ns,
		.old = {.root = run->view->root, .revision = run->view->revision},
		.new = {.root = run->head->root, .revision = run->head->revision},
		.mode = run->record->is_full ? PLAN_FULL : PLAN_INCREMENTAL,
		.globs = selection->globs,
		.glob_count = selection->count,
	};
	char reason[FETCH_REASON_SIZE];

	enter_phase(run, RUN_PHASE_PLANNING);
	int r = plan_make(&config, out);

	if (r == 0 || r == -ECANCELED)
		return r;
	fetch_reasons_text(&run->reasons, r, reason);
	return run_note_error(run, r,
		"the catalogs of revision %" PRIu64 " cannot be had: %s",
		run->head->revision, reason);
}

static void take_counts(struct run *run, const struct plan *plan)
{
	const struct plan_totals *t = plan_totals(plan);
	struct run_counts *c = &run->record->counts;

	c->added = t->added;
	c->changed = t->changed;
	c->removed = t->removed;
	c->kept_stale = t->stale;
	job_log_print(run->log,
		"plan: revision %" PRIu64 " to %" PRIu64 ": %" PRIu64 " added, %" PRIu64
		" changed, %" PRIu64 " removed, %" PRIu64 " kept as stale",
		run->view->revision, run->head->revision, t->added, t->changed,
		t->removed, t->stale);
}

static struct change_record change_of(const struct plan_change *c)
{
	static const enum change_what whats[] = {[PLAN_ADDED] = CHANGE_ADDED,
		[PLAN_REVIVED] = CHANGE_REVIVED,
		[PLAN_CHANGED] = CHANGE_CHANGED,
		[PLAN_REMOVED] = CHANGE_REMOVED,
		[PLAN_STALE] = CHANGE_STALE};
	struct change_record record = {.path = c->path, .what = whats[c->what]};

	if (c->old_digest)
		record.before = (struct change_side){
			.is_set = true, .digest = *c->old_digest, .bytes = c->old_size};
	if (c->new_digest)
		record.after = (struct change_side){
			.is_set = true, .digest = *c->new_digest, .bytes = c->new_size};
	return record;
}

static int list_changes(
	const struct plan *plan, struct change_record **out, size_t *out_count)
{
	size_t count = plan_change_count(plan);
	struct change_record *list = mem_calloc(count ? count : 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		list[i] = change_of(plan_change(plan, i));
	*out = list;
	*out_count = count;
	return 0;
}

/* What a dry run is for. */
static int record_plan(struct run *run, const struct plan *plan)
{
	AUTO_FREE struct change_record *changes = NULL;
	size_t count = 0;
	int r = list_changes(plan, &changes, &count);

	for (size_t i = 0; r == 0 && i < count; i += CHANGES_BATCH)
		r = state_db_changes_add(run->env->state, run->record->id, changes + i,
			count - i < CHANGES_BATCH ? count - i : CHANGES_BATCH);
	if (r < 0)
		return run_note_error(
			run, r, "the plan cannot be recorded: %s", log_strerror(r));
	return 0;
}

/* The new view, durable before anybody is told of it: who restarts after this finds it. */
static int switch_over(struct run *run, const struct plan *plan, bool is_complete)
{
	AUTO_FREE struct change_record *changes = NULL;
	struct state_view next = {.root = plan_root(plan),
		.revision = plan_revision(plan),
		.sequence = is_complete ? run->head->sequence : run->view->sequence,
		.time_ns = clock_real_ns()};
	size_t count = 0;
	int r = list_changes(plan, &changes, &count);

	enter_phase(run, RUN_PHASE_FLIPPING);
	if (r == 0)
		r = state_db_flip(
			run->env->state, &next, run->record->id, changes, count);
	if (r < 0)
		return run_note_error(run, r, "the new view cannot be written down: %s",
			log_strerror(r));
	r = run->env->flip(run->env->flip_arg, &next.root, next.revision);
	if (r < 0) {
		/* the mount goes on with what it shows, and so does the next start; nothing
		 * of what was written down has happened */
		int undo = state_db_flip(
			run->env->state, run->view, run->record->id, NULL, 0);

		/* the session ends: the next one begins it anew */
		if (r == -ECANCELED && undo == 0)
			return r;
		return run_note_error(run, r, "the mount cannot be switched over: %s%s",
			log_strerror(r), undo < 0 ? " (after a restart it will be)" : "");
	}
	*run->view = next;
	run->is_switched = true;
	run->record->revision_after = next.revision;
	job_log_print(run->log, "the mount shows the new view");
	return 0;
}

/* What is shown is what a later head names, too (a policy came with it): the next start must not take
 * the mirror for being behind. */
static void take_sequence(struct run *run)
{
	struct state_view next = *run->view;

	next.sequence = run->head->sequence;
	if (next.sequence == run->view->sequence)
		return;
	if (state_db_view_set(run->env->state, &next) < 0)
		log_warn("that the newest head changes nothing cannot be written down: "
			 "the next start looks again");
	*run->view = next;
}

/* All that comes after the plan, but for the hook behind it. */
static int carry_out(
	struct run *run, struct plan *plan, const struct glob_list *selection)
{
	const struct catalog_ref root = plan_root(plan);

	run->env->coming(run->env->coming_arg, &root);
	int r = plan_commit(plan);

	if (r < 0)
		return run_note_error(run, r, "the cache's disk takes no catalogs: %s",
			log_strerror(r));
	bool is_same = digest_equal(&root.digest, &run->view->root.digest) &&
		       run->view->revision == plan_revision(plan);

	enter_phase(run, RUN_PHASE_FETCHING);
	r = run_prefetch(run, plan, selection);
	if (r == 0 && atomic_load(run->is_cancelled))
		r = -ECANCELED;
	if (r == 0 && !is_same)
		r = switch_over(run, plan, selection->count == 0);
	else if (r == 0 && selection->count == 0)
		take_sequence(run);
	if (r == 0 && run->record->is_full) {
		enter_phase(run, RUN_PHASE_CHECKING);
		r = run_sweep(run);
	}
	return r;
}

static int compare_paths(const void *key, const void *record)
{
	return strcmp(key, ((const struct package_record *)record)->path);
}

/* Nothing is to be said any more of those that are current; as a rule there are none. */
static int forget_packages(struct run *run, const struct plan *plan)
{
	struct package_list known;
	int r = state_db_packages_list(run->env->state, &known);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && known.count && i < plan_package_count(plan); i++) {
		const char *path = plan_package(plan, i)->path;

		if (bsearch(path, known.items, known.count, sizeof(*known.items),
			    compare_paths))
			r = state_db_package_remove(run->env->state, path);
	}
	package_list_release(&known);
	return r;
}

/* What the report says of packages that this run was for. A run that somebody ended has not failed
 * with any of them. */
static void note_packages(struct run *run, const struct plan *plan, int error)
{
	size_t count = error < 0 && error != -ECANCELED ? plan_package_count(plan) : 0;
	AUTO_FREE struct package_record *records =
		mem_calloc(count + 1, sizeof(*records));
	int64_t now_ns = clock_real_ns();
	int r = records ? 0 : -ENOMEM;

	for (size_t i = 0; records && i < count; i++)
		records[i] = (struct package_record){
			.path = plan_package(plan, i)->path,
			.last_error = run->message,
			.since_ns = run->head->published_ns,
			.last_error_ns = now_ns,
			/* what the guard or a hook stopped waits for the admin */
			.next_attempt_ns = run->is_held ? 0 : run->next_attempt_ns,
		};
	if (r == 0 && count)
		r = state_db_packages_put(run->env->state, records, count);
	if (r == 0 && error == 0)
		r = forget_packages(run, plan);
	if (r < 0)
		log_warn("what became of the packages is not in the state database");
}

static int execute(struct run *run, const struct glob_list *selection)
{
	AUTO_PLAN struct plan *plan = NULL;
	int r = make_plan(run, selection, &plan);

	if (r < 0) {
		run_hook_after(run, NULL, r);
		return r;
	}
	take_counts(run, plan);
	run->has_changes = !plan_is_empty(plan);
	r = run_judge_globs(run, selection);
	if (r < 0) {
		run_hook_after(run, plan, r);
		return r;
	}
	if (run->record->is_dry)
		return record_plan(run, plan);
	r = run_judge_guard(run, plan);
	if (r == 0)
		r = run_hook_before(run, plan);
	run->is_held = r == -EPERM;
	if (r == 0)
		r = carry_out(run, plan, selection);
	run_hook_after(run, plan, r);
	note_packages(run, plan, r);
	if (r == 0 && selection->count && !run->has_changes && !*run->message)
		(void)snprintf(run->message, sizeof(run->message),
			"nothing differs in packages that match; 'depotfs report' lists "
			"their paths");
	return r;
}

/* The fetcher and the session end before the runner is told to: a run that nobody has cancelled is cut
 * short by the mirror's end. */
enum run_state run_state_cancelled(const struct run *run)
{
	return atomic_load(run->is_cancelled) ? RUN_CANCELLED : RUN_QUEUED;
}

int run_execute(struct run *run)
{
	AUTO_GLOB_LIST struct glob_list selection = {0};
	int r = glob_list_parse(run->record->selection, &selection);

	fetch_reasons_begin(&run->reasons, run->env->source, run->env->objects);
	if (r == 0)
		r = execute(run, &selection);
	else
		run_hook_after(run, NULL, r);
	/* what was only planned has not been done */
	if (!run->is_switched && !run->record->is_dry) {
		struct run_counts *c = &run->record->counts;

		c->added = c->changed = c->removed = c->kept_stale = 0;
	}
	run->record->counts.bytes_fetched = run->progress->fetch.bytes_fetched;
	run->record->counts.bytes_reused = run->progress->fetch.bytes_reused;
	if (r == 0)
		run->record->state = RUN_DONE;
	else if (r == -ECANCELED)
		run->record->state = run_state_cancelled(run);
	else
		run->record->state = run->is_held ? RUN_STOPPED : RUN_FAILED;
	return r;
}
