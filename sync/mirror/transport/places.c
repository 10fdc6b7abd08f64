/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/transport/places.h"

#include "sync/mirror/transport/url.h"

#include <errno.h>

static size_t site_index(const struct transfer *t)
{
	return t->site < PLACES_SITES ? t->site : 0;
}

static bool is_large(const struct transfer *t)
{
	return t->length > PLACES_SMALL_BYTES || !url_is_http(t->url);
}

/* How many of `max` may run before another one of this class starts: a reader finds a free place
 * even while work that nobody waits for is plenty. */
static size_t class_share(size_t max, enum fetch_class class)
{
	switch (class) {
	case FETCH_DEMAND:
		return max;
	case FETCH_READ_AHEAD:
		return max - 2;
	default:
		return max / 2;
	}
}

bool places_have_one(const struct places *p, const struct transfer *t,
	enum fetch_class class, int64_t now_ns)
{
	const struct site_places *site = &p->sites[site_index(t)];

	if (p->taken >= class_share(PLACES_ALL, class))
		return false;
	if (site->is_multi)
		return true;
	if (is_large(t) && site->large >= class_share(PLACES_LARGE, class))
		return false;
	bool is_narrow = now_ns < site->narrow_until_ns;

	return site->taken < class_share(is_narrow ? PLACES_LARGE : PLACES_HTTP, class);
}

void places_take(struct places *p, const struct transfer *t, int64_t now_ns)
{
	struct site_places *site = &p->sites[site_index(t)];

	p->taken++;
	site->taken++;
	site->large += is_large(t);
	if (site->taken > PLACES_LARGE)
		site->crowded_ns = now_ns;
}

void places_leave(struct places *p, const struct transfer *t)
{
	struct site_places *site = &p->sites[site_index(t)];

	p->taken--;
	site->taken--;
	site->large -= is_large(t);
}

void places_set_multi(struct places *p, const struct transfer *t, bool is_multi)
{
	p->sites[site_index(t)].is_multi = is_multi;
}

static bool was_crowded(const struct site_places *site, int64_t taken_ns)
{
	/* not how many there are still: the others may be done since */
	return !site->is_multi && site->crowded_ns && site->crowded_ns >= taken_ns;
}

bool places_narrow(
	struct places *p, const struct transfer *t, int64_t taken_ns, int64_t now_ns)
{
	struct site_places *site = &p->sites[site_index(t)];

	if (!was_crowded(site, taken_ns))
		return false;
	site->narrow_until_ns = now_ns + PLACES_NARROW_NS;
	return true;
}

bool places_too_many(struct places *p, const struct transfer *t,
	const struct transfer_result *result, int64_t taken_ns, int64_t now_ns)
{
	bool is_silent = result->status == 0 && result->bytes == 0;
	bool is_refused = result->status == 503 || result->status == 429 ||
			  (is_silent && (result->error == -ECONNREFUSED ||
						result->error == -ECONNRESET));
	/* or a firewall drops it; that has cost its time-out, and another source may do better */
	bool is_dropped = is_silent && result->error == -ETIMEDOUT;

	return (is_refused || is_dropped) && places_narrow(p, t, taken_ns, now_ns) &&
	       is_refused;
}
