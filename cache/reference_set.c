/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Open addressing over 16 bytes of a digest. 128 bits of SHA-256 never collide by accident, and
 * somebody who could make them collide only has his own content kept longer. The two lowest
 * bits of the second word say who names it, so that no slot in use is zero.
 */
#include "cache/reference_set.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define FIRST_SLOTS 1024
#define WHO_BITS    UINT64_C(3)

struct slot {
	uint64_t key;
	uint64_t rest; /* less its lowest bits: an enum reference */
};

struct table {
	struct slot *slots;
	size_t slot_count; /* a power of two */
	size_t used;
};

struct pending {
	struct catalog_ref ref;
	bool is_stale;
};

struct reference_set {
	struct table contents;
	struct table catalogs;
	struct pending *pending;
	size_t pending_count;
	size_t pending_capacity;
	uint64_t missing;
};

static struct slot key_of(const struct digest *digest)
{
	struct slot s;

	memcpy(&s, digest->bytes, sizeof(s));
	s.rest &= ~WHO_BITS;
	return s;
}

/* The slot that holds the key, or the empty one where it belongs. */
static struct slot *find(const struct table *t, const struct slot *key)
{
	size_t i = (size_t)key->key & (t->slot_count - 1);

	for (; t->slots[i].rest; i = (i + 1) & (t->slot_count - 1))
		if (t->slots[i].key == key->key &&
			(t->slots[i].rest & ~WHO_BITS) == key->rest)
			break;
	return &t->slots[i];
}

static int table_init(struct table *t)
{
	t->slot_count = FIRST_SLOTS;
	t->slots = mem_calloc(t->slot_count, sizeof(*t->slots));
	return t->slots ? 0 : -ENOMEM;
}

static int table_grow(struct table *t)
{
	struct table larger = {.slot_count = t->slot_count * 2, .used = t->used};

	larger.slots = mem_calloc(larger.slot_count, sizeof(*larger.slots));
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < t->slot_count; i++) {
		struct slot key = t->slots[i];

		if (!key.rest)
			continue;
		key.rest &= ~WHO_BITS;
		*find(&larger, &key) = t->slots[i];
	}
	free(t->slots);
	*t = larger;
	return 0;
}

/* 1 if that is news, 0 if it was known, or -ENOMEM. */
static int table_add(struct table *t, const struct digest *digest, enum reference who)
{
	struct slot key = key_of(digest);
	struct slot *s = find(t, &key);

	if ((s->rest & WHO_BITS) >= who)
		return 0;
	if (!s->rest) {
		if (t->used >= t->slot_count / 4 * 3) {
			int r = table_grow(t);

			if (r < 0)
				return r;
			s = find(t, &key);
		}
		t->used++;
	}
	*s = (struct slot){key.key, key.rest | who};
	return 1;
}

static enum reference table_ask(const struct table *t, const struct digest *digest)
{
	struct slot key = key_of(digest);

	return find(t, &key)->rest & WHO_BITS;
}

int reference_set_new(struct reference_set **out)
{
	AUTO_FREE struct reference_set *set = mem_calloc(1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	if (table_init(&set->contents) < 0 || table_init(&set->catalogs) < 0) {
		free(set->contents.slots);
		return -ENOMEM;
	}
	*out = TAKE_PTR(set);
	return 0;
}

void reference_set_free(struct reference_set *set)
{
	if (!set)
		return;
	free(set->contents.slots);
	free(set->catalogs.slots);
	free(set->pending);
	free(set);
}

/* A catalog that was met as a stale one and is now met alive is walked again. */
static int push(struct reference_set *set, const struct catalog_ref *ref, bool is_stale)
{
	int r = table_add(&set->catalogs, &ref->digest,
		is_stale ? REFERENCE_STALE : REFERENCE_LIVE);

	if (r <= 0)
		return r;
	r = mem_grow((void **)&set->pending, &set->pending_capacity, set->pending_count,
		sizeof(*set->pending));
	if (r == 0)
		set->pending[set->pending_count++] = (struct pending){*ref, is_stale};
	return r;
}

static int add_catalog(
	struct reference_set *set, const struct catalog *c, bool is_all_stale)
{
	for (uint32_t i = 0; i < c->entry_count; i++) {
		const struct catalog_entry *e = catalog_entry(c, i);
		bool is_stale = is_all_stale || catalog_entry_is_stale(e);
		int r = 0;

		if (catalog_entry_is_nested(e)) {
			struct catalog_ref ref = catalog_nested_ref(&c->nested[e->first]);

			r = push(set, &ref, is_stale);
		} else if (S_ISREG(e->mode) && e->size) {
			r = table_add(&set->contents, &c->contents[e->first].digest,
				is_stale ? REFERENCE_STALE : REFERENCE_LIVE);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int reference_set_add_view(struct reference_set *set, struct catalog_store *catalogs,
	const struct catalog_ref *root, const atomic_bool *is_cancelled)
{
	int r = push(set, root, false);

	while (r >= 0 && set->pending_count) {
		struct pending p = set->pending[--set->pending_count];
		struct catalog *c;

		if (is_cancelled && atomic_load(is_cancelled))
			return -ECANCELED;
		r = catalog_store_get(catalogs, &p.ref, &c);
		if (r == -ENOENT) {
			set->missing++;
			r = 0;
			continue;
		}
		if (r < 0)
			return r;
		r = add_catalog(set, c, p.is_stale);
		catalog_close(c);
	}
	return r;
}

int reference_set_add_content(
	struct reference_set *set, const struct digest *digest, enum reference who)
{
	int r = table_add(&set->contents, digest, who);

	return r < 0 ? r : 0;
}

enum reference reference_set_content(
	const struct reference_set *set, const struct digest *digest)
{
	return table_ask(&set->contents, digest);
}

enum reference reference_set_catalog(
	const struct reference_set *set, const struct digest *digest)
{
	return table_ask(&set->catalogs, digest);
}

uint64_t reference_set_content_count(const struct reference_set *set)
{
	return set->contents.used;
}

uint64_t reference_set_missing(const struct reference_set *set)
{
	return set->missing;
}
