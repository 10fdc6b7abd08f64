/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/bounds/recency.h"

#define MANY_NOTES (RECENCY_SLOTS / 2)

void recency_init(struct recency *r)
{
	mutex_init(&r->lock);
}

void recency_release(struct recency *r)
{
	mutex_release(&r->lock);
}

bool recency_is_old(int64_t accessed_ns)
{
	int64_t age_ns = clock_real_ns() - accessed_ns;

	return age_ns > RECENCY_GRAIN_NS || age_ns < -RECENCY_GRAIN_NS;
}

bool recency_note(struct recency *r, const struct digest *digest)
{
	unsigned int slot = (unsigned int)(digest_key(digest) % RECENCY_SLOTS);
	bool is_many = false;

	mutex_lock(&r->lock);
	if (!r->is_noted[slot]) {
		r->is_noted[slot] = true;
		r->slots[slot] = *digest;
		is_many = ++r->count == MANY_NOTES;
	}
	mutex_unlock(&r->lock);
	return is_many;
}

bool recency_take(struct recency *r, unsigned int *at, struct digest *out)
{
	bool is_found = false;

	mutex_lock(&r->lock);
	while (r->count && !is_found && *at < RECENCY_SLOTS) {
		unsigned int slot = (*at)++;

		is_found = r->is_noted[slot];
		if (!is_found)
			continue;
		r->is_noted[slot] = false;
		r->count--;
		*out = r->slots[slot];
	}
	mutex_unlock(&r->lock);
	return is_found;
}
