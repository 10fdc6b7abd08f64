/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/plan/plan_state.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

int plan_begin_package(struct plan *plan, const char *path, uint32_t *out_package)
{
	int r = mem_grow((void **)&plan->packages, &plan->package_capacity,
		plan->package_count, sizeof(*plan->packages));

	if (r < 0)
		return r;
	const char *copy = arena_dup(&plan->arena, path, strlen(path) + 1);

	if (!copy)
		return -ENOMEM;
	plan->packages[plan->package_count] = (struct plan_package){.path = copy};
	*out_package = (uint32_t)plan->package_count++;
	return 0;
}

void plan_count(
	struct plan *plan, uint32_t package, enum plan_what what, uint64_t entries)
{
	struct plan_package *p = &plan->packages[package];
	struct plan_totals *t = &plan->totals;

	switch (what) {
	case PLAN_ADDED:
		p->added += entries;
		t->added += entries;
		return;
	case PLAN_CHANGED:
		p->changed += entries;
		t->changed += entries;
		return;
	case PLAN_REVIVED:
		p->revived += entries;
		t->revived += entries;
		return;
	case PLAN_STALE:
		p->stale += entries;
		t->stale += entries;
		return;
	case PLAN_REMOVED:
		p->removed += entries;
		t->removed += entries;
		return;
	}
}

static int set_side(struct plan *plan, const struct plan_item *item, uint32_t *out_mode,
	uint64_t *out_size, const struct digest **out_digest)
{
	if (!item->c)
		return 0;
	const struct catalog_content *content = catalog_content_of(item->c, item->e);

	*out_mode = item->e->mode;
	*out_size = item->e->size;
	if (!content)
		return 0;
	*out_digest = arena_dup(&plan->arena, &content->digest, sizeof(content->digest));
	return *out_digest ? 0 : -ENOMEM;
}

static int record(struct plan *plan, const char *path, struct plan_change change,
	const struct plan_item *o, const struct plan_item *n)
{
	int r = mem_grow((void **)&plan->changes, &plan->change_capacity,
		plan->change_count, sizeof(*plan->changes));

	if (r == 0)
		r = set_side(
			plan, o, &change.old_mode, &change.old_size, &change.old_digest);
	if (r == 0)
		r = set_side(
			plan, n, &change.new_mode, &change.new_size, &change.new_digest);
	if (r < 0)
		return r;
	change.path = arena_dup(&plan->arena, path, strlen(path) + 1);
	if (!change.path)
		return -ENOMEM;
	plan->changes[plan->change_count++] = change;
	plan_count(plan, change.package, change.what, 1);
	return 0;
}

static bool is_same_content(const struct plan_item *o, const struct plan_item *n)
{
	const struct catalog_content *a = catalog_content_of(o->c, o->e);
	const struct catalog_content *b = catalog_content_of(n->c, n->e);

	if ((o->e->mode ^ n->e->mode) & S_IFMT)
		return false;
	switch (n->e->mode & S_IFMT) {
	case S_IFREG:
		return (!a && !b) || (a && b && digest_equal(&a->digest, &b->digest));
	case S_IFLNK:
		return o->e->count == n->e->count &&
		       memcmp(o->c->targets + o->e->first, n->c->targets + n->e->first,
			       n->e->count) == 0;
	case S_IFBLK:
	case S_IFCHR:
		return o->e->first == n->e->first && o->e->count == n->e->count;
	default:
		return true;
	}
}

static bool is_same_xattrs(const struct plan_item *o, const struct plan_item *n)
{
	if (!o->e->xattrs || !n->e->xattrs)
		return o->e->xattrs == n->e->xattrs;
	const struct catalog_xattr_set *a = &o->c->xattrs[o->e->xattrs - 1];
	const struct catalog_xattr_set *b = &n->c->xattrs[n->e->xattrs - 1];

	return a->length == b->length &&
	       memcmp(o->c->xattr_data + a->offset, n->c->xattr_data + b->offset,
		       a->length) == 0;
}

/* A directory's size and link count follow from what is in it, which is told by itself. */
static bool is_same_metadata(const struct plan_item *o, const struct plan_item *n)
{
	const struct catalog_entry *a = o->e;
	const struct catalog_entry *b = n->e;

	return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
	       a->mtime_sec == b->mtime_sec && a->mtime_nsec == b->mtime_nsec &&
	       (S_ISDIR(b->mode) || a->nlink == b->nlink) && is_same_xattrs(o, n);
}

int plan_record_pair(struct plan *plan, uint32_t package, const char *path,
	const struct plan_item *o, const struct plan_item *n)
{
	const struct catalog_content *content = catalog_content_of(n->c, n->e);
	struct plan_change change = {.package = package, .what = PLAN_ADDED};

	if (o->c) {
		bool is_same = is_same_content(o, n);

		if (is_same)
			content = NULL;
		change.is_metadata_only = is_same && !is_same_metadata(o, n);
		if (is_same && !change.is_metadata_only && !o->is_stale)
			return 0;
		change.what =
			is_same && !change.is_metadata_only ? PLAN_REVIVED : PLAN_CHANGED;
	}
	if (content) {
		plan->packages[package].bytes_new += content->data_bytes;
		plan->totals.bytes_new += content->data_bytes;
	}
	return record(plan, path, change, o, n);
}

int plan_record_stale(
	struct plan *plan, uint32_t package, const char *path, const struct plan_item *o)
{
	static const struct plan_item none;

	return record(plan, path,
		(struct plan_change){.package = package, .what = PLAN_STALE}, o, &none);
}

int plan_record_removed(
	struct plan *plan, uint32_t package, const char *path, const struct plan_item *o)
{
	static const struct plan_item none;

	return record(plan, path,
		(struct plan_change){.package = package, .what = PLAN_REMOVED}, o, &none);
}

static bool has_changes(const struct plan_package *p)
{
	return p->added || p->changed || p->revived || p->stale || p->removed;
}

int plan_tidy_packages(struct plan *plan)
{
	uint32_t kept = 0;
	AUTO_FREE uint32_t *numbers = mem_alloc(plan->package_count * sizeof(*numbers));

	if (!numbers)
		return -ENOMEM;
	for (size_t i = 0; i < plan->package_count; i++) {
		numbers[i] = kept;
		if (has_changes(&plan->packages[i]))
			plan->packages[kept++] = plan->packages[i];
	}
	plan->package_count = kept;
	for (size_t i = 0; i < plan->change_count; i++)
		plan->changes[i].package = numbers[plan->changes[i].package];
	return 0;
}
