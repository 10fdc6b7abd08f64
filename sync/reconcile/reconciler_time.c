/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "sync/jobs/calendar/rate.h"
#include "sync/jobs/policy_fetch.h"
#include "sync/mirror/fetcher.h"
#include "sync/reconcile/reconciler_state.h"
#include "sync/reconcile/windows.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* The wall clock may be set while we sleep by the other one. */
#define LOOK_AGAIN_NS (20 * NS_PER_SEC)

#define JOB_ON_CHANGE "on-change"

/* Each poll tries again; the log is told when something else is wrong than before. */
static void note_policy(struct reconciler *r, const char *reason)
{
	mutex_lock(&r->lock);
	bool is_news = strcmp(r->policy_error, reason) != 0;

	(void)snprintf(r->policy_error, sizeof(r->policy_error), "%s", reason);
	mutex_unlock(&r->lock);
	if (is_news && *reason)
		log_warn("the master's policy cannot be taken up: %s; the one at hand "
			 "stays",
			reason);
}

/* The master's schedules and windows come with the head; without an answer, those at hand stay. */
static void take_policy(struct reconciler *r, const struct head *head)
{
	struct policy policy = {0};
	char reason[POLICY_FETCH_REASON_SIZE];

	if (r->policy_sequence == head->sequence || !r->fetcher)
		return;
	int error = policy_fetch(r->fetcher, head, r->env.cache_dirfd, &policy, reason);

	note_policy(r, error < 0 ? reason : "");
	if (error < 0)
		return;
	r->policy_sequence = head->sequence;
	policy_release(&r->policy);
	r->policy = policy;
	mutex_lock(&r->lock);
	r->is_schedule_changed = true;
	mutex_unlock(&r->lock);
}

/* The file's schedules and the master's, as far as they are for this mirror's labels; both may have
 * changed since. */
static int adopt(struct reconciler *r)
{
	struct shared_settings *settings = reconciler_settings(r);
	const struct settings *s = &settings->settings;

	mutex_lock(&r->schedules);
	int error = timers_adopt(
		&r->timers, SCHEDULE_BY_FILE, &s->local, s->labels, s->label_count);

	if (error == 0 && r->policy_sequence)
		error = timers_adopt(&r->timers, SCHEDULE_BY_POLICY, &r->policy,
			s->labels, s->label_count);
	mutex_unlock(&r->schedules);
	shared_settings_put(settings);
	return error;
}

static void read_schedules(struct reconciler *r)
{
	mutex_lock(&r->lock);
	bool is_changed = r->is_schedule_changed;

	r->is_schedule_changed = false;
	mutex_unlock(&r->lock);
	if (!is_changed)
		return;
	int error = adopt(r);

	if (error == 0)
		error = timers_load(&r->timers);
	if (error < 0)
		log_warn("the schedules cannot be read: %s", log_strerror(error));
}

/* What news start by themselves. */
static void queue_change(struct reconciler *r)
{
	struct shared_settings *settings = reconciler_settings(r);
	enum on_change mode = settings->settings.on_change;
	int64_t id;

	if (mode == ON_CHANGE_AUTO)
		mode = timers_any(&r->timers) ? ON_CHANGE_NONE : ON_CHANGE_INCREMENTAL;
	const struct run_record run = {.job = JOB_ON_CHANGE,
		.trigger = RUN_BY_CHANGE,
		.prefetch = settings->settings.prefetch,
		.is_full = mode == ON_CHANGE_FULL};
	int error = mode == ON_CHANGE_NONE ? 0 : run_queue_add(r->queue, &run, &id);

	shared_settings_put(settings);
	if (error < 0)
		log_warn("a sync cannot be queued: %s", log_strerror(error));
}

/* Whether the head is newer than what is shown. One that came with a policy alone is not. */
static bool is_behind(struct reconciler *r)
{
	mutex_lock(&r->lock);
	bool is_behind =
		r->head.sequence != r->view.sequence &&
		(r->head.revision != r->view.revision ||
			!digest_equal(&r->head.root.digest, &r->view.root.digest));

	mutex_unlock(&r->lock);
	return is_behind;
}

/* True if the channel names something else than what is shown, and it was not so before. */
static bool note_head(struct reconciler *r, const struct follower_result *result)
{
	mutex_lock(&r->lock);
	bool is_new = result->head.sequence != r->head.sequence;

	r->head = result->head;
	r->last_poll_ns = clock_real_ns();
	mutex_unlock(&r->lock);
	return is_new;
}

/* 0, or why the channel has told nothing, with `reason` in words. */
static int poll_channel(struct reconciler *r, char reason[OFFER_REASON_SIZE])
{
	struct follower_result result;
	int error = follower_poll(r->follower, &result);

	if (error < 0) {
		(void)snprintf(reason, OFFER_REASON_SIZE, "%s",
			result.error == error ? result.reason : log_strerror(error));
		return error;
	}
	if (result.error < 0) {
		(void)snprintf(reason, OFFER_REASON_SIZE, "%s", result.reason);
		return result.error;
	}
	bool is_new = note_head(r, &result);

	take_policy(r, &result.head);
	/* whether the news are to wait for a schedule is for those to say that came with them */
	read_schedules(r);
	if (is_new) {
		log_info("channel %s is at revision %" PRIu64, result.head.channel,
			result.head.revision);
		if (is_behind(r))
			queue_change(r);
	}
	return 0;
}

static void poll_if_due(struct reconciler *r)
{
	struct shared_settings *settings = reconciler_settings(r);
	int64_t every_ns = settings->settings.poll_sec * NS_PER_SEC;

	shared_settings_put(settings);
	/* the settings may ask for more than they did */
	if (r->next_poll_ns > clock_mono_ns() + every_ns)
		r->next_poll_ns = clock_mono_ns() + every_ns;
	mutex_lock(&r->lock);
	uint64_t wanted = r->polls_wanted;
	bool is_due = wanted > r->polls_done ||
		      (every_ns && clock_mono_ns() >= r->next_poll_ns);

	mutex_unlock(&r->lock);
	if (!is_due)
		return;
	char reason[OFFER_REASON_SIZE] = "";
	int result = poll_channel(r, reason);

	r->next_poll_ns = clock_mono_ns() + every_ns;
	mutex_lock(&r->lock);
	r->poll_result = result;
	memcpy(r->poll_reason, reason, sizeof(reason));
	if (r->polls_done < wanted)
		r->polls_done = wanted;
	condition_broadcast(&r->changed);
	mutex_unlock(&r->lock);
}

static void queue_due(struct reconciler *r)
{
	int64_t now_ns = clock_real_ns();
	struct timer *timer;
	int64_t id;

	timers_check_clock(&r->timers, now_ns);
	while ((timer = timers_due(&r->timers, now_ns))) {
		int error = reconciler_queue_schedule(r, timer->record, &id);

		if (error < 0) {
			log_warn("schedule %s cannot be queued: %s; it is tried again",
				timer->record->name, log_strerror(error));
			timers_postpone(&r->timers, timer, now_ns);
		} else {
			timers_ran(&r->timers, timer, now_ns);
		}
	}
}

/* The schedule may have been changed since: as it is now it is run. */
static bool is_wanted_again(
	const struct run_record *record, const struct schedule_record *schedule)
{
	if (!schedule)
		return record->trigger != RUN_BY_SCHEDULE;
	return schedule->is_enabled;
}

static void queue_retries(struct reconciler *r)
{
	for (;;) {
		struct run_record record;
		int64_t id;

		mutex_lock(&r->lock);
		bool is_due = retries_take(&r->retries, clock_real_ns(), &record);

		mutex_unlock(&r->lock);
		if (!is_due)
			return;
		const struct schedule_record *schedule =
			timers_find(&r->timers, record.job);

		if (!is_wanted_again(&record, schedule)) {
			log_info("%s is not tried again: its schedule was removed or "
				 "disabled",
				record.job);
			mutex_lock(&r->lock);
			retries_forget(&r->retries, record.job);
			mutex_unlock(&r->lock);
		} else if ((record.trigger == RUN_BY_SCHEDULE
					   ? reconciler_queue_schedule(r, schedule, &id)
					   : run_queue_add(r->queue, &record, &id)) < 0) {
			log_warn("%s cannot be queued again", record.job);
			mutex_lock(&r->lock);
			(void)retries_add(&r->retries, &record, clock_real_ns());
			mutex_unlock(&r->lock);
		}
		retry_release(&record);
	}
}

/* The policy is this thread's to change, so it is read without the lock. */
static void apply_windows(struct reconciler *r)
{
	struct shared_settings *settings = reconciler_settings(r);
	struct window_state now;

	windows_at(&settings->settings, &r->policy, clock_real_ns(), &now);
	shared_settings_put(settings);
	mutex_lock(&r->lock);
	if (r->has_run_rate)
		now.rate = rate_both(&now.rate, &r->run_rate);
	r->is_window_open = now.is_open;
	r->window_changes_ns = now.changes_ns;
	mutex_unlock(&r->lock);
	if (r->env.source)
		source_set_background(r->env.source, &now.rate, !now.is_open);
}

/* Until something is due; whoever changes anything wakes it. */
static void wait_for_work(struct reconciler *r)
{
	struct shared_settings *settings = reconciler_settings(r);
	int64_t until_ns = clock_mono_ns() + LOOK_AGAIN_NS;
	int64_t real_ns = clock_real_ns();
	int64_t next_ns = timers_next_ns(&r->timers);

	if (settings->settings.poll_sec && r->next_poll_ns < until_ns)
		until_ns = r->next_poll_ns;
	shared_settings_put(settings);
	mutex_lock(&r->lock);
	if (retries_next_ns(&r->retries) < next_ns)
		next_ns = retries_next_ns(&r->retries);
	if (r->window_changes_ns < next_ns)
		next_ns = r->window_changes_ns;
	if (next_ns - real_ns < until_ns - clock_mono_ns())
		until_ns = clock_mono_ns() + (next_ns > real_ns ? next_ns - real_ns : 0);
	bool has_work = r->is_stopping || r->is_schedule_changed ||
			r->polls_wanted > r->polls_done;

	if (!has_work)
		(void)condition_wait_until(&r->changed, &r->lock, until_ns);
	mutex_unlock(&r->lock);
}

void *reconciler_keep_time(void *arg)
{
	struct reconciler *r = arg;
	bool is_stopping = false;

	mutex_lock(&r->lock);
	const struct head head = r->head;

	mutex_unlock(&r->lock);
	/* what was kept of it holds from the beginning, whether or not the channel answers */
	take_policy(r, &head);
	read_schedules(r);
	apply_windows(r);
	if (is_behind(r))
		queue_change(r);
	while (!is_stopping) {
		read_schedules(r);
		poll_if_due(r);
		queue_due(r);
		queue_retries(r);
		apply_windows(r);
		wait_for_work(r);
		mutex_lock(&r->lock);
		is_stopping = r->is_stopping;
		mutex_unlock(&r->lock);
	}
	/* nobody is left waiting for a poll */
	mutex_lock(&r->lock);
	condition_broadcast(&r->changed);
	mutex_unlock(&r->lock);
	return NULL;
}
