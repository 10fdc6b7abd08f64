/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/policy/policy.h"

#include "cache/base/memory.h"
#include "sync/jobs/calendar/rate.h"
#include "sync/jobs/policy/ini.h"
#include "sync/jobs/policy/prefetch_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SCHEDULE_PREFIX "schedule "
#define WINDOWS_PREFIX	"windows "

/* What a mirror's schedule or windows may say, and what was said of it so far. */
enum key {
	KEY_LABEL,
	KEY_WHEN,
	KEY_TZ,
	KEY_SPLAY,
	KEY_MODE,
	KEY_PACKAGES,
	KEY_PREFETCH,
	KEY_RATE,
	KEY_ALLOW,
	KEY_COUNT,
};

struct parser {
	struct policy *policy;
	size_t schedule_capacity;
	size_t windows_capacity;
	policy_other_fn other;
	void *context;
	char other_section[WORD_SIZE + 4];
	struct policy_schedule *schedule; /* the one being read, or */
	struct policy_windows *windows;	  /* this one, or another section */
	unsigned int said;		  /* bits: enum key */
	/* until the section ends: parsing `when` clears them */
	char zone[TIME_ZONE_NAME_SIZE];
	int64_t splay_s;
};

static void words_release(struct policy_words *words)
{
	for (size_t i = 0; i < words->count; i++)
		free(words->items[i]);
	free(words->items);
}

void policy_release(struct policy *policy)
{
	for (size_t i = 0; i < policy->schedule_count; i++) {
		struct policy_schedule *s = &policy->schedules[i];

		words_release(&s->labels);
		words_release(&s->packages);
		words_release(&s->prefetch_globs);
		free(s->when);
	}
	for (size_t i = 0; i < policy->windows_count; i++)
		words_release(&policy->windows[i].labels);
	free(policy->schedules);
	free(policy->windows);
	*policy = (struct policy){0};
}

/* [a-z0-9] and then the same or one of `others`. */
static bool is_word_of(const char *text, const char *others, size_t size)
{
	size_t len = strlen(text);

	if (!len || len >= size)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!islower((unsigned char)text[i]) &&
			!isdigit((unsigned char)text[i]) &&
			(i == 0 || !strchr(others, text[i])))
			return false;
	return true;
}

bool policy_label_is_valid(const char *label)
{
	return is_word_of(label, "._:-", POLICY_LABEL_SIZE);
}

bool policy_applies(
	const struct policy_words *section, char *const *labels, size_t label_count)
{
	for (size_t i = 0; i < section->count; i++)
		for (size_t k = 0; k < label_count; k++)
			if (strcmp(section->items[i], labels[k]) == 0)
				return true;
	return section->count == 0;
}

/* Adds what blanks divide. */
static int add_words(
	struct policy_words *words, const char *value, char reason[TEXT_REASON_SIZE])
{
	while (*value) {
		size_t len = strcspn(value, " \t");

		if (words->count == POLICY_WORDS_MAX)
			return words_refuse(
				reason, "more than %d of them", POLICY_WORDS_MAX);
		if (len) {
			char **items = mem_resize(
				words->items, words->count + 1, sizeof(*items));

			if (!items)
				return -ENOMEM;
			words->items = items;
			items[words->count] = mem_dup(value, len);
			if (!items[words->count])
				return -ENOMEM;
			words->count++;
		}
		value += len + strspn(value + len, " \t");
	}
	return 0;
}

static int add_labels(
	struct policy_words *labels, const char *value, char reason[TEXT_REASON_SIZE])
{
	size_t first = labels->count;
	int r = add_words(labels, value, reason);

	for (size_t i = first; r == 0 && i < labels->count; i++)
		if (!policy_label_is_valid(labels->items[i]))
			r = words_refuse(reason,
				"'%.64s' is no label: write small letters, digits, "
				". _ : -, with blanks between labels",
				labels->items[i]);
	return r;
}

/* Paths in a tree, which neither begin nor end with a slash. */
static int add_globs(
	struct policy_words *globs, const char *value, char reason[TEXT_REASON_SIZE])
{
	size_t first = globs->count;
	int r = add_words(globs, value, reason);

	for (size_t i = first; r == 0 && i < globs->count; i++) {
		const char *glob = globs->items[i];

		if (*glob == '/' || glob[strlen(glob) - 1] == '/')
			r = words_refuse(reason,
				"'%.64s': a path in the tree has no slash at its "
				"ends",
				glob);
	}
	return r;
}

static int set_when(
	struct policy_schedule *s, const char *value, char reason[TEXT_REASON_SIZE])
{
	int r = schedule_parse(value, &s->schedule, reason);

	if (r < 0)
		return r;
	s->when = mem_strdup(value);
	return s->when ? 0 : -ENOMEM;
}

static int set_zone(struct parser *p, const char *value, char reason[TEXT_REASON_SIZE])
{
	struct schedule checked = {0};
	int r = schedule_set_zone(&checked, value, reason);

	if (r == 0)
		memcpy(p->zone, checked.zone, sizeof(p->zone));
	return r;
}

static int set_splay(struct parser *p, const char *value, char reason[TEXT_REASON_SIZE])
{
	struct schedule checked = {0};
	int r = schedule_set_splay(&checked, value, reason);

	if (r == 0)
		p->splay_s = checked.splay_s;
	return r;
}

static int set_mode(
	struct policy_schedule *s, const char *value, char reason[TEXT_REASON_SIZE])
{
	if (strcmp(value, "full") == 0)
		s->mode = POLICY_FULL;
	else if (strcmp(value, "incremental") == 0)
		s->mode = POLICY_INCREMENTAL;
	else
		return words_refuse(
			reason, "'%.64s' is no mode: write full or incremental", value);
	return 0;
}

/* One of the words, or globs, which may go on. */
static int set_prefetch(struct policy_schedule *s, const char *value, bool is_again,
	char reason[TEXT_REASON_SIZE])
{
	static const struct {
		const char *word;
		enum policy_prefetch prefetch;
	} words[] = {{"cached", POLICY_PREFETCH_CACHED}, {"none", POLICY_PREFETCH_NONE},
		{"all", POLICY_PREFETCH_ALL}};

	for (size_t i = 0; i < ARRAY_SIZE(words) && !is_again; i++) {
		if (strcmp(value, words[i].word) != 0)
			continue;
		s->prefetch = words[i].prefetch;
		return 0;
	}
	if (is_again && s->prefetch != POLICY_PREFETCH_GLOBS)
		return words_refuse(
			reason, "'prefetch' is one of cached, none, all, or paths");
	int r = prefetch_globs_check(value, reason);

	if (r < 0)
		return r;
	s->prefetch = POLICY_PREFETCH_GLOBS;
	return add_globs(&s->prefetch_globs, value, reason);
}

static const struct {
	const char *name;
	bool is_list; /* may be said again, and go on in the next line */
	bool of_schedule;
	bool of_windows;
} keys[KEY_COUNT] = {
	[KEY_LABEL] = {"label", true, true, true},
	[KEY_WHEN] = {"when", false, true, false},
	[KEY_TZ] = {"tz", false, true, true},
	[KEY_SPLAY] = {"splay", false, true, false},
	[KEY_MODE] = {"mode", false, true, false},
	[KEY_PACKAGES] = {"packages", true, true, false},
	[KEY_PREFETCH] = {"prefetch", true, true, false},
	[KEY_RATE] = {"rate", false, true, false},
	[KEY_ALLOW] = {"allow", true, false, true},
};

/* Which key it is; KEY_COUNT when it has no place in this section. */
static enum key find_key(const struct parser *p, const char *name)
{
	enum key key = KEY_LABEL;

	while (key < KEY_COUNT &&
		(strcmp(keys[key].name, name) != 0 ||
			!(p->schedule ? keys[key].of_schedule : keys[key].of_windows)))
		key++;
	return key;
}

static int set_in_schedule(struct parser *p, struct policy_schedule *s, enum key key,
	const char *value, bool is_again, char reason[TEXT_REASON_SIZE])
{
	switch (key) {
	case KEY_LABEL:
		return add_labels(&s->labels, value, reason);
	case KEY_WHEN:
		return set_when(s, value, reason);
	case KEY_TZ:
		return set_zone(p, value, reason);
	case KEY_SPLAY:
		return set_splay(p, value, reason);
	case KEY_MODE:
		return set_mode(s, value, reason);
	case KEY_PACKAGES:
		return add_globs(&s->packages, value, reason);
	case KEY_PREFETCH:
		return set_prefetch(s, value, is_again, reason);
	case KEY_RATE:
		return rate_parse(value, &s->rate, reason);
	default:
		return -EINVAL;
	}
}

static int set_in_windows(struct parser *p, struct policy_windows *w, enum key key,
	const char *value, char reason[TEXT_REASON_SIZE])
{
	switch (key) {
	case KEY_LABEL:
		return add_labels(&w->labels, value, reason);
	case KEY_TZ:
		return set_zone(p, value, reason);
	case KEY_ALLOW:
		return window_parse(value, &w->windows, reason);
	default:
		return -EINVAL;
	}
}

static int take_line(
	void *context, const char *name, const char *value, char reason[TEXT_REASON_SIZE])
{
	struct parser *p = context;

	if (!p->schedule && !p->windows)
		return p->other(p->context, p->other_section, name, value, reason);
	enum key key = find_key(p, name);

	if (key == KEY_COUNT)
		return words_refuse(reason, "'%s' says nothing in a section of %s", name,
			p->schedule ? "schedules" : "windows");
	if (!*value)
		return words_refuse(reason, "'%s' is empty", name);
	bool is_again = p->said & 1U << key;

	if (is_again && !keys[key].is_list)
		return words_refuse(reason,
			"'%s' is given twice (a line that begins with a blank goes on "
			"with the one above)",
			name);
	p->said |= 1U << key;
	if (p->schedule)
		return set_in_schedule(p, p->schedule, key, value, is_again, reason);
	return set_in_windows(p, p->windows, key, value, reason);
}

static bool has_schedule(const struct policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->schedule_count; i++)
		if (strcmp(policy->schedules[i].name, name) == 0)
			return true;
	return false;
}

static bool has_windows(const struct policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->windows_count; i++)
		if (strcmp(policy->windows[i].name, name) == 0)
			return true;
	return false;
}

static int begin_schedule(struct parser *p, const char *name)
{
	struct policy *policy = p->policy;
	int r = mem_grow((void **)&policy->schedules, &p->schedule_capacity,
		policy->schedule_count, sizeof(*policy->schedules));

	if (r < 0)
		return r;
	p->schedule = &policy->schedules[policy->schedule_count++];
	*p->schedule = (struct policy_schedule){0};
	(void)snprintf(p->schedule->name, sizeof(p->schedule->name), "%s", name);
	return 0;
}

static int begin_windows(struct parser *p, const char *name)
{
	struct policy *policy = p->policy;
	int r = mem_grow((void **)&policy->windows, &p->windows_capacity,
		policy->windows_count, sizeof(*policy->windows));

	if (r < 0)
		return r;
	p->windows = &policy->windows[policy->windows_count++];
	*p->windows = (struct policy_windows){0};
	(void)snprintf(p->windows->name, sizeof(p->windows->name), "%s", name);
	return 0;
}

static int begin_section(
	void *context, const char *section, char reason[TEXT_REASON_SIZE])
{
	struct parser *p = context;
	bool is_schedule =
		strncmp(section, SCHEDULE_PREFIX, strlen(SCHEDULE_PREFIX)) == 0;
	bool is_windows = strncmp(section, WINDOWS_PREFIX, strlen(WINDOWS_PREFIX)) == 0;
	const char *name = strchr(section, ' ');

	p->schedule = NULL;
	p->windows = NULL;
	p->said = 0;
	p->zone[0] = '\0';
	p->splay_s = 0;
	if (!is_schedule && !is_windows) {
		if (!p->other)
			return words_refuse(reason,
				"[%s] is no section of a policy: write [schedule NAME] "
				"or "
				"[windows NAME]",
				section);
		(void)snprintf(p->other_section, sizeof(p->other_section), "%s", section);
		return 0;
	}
	name++;
	if (!is_word_of(name, "._-", POLICY_NAME_SIZE))
		return words_refuse(reason,
			"'%s' is no name: write up to %d small letters, digits, . _ -",
			name, POLICY_NAME_SIZE - 1);
	if (is_schedule ? has_schedule(p->policy, name) : has_windows(p->policy, name))
		return words_refuse(reason, "[%s] is there twice", section);
	if ((is_schedule ? p->policy->schedule_count : p->policy->windows_count) ==
		POLICY_SECTIONS_MAX)
		return words_refuse(reason, "more than %d sections", POLICY_SECTIONS_MAX);
	return is_schedule ? begin_schedule(p, name) : begin_windows(p, name);
}

static int end_section(void *context, char reason[TEXT_REASON_SIZE])
{
	struct parser *p = context;

	if (p->schedule) {
		if (!(p->said & 1U << KEY_WHEN))
			return words_refuse(reason, "the schedule '%s' has no 'when'",
				p->schedule->name);
		memcpy(p->schedule->schedule.zone, p->zone, sizeof(p->zone));
		p->schedule->schedule.splay_s = p->splay_s;
	}
	if (p->windows) {
		if (!(p->said & 1U << KEY_ALLOW))
			return words_refuse(reason, "the windows '%s' have no 'allow'",
				p->windows->name);
		memcpy(p->windows->zone, p->zone, sizeof(p->zone));
	}
	return 0;
}

int policy_parse_config(const char *text, size_t len, policy_other_fn other,
	void *context, struct policy *out, char reason[TEXT_REASON_SIZE])
{
	AUTO_POLICY struct policy policy = {0};
	struct parser p = {.policy = &policy, .other = other, .context = context};
	const struct ini_events events = {.context = &p,
		.begin = begin_section,
		.line = take_line,
		.end = end_section};
	int r = ini_read(text, len, &events, reason);

	if (r < 0)
		return r;
	*out = policy;
	policy = (struct policy){0};
	return 0;
}

int policy_parse(
	const char *text, size_t len, struct policy *out, char reason[TEXT_REASON_SIZE])
{
	return policy_parse_config(text, len, NULL, NULL, out, reason);
}
