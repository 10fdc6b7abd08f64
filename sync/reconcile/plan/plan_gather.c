/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Looks ahead of the walk: the catalogs that one side names and the other does not are those
 * that the walk will open, whatever their paths. A level of the tree costs one round trip per
 * window of the loader, however its catalogs hang together. What it gets wrong costs time only.
 */
#include "sync/reconcile/plan/plan_state.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <linux/limits.h>
#include <string.h>

struct level {
	struct catalog_ref *refs;
	size_t count;
	size_t capacity;
};

static void level_release(struct level *l)
{
	free(l->refs);
}

static int level_add(struct level *l, const struct catalog_ref *ref)
{
	int r = mem_grow((void **)&l->refs, &l->capacity, l->count, sizeof(*l->refs));

	if (r == 0)
		l->refs[l->count++] = *ref;
	return r;
}

static int compare_refs(const void *a, const void *b)
{
	return memcmp(((const struct catalog_ref *)a)->digest.bytes,
		((const struct catalog_ref *)b)->digest.bytes, DIGEST_SIZE);
}

/* Sorted, each once: the same one at many places, level below level, would be more than memory holds. */
static void sort_once_each(struct level *l)
{
	size_t kept = 0;

	if (l->count)
		qsort(l->refs, l->count, sizeof(*l->refs), compare_refs);
	for (size_t i = 0; i < l->count; i++)
		if (i == 0 || compare_refs(&l->refs[i], &l->refs[kept - 1]) != 0)
			l->refs[kept++] = l->refs[i];
	l->count = kept;
}

/* Leaves in each what the other has not. */
static void subtract(struct level *a, struct level *b)
{
	size_t i = 0;
	size_t k = 0;
	size_t only_a = 0;
	size_t only_b = 0;

	sort_once_each(a);
	sort_once_each(b);
	while (i < a->count || k < b->count) {
		int order = i == a->count   ? 1
			    : k == b->count ? -1
					    : compare_refs(&a->refs[i], &b->refs[k]);

		if (order == 0) {
			i++;
			k++;
		} else if (order < 0) {
			a->refs[only_a++] = a->refs[i++];
		} else {
			b->refs[only_b++] = b->refs[k++];
		}
	}
	a->count = only_a;
	b->count = only_b;
}

static int add_nested(
	const struct catalog *c, const struct selection *selection, struct level *below)
{
	char path[PATH_MAX];

	for (uint32_t i = 0; i < c->nested_count; i++) {
		struct catalog_ref ref = catalog_nested_ref(&c->nested[i]);

		/* a longer path than fits is not looked ahead for */
		if (!selection_is_everything(selection) &&
			(catalog_path_of(c, c->nested[i].entry, path, sizeof(path)) < 0 ||
				!selection_concerns(selection, path)))
			continue;
		int r = level_add(below, &ref);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Errors that concern all catalogs, not only one that may not even be needed. */
static bool is_final(int error)
{
	return error == -ENOMEM || error == -ECANCELED || error == -EHOSTUNREACH ||
	       error == -ETIMEDOUT;
}

static int descend(const struct level *l, const struct selection *selection,
	struct catalog_loader *loader, struct level *below)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->count; i++) {
		struct catalog *c;

		r = catalog_loader_get(loader, &l->refs[i], &c);
		if (r < 0) {
			r = is_final(r) ? r : 0;
			continue;
		}
		r = add_nested(c, selection, below);
		catalog_close(c);
	}
	return r;
}

static int want(const struct level *l, struct catalog_loader *loader)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->count; i++)
		r = catalog_loader_want(loader, &l->refs[i]);
	return r;
}

int plan_gather(const struct plan_config *config, const struct selection *selection,
	struct catalog_loader *loader)
{
	struct level old CLEANUP(level_release) = {0};
	struct level new CLEANUP(level_release) = {0};

	if (!config->source)
		return 0;
	int r = level_add(&old, &config->old.root);

	if (r == 0)
		r = level_add(&new, &config->new.root);
	while (r == 0) {
		struct level old_below CLEANUP(level_release) = {0};
		struct level new_below CLEANUP(level_release) = {0};

		subtract(&old, &new);
		if (!old.count && !new.count)
			break;
		r = want(&new, loader);
		if (r == 0)
			r = want(&old, loader);
		if (r == 0)
			r = descend(&new, selection, loader, &new_below);
		if (r == 0)
			r = descend(&old, selection, loader, &old_below);
		struct level finished = old;

		old = old_below;
		old_below = finished;
		finished = new;
		new = new_below;
		new_below = finished;
	}
	return r;
}
