/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/timers.h"

#include "cache/base/data/buffer.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "sync/jobs/calendar/rate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX_BYTES (1024 * 1024)

/* Until one that could not be seen to is due again. */
#define POSTPONED_NS (60 * NS_PER_SEC)

/* More than clocks are corrected by, and than time zones are apart. */
#define CLOCK_STEP_NS (SECONDS_PER_DAY * NS_PER_SEC)

void timers_init(struct timers *timers, struct state_db *db, const char *mirror)
{
	*timers = (struct timers){.db = db, .mirror = mirror};
}

static const struct schedule_record *find_record(
	const struct schedule_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	return NULL;
}

static void release_items(struct timers *timers)
{
	for (size_t i = 0; i < timers->count; i++)
		time_zone_close(timers->items[i].zone);
	free(timers->items);
	timers->items = NULL;
	timers->count = 0;
	schedule_list_release(&timers->records);
}

void timers_release(struct timers *timers)
{
	release_items(timers);
}

static int64_t last_seen_ns(const struct timer *t)
{
	return t->record->last_run_ns ? t->record->last_run_ns : t->record->created_ns;
}

static void set_next_after(const struct timers *timers, struct timer *t, int64_t from_ns)
{
	t->fire_ns = TIMER_NEVER;
	t->begin_ns = TIMER_NEVER;
	if (!t->record->is_enabled || *t->error ||
		schedule_next(&t->schedule, t->zone, from_ns, &t->fire_ns) < 0)
		return;
	t->begin_ns = t->fire_ns + schedule_delay_ns(&t->schedule, timers->mirror,
					   t->record->name, t->fire_ns);
}

/* When it begins next, counted from the last time it was seen to. */
static void set_next(const struct timers *timers, struct timer *t)
{
	set_next_after(timers, t, last_seen_ns(t));
}

static int read_schedule(struct timer *t)
{
	const struct schedule_record *r = t->record;

	if (schedule_parse(r->when, &t->schedule, t->error) < 0 ||
		(*r->zone && schedule_set_zone(&t->schedule, r->zone, t->error) < 0) ||
		(*r->splay && schedule_set_splay(&t->schedule, r->splay, t->error) < 0))
		return -EINVAL;
	int error = time_zone_open(t->schedule.zone, &t->zone);

	if (error < 0)
		(void)words_refuse(
			t->error, "there is no time zone '%s' here", t->schedule.zone);
	return error;
}

int timers_load(struct timers *timers)
{
	struct schedule_list records;
	int r = state_db_schedules_list(timers->db, &records);

	if (r < 0)
		return r;
	struct timer *items =
		mem_calloc(records.count ? records.count : 1, sizeof(*items));

	if (!items) {
		schedule_list_release(&records);
		return -ENOMEM;
	}
	release_items(timers);
	timers->records = records;
	timers->items = items;
	timers->count = records.count;
	for (size_t i = 0; i < records.count; i++) {
		struct timer *t = &items[i];

		t->record = &timers->records.items[i];
		if (read_schedule(t) < 0)
			log_warn("schedule %s cannot run: %s", t->record->name, t->error);
		set_next(timers, t);
	}
	return 0;
}

int64_t timers_next_ns(const struct timers *timers)
{
	int64_t next_ns = TIMER_NEVER;

	for (size_t i = 0; i < timers->count; i++)
		if (timers->items[i].begin_ns < next_ns)
			next_ns = timers->items[i].begin_ns;
	return next_ns;
}

struct timer *timers_due(struct timers *timers, int64_t now_ns)
{
	for (size_t i = 0; i < timers->count; i++)
		if (timers->items[i].begin_ns <= now_ns)
			return &timers->items[i];
	return NULL;
}

void timers_ran(struct timers *timers, struct timer *timer, int64_t now_ns)
{
	struct schedule_record *record = &timers->records.items[timer - timers->items];

	record->last_run_ns = now_ns;
	timers->items[timer - timers->items].is_ahead = false;
	if (state_db_schedule_ran(timers->db, record->name, now_ns) < 0)
		log_warn(
			"that schedule %s ran cannot be written down: after a restart it "
			"may run again",
			record->name);
	set_next(timers, timer);
}

void timers_postpone(struct timers *timers, struct timer *timer, int64_t now_ns)
{
	timers->items[timer - timers->items].begin_ns = now_ns + POSTPONED_NS;
}

void timers_check_clock(struct timers *timers, int64_t now_ns)
{
	for (size_t i = 0; i < timers->count; i++) {
		struct timer *t = &timers->items[i];
		bool is_ahead = last_seen_ns(t) - now_ns > CLOCK_STEP_NS;

		if (is_ahead == t->is_ahead)
			continue;
		t->is_ahead = is_ahead;
		if (is_ahead)
			log_warn("schedule %s ran at a time that is yet to come: the "
				 "clock was put back, and it counts from now on",
				t->record->name);
		set_next_after(timers, t, is_ahead ? now_ns : last_seen_ns(t));
	}
}

const struct schedule_record *timers_find(const struct timers *timers, const char *name)
{
	return find_record(&timers->records, name);
}

bool timers_any(const struct timers *timers)
{
	return timers->count > 0;
}

/* The policy's schedules that are for this mirror. */
struct offer {
	const struct policy *policy;
	char *const *labels;
	size_t label_count;
};

static bool is_offered(const struct offer *offer, const struct policy_schedule *s)
{
	return policy_applies(&s->labels, offer->labels, offer->label_count);
}

static bool has_schedule(const struct offer *offer, const char *name)
{
	for (size_t i = 0; i < offer->policy->schedule_count; i++) {
		const struct policy_schedule *s = &offer->policy->schedules[i];

		if (strcmp(s->name, name) == 0 && is_offered(offer, s))
			return true;
	}
	return false;
}

/* One a line. */
static int join(const struct policy_words *words, struct buffer *out)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < words->count; i++)
		r = buffer_printf(out, "%s%s", i ? "\n" : "", words->items[i]);
	return r == 0 ? buffer_add(out, "", 1) : r;
}

static int add_prefetch(const struct policy_schedule *s, struct buffer *out)
{
	static const char *const texts[] = {[POLICY_PREFETCH_CACHED] = "cached",
		[POLICY_PREFETCH_NONE] = "none",
		[POLICY_PREFETCH_ALL] = "all"};

	if (s->prefetch == POLICY_PREFETCH_GLOBS)
		return join(&s->prefetch_globs, out);
	return buffer_add(out, texts[s->prefetch], strlen(texts[s->prefetch]) + 1);
}

static int adopt_one(struct timers *timers, enum schedule_origin origin,
	const struct policy_schedule *s, const struct schedule_record *known)
{
	AUTO_BUFFER struct buffer packages = BUFFER_INIT(WORDS_MAX_BYTES);
	AUTO_BUFFER struct buffer prefetch = BUFFER_INIT(WORDS_MAX_BYTES);
	char splay[32] = "";
	char rate[RATE_TEXT_SIZE] = "";
	int r = join(&s->packages, &packages);

	if (known && known->origin != origin) {
		log_warn("schedule %s is known from elsewhere (%s): that one stays, the "
			 "one of the %s is left out",
			s->name, schedule_origin_text(known->origin),
			schedule_origin_text(origin));
		return 0;
	}
	if (r == 0)
		r = add_prefetch(s, &prefetch);
	if (r < 0)
		return r;
	if (s->schedule.splay_s)
		(void)snprintf(splay, sizeof(splay), "%lld seconds",
			(long long)s->schedule.splay_s);
	if (s->rate.kind != RATE_UNLIMITED)
		rate_format(&s->rate, rate);
	/* another time is another schedule: it has missed nothing yet */
	bool is_known = known && strcmp(known->when, s->when) == 0;
	const struct schedule_record record = {
		.name = s->name,
		.when = s->when,
		.zone = s->schedule.zone,
		.splay = splay,
		.mode = s->mode == POLICY_FULL ? "full" : "incremental",
		.packages = (const char *)packages.data,
		.prefetch = (const char *)prefetch.data,
		.rate = rate,
		.origin = origin,
		.is_enabled = known ? known->is_enabled : true,
		.last_run_ns = is_known ? known->last_run_ns : 0,
		.created_ns = is_known ? known->created_ns : clock_real_ns(),
	};

	return state_db_schedule_put(timers->db, &record);
}

int timers_adopt(struct timers *timers, enum schedule_origin origin,
	const struct policy *policy, char *const *labels, size_t label_count)
{
	const struct offer offer = {
		.policy = policy, .labels = labels, .label_count = label_count};
	struct schedule_list known;
	int r = state_db_schedules_list(timers->db, &known);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < known.count; i++)
		if (known.items[i].origin == origin &&
			!has_schedule(&offer, known.items[i].name))
			r = state_db_schedule_remove(timers->db, known.items[i].name);
	for (size_t i = 0; r == 0 && i < policy->schedule_count; i++) {
		const struct policy_schedule *s = &policy->schedules[i];

		if (is_offered(&offer, s))
			r = adopt_one(timers, origin, s, find_record(&known, s->name));
	}
	schedule_list_release(&known);
	return r;
}
