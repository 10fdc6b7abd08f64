/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/upstream.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "sync/mirror/transport/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ASIDE_MIN_NS (NS_PER_SEC / 4)
#define ASIDE_MAX_NS (30 * NS_PER_SEC)
#define LYING_NS     (60 * NS_PER_SEC)
#define SLOW_NS	     (60 * NS_PER_SEC)

/* A source's lines in the log: a burst of LOG_BURST, then one each LOG_EVERY_NS. */
#define LOG_BURST    5
#define LOG_EVERY_NS (10 * NS_PER_SEC)

struct site {
	char *url;
	char shown[URL_TEXT_SIZE];

	unsigned int failures; /* in a row */
	int64_t aside_until_ns;
	bool is_lying;		  /* why it is aside */
	int64_t slow_since_ns;	  /* 0: it was never too slow */
	int64_t failing_since_ns; /* 0: it last succeeded, or was never tried */
	int64_t last_failure_ns;
	int64_t latency_ns; /* moving average; 0: not known */

	int64_t log_window_ns;
	unsigned int log_lines;
	unsigned long log_dropped;
};

struct upstream {
	size_t count;

	struct mutex lock; /* guards what follows; clang 14 cannot say so for members */
	struct site sites[UPSTREAM_MAX];
	size_t current; /* the last one that answered */
	bool is_online;
	int64_t last_contact_ns; /* real time */
	uint64_t bytes;
	uint64_t requests;
	uint64_t missing;
	char missing_last[sizeof((struct source_status){0}.missing_last)];
};

static int add_site(struct upstream *u, const char *url, size_t len)
{
	char shown[URL_TEXT_SIZE];
	AUTO_FREE char *copy = mem_dup(url, len);

	if (!copy)
		return -ENOMEM;
	url_strip(copy, shown, sizeof(shown));
	if (!url_is_supported(copy))
		return log_error_errno(-EINVAL,
			"\"%s\" is no source: name an address that begins with "
			"file://, http://, https:// or sftp://",
			shown);
	if (u->count == UPSTREAM_MAX)
		return log_error_errno(
			-E2BIG, "more than %d sources are given", UPSTREAM_MAX);
	struct site *site = &u->sites[u->count++];

	memcpy(site->shown, shown, sizeof(shown));
	site->url = TAKE_PTR(copy);
	return 0;
}

int upstream_new(const char *urls, struct upstream **out)
{
	struct upstream *u = mem_calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	mutex_init(&u->lock);
	for (const char *p = urls; *p && strcmp(urls, "none") != 0;) {
		size_t len = strcspn(p, ",");
		int r = len ? add_site(u, p, len) : 0;

		if (r < 0) {
			upstream_free(u);
			return r;
		}
		p += len + (p[len] == ',');
	}
	*out = u;
	return 0;
}

void upstream_free(struct upstream *u)
{
	if (!u)
		return;
	for (size_t i = 0; i < u->count; i++)
		free(u->sites[i].url);
	mutex_release(&u->lock);
	free(u);
}

size_t upstream_count(const struct upstream *u)
{
	return u->count;
}

const char *upstream_url(const struct upstream *u, size_t index)
{
	return u->sites[index].url;
}

const char *upstream_shown(const struct upstream *u, size_t index)
{
	return u->sites[index].shown;
}

/* When a site may be tried again; lying about one object says little about the others. */
static int64_t site_from_ns(const struct site *site, int64_t now_ns)
{
	return site->aside_until_ns <= now_ns || site->is_lying ? 0
								: site->aside_until_ns;
}

/* Small objects go well even then, so nothing but time ends it. */
static bool site_is_slow(const struct site *site, int64_t now_ns)
{
	return site->slow_since_ns && now_ns - site->slow_since_ns < SLOW_NS;
}

/* True if `a` is to be tried before `b`. */
static bool site_is_better(const struct site *a, const struct site *b, int64_t now_ns)
{
	bool a_aside = a->aside_until_ns > now_ns;
	bool b_aside = b->aside_until_ns > now_ns;

	if (a_aside != b_aside)
		return b_aside;
	if (!a_aside && site_is_slow(a, now_ns) != site_is_slow(b, now_ns))
		return site_is_slow(b, now_ns);
	if (!a_aside)
		return a->latency_ns < b->latency_ns;
	int64_t a_from = site_from_ns(a, now_ns);
	int64_t b_from = site_from_ns(b, now_ns);

	return a_from != b_from ? a_from < b_from : a->aside_until_ns < b->aside_until_ns;
}

int upstream_pick(
	struct upstream *u, uint32_t avoid, size_t *out_index, int64_t *out_from_ns)
{
	int64_t now_ns = clock_mono_ns();
	const struct site *best = NULL;

	mutex_lock(&u->lock);
	for (size_t i = 0; i < u->count; i++) {
		if (avoid & UINT32_C(1) << i)
			continue;
		if (!best || site_is_better(&u->sites[i], best, now_ns))
			best = &u->sites[i];
	}
	if (best) {
		*out_index = (size_t)(best - u->sites);
		*out_from_ns = site_from_ns(best, now_ns);
	}
	mutex_unlock(&u->lock);
	return best ? 0 : -ENOENT;
}

void upstream_succeeded(
	struct upstream *u, size_t index, int64_t latency_ns, uint64_t bytes)
{
	struct site *site = &u->sites[index];
	bool is_back;

	mutex_lock(&u->lock);
	is_back = site->failures > 0 && !u->is_online;
	site->failures = 0;
	site->aside_until_ns = 0;
	site->is_lying = false;
	site->failing_since_ns = 0;
	site->last_failure_ns = 0;
	if (latency_ns > 0)
		site->latency_ns = site->latency_ns
					   ? (7 * site->latency_ns + latency_ns) / 8
					   : latency_ns;
	u->current = index;
	u->is_online = true;
	u->last_contact_ns = clock_real_ns();
	u->bytes += bytes;
	mutex_unlock(&u->lock);
	if (is_back)
		log_info("%s answers again", site->shown);
}

/* May this site say another line? The ones kept back are reported with the next. With the
 * upstream's lock held. */
static bool take_log_line_locked(struct site *site, unsigned long *out_dropped)
{
	int64_t now_ns = clock_mono_ns();

	if (now_ns - site->log_window_ns >= LOG_EVERY_NS) {
		/* a site that went on at full rate gets one line a window */
		site->log_lines = site->log_dropped ? LOG_BURST - 1 : 0;
		site->log_window_ns = now_ns;
	}
	if (site->log_lines >= LOG_BURST) {
		site->log_dropped++;
		return false;
	}
	site->log_lines++;
	*out_dropped = site->log_dropped;
	site->log_dropped = 0;
	return true;
}

struct more {
	char text[64];
};

static struct more more_of(unsigned long dropped)
{
	struct more more = {""};

	if (dropped)
		(void)snprintf(more.text, sizeof(more.text),
			" (and %lu failures not shown)", dropped);
	return more;
}

static void log_failure(const struct site *site, const char *object, const char *reason,
	unsigned long dropped)
{
	log_warn("cannot fetch %s from %s: %s%s", object, site->shown, reason,
		more_of(dropped).text);
}

static int64_t aside_ns(const struct site *site, enum upstream_fault fault)
{
	int64_t ns = ASIDE_MIN_NS;

	if (fault == UPSTREAM_LIES)
		return LYING_NS;
	for (unsigned int i = 1; i < site->failures && ns < ASIDE_MAX_NS; i++)
		ns *= 2;
	return ns < ASIDE_MAX_NS ? ns : ASIDE_MAX_NS;
}

void upstream_failed(struct upstream *u, size_t index, enum upstream_fault fault,
	int64_t start_ns, const char *object, const char *reason)
{
	struct site *site = &u->sites[index];
	int64_t now_ns = clock_mono_ns();
	unsigned long dropped = 0;

	mutex_lock(&u->lock);
	if (fault == UPSTREAM_SLOW) {
		site->slow_since_ns = now_ns;
	} else if (start_ns >= site->last_failure_ns) {
		site->failures++;
		site->last_failure_ns = now_ns;
		site->aside_until_ns = now_ns + aside_ns(site, fault);
		site->is_lying = fault == UPSTREAM_LIES;
	}
	if (fault == UPSTREAM_FAILS) {
		if (!site->failing_since_ns)
			site->failing_since_ns = now_ns;
		if (index == u->current || u->count == 1)
			u->is_online = false;
	}
	bool is_logged = take_log_line_locked(site, &dropped);

	mutex_unlock(&u->lock);
	if (is_logged)
		log_failure(site, object, reason, dropped);
}

void upstream_missing(
	struct upstream *u, size_t index, const char *object, const char *reason)
{
	struct site *site = &u->sites[index];
	unsigned long dropped = 0;

	mutex_lock(&u->lock);
	u->missing++;
	(void)snprintf(u->missing_last, sizeof(u->missing_last), "%.240s: %s",
		site->shown, reason);
	bool is_logged = take_log_line_locked(site, &dropped);

	mutex_unlock(&u->lock);
	if (is_logged)
		log_failure(site, object, reason, dropped);
}

bool upstream_refused(struct upstream *u, size_t index, const char *reason)
{
	unsigned long dropped = 0;

	mutex_lock(&u->lock);
	bool is_logged = take_log_line_locked(&u->sites[index], &dropped);

	mutex_unlock(&u->lock);
	if (is_logged)
		log_warn("%s%s", reason, more_of(dropped).text);
	return is_logged;
}

bool upstream_is_dead(struct upstream *u, int64_t longer_than_ns)
{
	int64_t now_ns = clock_mono_ns();
	bool is_dead = true;

	mutex_lock(&u->lock);
	for (size_t i = 0; i < u->count; i++) {
		const struct site *site = &u->sites[i];

		if (!site->failing_since_ns ||
			now_ns - site->failing_since_ns <= longer_than_ns)
			is_dead = false;
	}
	mutex_unlock(&u->lock);
	return is_dead;
}

bool upstream_failed_since(struct upstream *u, size_t index, int64_t since_ns)
{
	mutex_lock(&u->lock);
	const struct site *site = &u->sites[index];
	bool has_failed =
		site->last_failure_ns > since_ns || site->slow_since_ns > since_ns;

	mutex_unlock(&u->lock);
	return has_failed;
}

int64_t upstream_last_failure_ns(struct upstream *u)
{
	int64_t last_ns = 0;

	mutex_lock(&u->lock);
	for (size_t i = 0; i < u->count; i++)
		if (u->sites[i].last_failure_ns > last_ns)
			last_ns = u->sites[i].last_failure_ns;
	mutex_unlock(&u->lock);
	return last_ns;
}

void upstream_count_request(struct upstream *u)
{
	mutex_lock(&u->lock);
	u->requests++;
	mutex_unlock(&u->lock);
}

void upstream_status(struct upstream *u, struct source_status *out)
{
	mutex_lock(&u->lock);
	*out = (struct source_status){
		.is_online = u->is_online,
		.last_contact = u->last_contact_ns,
		.fetched_bytes = u->bytes,
		.requests = u->requests,
		.missing = u->missing,
	};
	memcpy(out->missing_last, u->missing_last, sizeof(out->missing_last));
	if (u->count)
		(void)snprintf(
			out->url, sizeof(out->url), "%s", u->sites[u->current].shown);
	mutex_unlock(&u->lock);
}
