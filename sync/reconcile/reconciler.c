/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/reconciler.h"

#include "cache/base/data/hash.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "sync/jobs/calendar/rate.h"
#include "sync/reconcile/reconciler_state.h"
#include "sync/reconcile/run/run_hooks.h"

#include <errno.h>
#include <string.h>

#define RUNS_LOOKED_AT 50

struct shared_settings *reconciler_settings(struct reconciler *r)
{
	mutex_lock(&r->lock);
	struct shared_settings *settings = r->settings;

	atomic_fetch_add(&settings->refs, 1);
	mutex_unlock(&r->lock);
	return settings;
}

void shared_settings_put(struct shared_settings *settings)
{
	if (!settings || atomic_fetch_sub(&settings->refs, 1) > 1)
		return;
	settings_release(&settings->settings);
	prefetch_policy_release(&settings->prefetch);
	free(settings);
}

struct shared_settings *shared_settings_new(struct settings *settings)
{
	struct shared_settings *shared = mem_calloc(1, sizeof(*shared));

	if (!shared)
		return NULL;
	char reason[TEXT_REASON_SIZE];

	/* it was checked when it was set */
	if (prefetch_policy_parse(settings->prefetch, &shared->prefetch, reason) < 0) {
		free(shared);
		return NULL;
	}
	atomic_init(&shared->refs, 1);
	shared->settings = *settings;
	*settings = (struct settings){0};
	return shared;
}

bool reconciler_promises(struct reconciler *r, const char *path)
{
	struct shared_settings *settings = reconciler_settings(r);
	const struct prefetch_policy *policy = &settings->prefetch;
	bool is_promised = policy->kind == PREFETCH_ALL ||
			   (policy->kind == PREFETCH_GLOBS &&
				   glob_list_has_path(&policy->globs, path));

	shared_settings_put(settings);
	return is_promised;
}

/* When a run was last done, by what the history still has. */
static int64_t find_last_sync(struct state_db *db)
{
	struct run_list list = {0};
	int64_t end_ns = 0;

	if (state_db_runs_list(db, 0, RUNS_LOOKED_AT, &list) < 0)
		return 0;
	for (size_t i = 0; i < list.count && end_ns == 0; i++)
		if (list.items[i].state == RUN_DONE && !list.items[i].is_dry)
			end_ns = list.items[i].end_ns;
	run_list_release(&list);
	return end_ns;
}

static void note_coming(void *arg, const struct catalog_ref *root)
{
	struct reconciler *r = arg;

	mutex_lock(&r->lock);
	r->has_coming = root;
	if (root)
		r->coming = *root;
	mutex_unlock(&r->lock);
}

size_t reconciler_roots(struct reconciler *r, struct catalog_ref out[RECONCILER_ROOTS])
{
	size_t count = 2;

	mutex_lock(&r->lock);
	out[0] = r->view.root;
	out[1] = r->head.root;
	if (r->has_coming)
		out[count++] = r->coming;
	mutex_unlock(&r->lock);
	return count;
}

int reconciler_new(const struct reconciler_config *config, struct reconciler **out)
{
	struct reconciler *r = mem_calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	mutex_init(&r->lock);
	condition_init(&r->changed);
	r->env = config->env;
	r->env.coming = note_coming;
	r->env.coming_arg = r;
	r->follower = config->follower;
	r->fetcher = config->fetcher;
	r->reload = config->reload;
	r->reload_arg = config->reload_arg;
	int64_t last_sync_ns = find_last_sync(r->env.state);

	mutex_init(&r->schedules);
	mirror_name(r->env.mountpoint, r->mirror);
	timers_init(&r->timers, r->env.state, r->mirror);
	mutex_lock(&r->lock);
	r->retries.seed = hash64(r->mirror, strlen(r->mirror), 0) | 1;
	r->head = config->channel.head;
	r->view = config->view;
	r->is_window_open = true;
	r->is_schedule_changed = true;
	r->last_poll_ns = config->channel.is_online ? clock_real_ns() : 0;
	r->settings = shared_settings_new(config->settings);
	r->last_sync_ns = last_sync_ns;
	int error = r->settings ? 0 : -ENOMEM;

	mutex_unlock(&r->lock);
	if (error == 0)
		error = run_queue_new(r->env.state, &r->queue);
	if (error < 0) {
		reconciler_free(r);
		return error;
	}
	reconciler_set_verbs(r);
	*out = r;
	return 0;
}

void reconciler_free(struct reconciler *r)
{
	if (!r)
		return;
	run_queue_free(r->queue);
	timers_release(&r->timers);
	policy_release(&r->policy);
	mutex_lock(&r->lock);
	retries_release(&r->retries);
	shared_settings_put(r->settings);
	mutex_unlock(&r->lock);
	condition_release(&r->changed);
	mutex_release(&r->lock);
	mutex_release(&r->schedules);
	free(r);
}

void reconciler_wake(struct reconciler *r)
{
	mutex_lock(&r->lock);
	r->is_schedule_changed = true;
	condition_broadcast(&r->changed);
	mutex_unlock(&r->lock);
}

int reconciler_queue_schedule(
	struct reconciler *r, const struct schedule_record *schedule, int64_t *out_id)
{
	const struct run_record run = {.job = schedule->name,
		.trigger = RUN_BY_SCHEDULE,
		.selection = schedule->packages,
		.prefetch = schedule->prefetch,
		.is_full = strcmp(schedule->mode, "incremental") != 0};

	return run_queue_add(r->queue, &run, out_id);
}

/* The rate that the schedule of this name asks for, while its run is under way. */
static void set_run_rate(struct reconciler *r, const char *job)
{
	char reason[TEXT_REASON_SIZE];
	struct rate_limit rate = {.kind = RATE_UNLIMITED};
	struct schedule_list list = {0};
	bool has_rate = false;

	if (job && state_db_schedules_list(r->env.state, &list) == 0)
		for (size_t i = 0; i < list.count; i++)
			if (strcmp(list.items[i].name, job) == 0 && *list.items[i].rate)
				has_rate = rate_parse(list.items[i].rate, &rate,
						   reason) == 0;
	schedule_list_release(&list);
	mutex_lock(&r->lock);
	r->has_run_rate = has_rate;
	r->run_rate = rate;
	condition_broadcast(&r->changed);
	mutex_unlock(&r->lock);
}

static void reset_progress(struct run_progress *p)
{
	atomic_store(&p->phase, RUN_PHASE_WAITING);
	atomic_store(&p->bytes_total, 0);
	atomic_store(&p->contents_total, 0);
	atomic_store(&p->fetch.bytes_fetched, 0);
	atomic_store(&p->fetch.bytes_reused, 0);
	atomic_store(&p->fetch.contents_done, 0);
	atomic_store(&p->fetch.contents_failed, 0);
}

/* Has the channel asked for news; a cancelled run does not wait for the answer. 0, -ECANCELED, or the
 * channel's error with its words. */
static int poll_now(struct reconciler *r, const atomic_bool *is_cancelled,
	char reason[OFFER_REASON_SIZE])
{
	mutex_lock(&r->lock);
	uint64_t ticket = ++r->polls_wanted;

	condition_broadcast(&r->changed);
	while (r->polls_done < ticket && !r->is_stopping && !atomic_load(is_cancelled))
		condition_wait(&r->changed, &r->lock);
	int result = r->polls_done < ticket ? -ECANCELED : r->poll_result;

	memcpy(reason, r->poll_reason, OFFER_REASON_SIZE);
	mutex_unlock(&r->lock);
	return result;
}

/* News first, unless they are what started it. */
static int ask_for_news(struct reconciler *r, struct run *run)
{
	char reason[OFFER_REASON_SIZE];

	if (atomic_load(run->is_cancelled))
		return -ECANCELED;
	if (run->record->trigger == RUN_BY_CHANGE)
		return 0;
	int error = poll_now(r, run->is_cancelled, reason);

	if (error == 0 || error == -ECANCELED)
		return error;
	return run_note_error(run, error, "the channel cannot be asked: %s", reason);
}

static void execute(struct reconciler *r, struct run_record *record)
{
	struct shared_settings *settings = reconciler_settings(r);
	struct state_view view;
	struct head head;
	struct run run = {.env = &r->env,
		.settings = &settings->settings,
		.head = &head,
		.record = record,
		.view = &view,
		.progress = &r->progress,
		.is_cancelled = run_queue_cancelled(r->queue)};

	reset_progress(&r->progress);
	set_run_rate(r, record->job);
	run.log = job_log_open(settings->settings.logdir, record);
	int error = ask_for_news(r, &run);

	mutex_lock(&r->lock);
	head = r->head;
	view = r->view;
	record->revision_before = record->revision_after = view.revision;
	if (record->trigger != RUN_BY_HAND)
		run.next_attempt_ns =
			retries_after(&r->retries, record->job, clock_real_ns());
	mutex_unlock(&r->lock);
	if (error == 0) {
		error = run_execute(&run);
	} else {
		run_hook_after(&run, NULL, error);
		record->state =
			error == -ECANCELED ? run_state_cancelled(&run) : RUN_FAILED;
	}
	set_run_rate(r, NULL);
	mutex_lock(&r->lock);
	r->view = view;
	r->has_coming = false;
	if (error == 0) {
		if (!record->is_dry)
			r->last_sync_ns = clock_real_ns();
		r->last_error[0] = '\0';
	} else {
		(void)snprintf(r->last_error, sizeof(r->last_error), "%s", run.message);
	}
	if (record->state == RUN_FAILED && record->trigger != RUN_BY_HAND &&
		!record->is_dry)
		(void)retries_add(&r->retries, record, clock_real_ns());
	else
		retries_forget(&r->retries, record->job);
	/* what a stop interrupts is taken up at the next start */
	if (error == -ECANCELED && r->is_stopping)
		record->state = RUN_QUEUED;
	mutex_unlock(&r->lock);
	free((char *)(uintptr_t)record->message);
	record->message = mem_strdup(run.message);
	job_log_close(run.log, record);
	shared_settings_put(settings);
}

/* Whether the history's file is still there; what it forgets, and with that the logs of runs. */
static void look_after_history(struct reconciler *r)
{
	struct shared_settings *settings = reconciler_settings(r);
	int64_t now_ns = clock_real_ns();

	state_db_attend(r->env.state);
	if (state_db_rotate(r->env.state, now_ns) < 0)
		log_warn("the history cannot be rotated");
	if (settings->settings.logdir)
		job_log_tidy(settings->settings.logdir, r->env.state, now_ns);
	shared_settings_put(settings);
}

static void *run_all(void *arg)
{
	struct reconciler *r = arg;
	struct run_record *record;

	while (run_queue_take(r->queue, &record) == 0) {
		execute(r, record);
		run_queue_finish(r->queue, record);
		look_after_history(r);
		mem_give_back();
	}
	return NULL;
}

int reconciler_start(struct reconciler *r)
{
	int error = thread_start(&r->time_thread, "reconciler", reconciler_keep_time, r);

	if (error < 0)
		return error;
	error = thread_start(&r->run_thread, "runner", run_all, r);
	if (error < 0) {
		mutex_lock(&r->lock);
		r->is_stopping = true;
		condition_broadcast(&r->changed);
		mutex_unlock(&r->lock);
		pthread_join(r->time_thread, NULL);
		return error;
	}
	r->has_threads = true;
	return 0;
}

void reconciler_stop(struct reconciler *r)
{
	if (!r || !r->has_threads)
		return;
	mutex_lock(&r->lock);
	r->is_stopping = true;
	condition_broadcast(&r->changed);
	mutex_unlock(&r->lock);
	run_queue_stop(r->queue);
	pthread_join(r->run_thread, NULL);
	pthread_join(r->time_thread, NULL);
	r->has_threads = false;
}

const struct control_verbs *reconciler_verbs(struct reconciler *r)
{
	return &r->verbs;
}

void reconciler_status(struct reconciler *r, struct reconciler_status *out)
{
	*out = (struct reconciler_status){
		.running = run_queue_running(r->queue),
		.waiting = run_queue_waiting(r->queue),
	};
	mutex_lock(&r->lock);
	out->head = r->head;
	out->view = r->view;
	out->last_poll_ns = r->last_poll_ns;
	out->last_sync_ns = r->last_sync_ns;
	out->is_window_open = r->is_window_open;
	out->polls = r->polls_done;
	memcpy(out->policy_error, r->policy_error, sizeof(out->policy_error));
	/* a channel that does not answer matters more than a run of long ago */
	(void)snprintf(out->last_error, sizeof(out->last_error), "%s",
		*r->poll_reason ? r->poll_reason : r->last_error);
	mutex_unlock(&r->lock);
}
