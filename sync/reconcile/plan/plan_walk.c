/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A merge of two trees, directory by directory, on a stack of its own (a tree may be deeper than a
 * thread's). Here are the rules: what becomes of a name.
 *
 * Below a selected package the new side is the base: its frame is thrown away, and the new
 * catalog taken, if nothing else came in. Elsewhere the old side is the base, likewise.
 */
#include "cache/base/memory.h"
#include "sync/reconcile/plan/plan_level.h"

#include <errno.h>

#define PATH_MAX_BYTES (UINT64_C(64) << 20)

static int remove_item(struct walk *w, struct level *l, const struct plan_item *o)
{
	static const struct plan_item none;
	int r = plan_record_removed(w->plan, l->package, walk_path(w), o);

	return r == 0 && plan_item_is_dir(o) ? level_push_listed(w, l, o, &none, true)
					     : r;
}

static int keep_stale(struct walk *w, struct level *l, const struct plan_item *o)
{
	static const struct plan_item none;
	const struct catalog_nested *nested = plan_item_nested(o);
	uint32_t handle;
	int r = level_emit(l, o, true, &handle);

	level_count_links(l, level_base(l, o, &none), plan_item_is_dir(o));
	if (l->frame && (l->frame->is_of_new || !o->is_stale))
		l->frame->is_verbatim = false;
	if (r < 0)
		return r;
	if (o->is_stale)
		w->plan->totals.kept_stale++;
	else
		r = plan_record_stale(w->plan, l->package, walk_path(w), o);
	if (r < 0 || !plan_item_is_dir(o))
		return r;
	if (!nested)
		return level_push_plain(w, l, handle, o, &none, true);
	r = level_attach(l, handle, o, &none, nested, o->revision, true);
	if (r < 0)
		return r;
	if (!o->is_stale)
		return level_push_listed(w, l, o, &none, false);
	w->plan->totals.kept_stale += nested->tree_entries ? nested->tree_entries - 1 : 0;
	return 0;
}

/* Selected, and the new side does not have it. */
static int drop_old(struct walk *w, struct level *l, const struct plan_item *o)
{
	static const struct plan_item none;

	if (w->config->mode == PLAN_INCREMENTAL)
		return keep_stale(w, l, o);
	level_count_links(l, level_base(l, o, &none), false);
	if (l->frame && !l->frame->is_of_new)
		l->frame->is_verbatim = false;
	return remove_item(w, l, o);
}

static int take_nested(struct walk *w, struct level *l, uint32_t handle,
	const struct plan_item *o, const struct plan_item *n)
{
	const struct catalog_nested *nested = plan_item_nested(n);
	int r;

	if (plan_is_same_catalog(plan_item_nested(o), nested)) {
		w->plan->totals.unchanged_packages++;
		if (o->is_stale && nested->tree_entries)
			plan_count(w->plan, l->package, PLAN_REVIVED,
				nested->tree_entries - 1);
		return level_attach(l, handle, o, n, nested, n->revision, false);
	}
	if (plan_item_is_dir(o) && w->config->mode == PLAN_INCREMENTAL)
		return level_push_frame(w, handle, o, n, true);
	r = level_attach(l, handle, o, n, nested, n->revision, false);
	if (r < 0)
		return r;
	static const struct plan_item none;

	return level_push_listed(w, l, plan_item_is_dir(o) ? o : &none, n, false);
}

/* Selected, and the new side has it. */
static int take_new(struct walk *w, struct level *l, const struct plan_item *o,
	const struct plan_item *n)
{
	static const struct plan_item none;
	uint32_t handle;
	int r = plan_record_pair(w->plan, l->package, walk_path(w), o, n);

	if (r < 0)
		return r;
	r = level_emit(l, n, false, &handle);
	if (r < 0)
		return r;
	level_count_links(l, level_base(l, o, n), plan_item_is_dir(n));
	if (l->frame && !l->frame->is_of_new && !plan_item_nested(n))
		l->frame->is_verbatim = false;
	if (!plan_item_is_dir(n))
		return plan_item_is_dir(o) ? level_push_listed(w, l, o, &none, true) : 0;
	if (plan_item_nested(n))
		return take_nested(w, l, handle, o, n);
	return level_push_plain(w, l, handle, plan_item_is_dir(o) ? o : &none, n, true);
}

/* Not selected: a directory that only the new side has, for what may be selected below it. */
static int try_new(struct walk *w, struct level *l, const struct plan_item *o,
	const struct plan_item *n)
{
	static const struct plan_item none;
	uint32_t handle;
	int r = level_emit(l, n, false, &handle);

	if (r == 0)
		r = plan_item_nested(n) ? level_push_frame(w, handle, &none, n, false)
					: level_push_plain(w, l, handle, &none, n, false);
	if (r < 0)
		return r;
	w->top->is_tentative = true;
	w->top->is_of_new = true;
	w->top->o = *o;
	w->top->handle_above = handle;
	if (w->top->begins_frame)
		w->top->frame->is_verbatim = false;
	return 0;
}

/* Not selected: as in the old, but for what may be selected below. */
static int keep_old(struct walk *w, struct level *l, const struct plan_item *o,
	const struct plan_item *n)
{
	static const struct plan_item none;
	const struct catalog_nested *old = plan_item_nested(o);
	bool reaches = (plan_item_is_dir(o) || plan_item_is_dir(n)) &&
		       selection_reaches_below(w->selection, walk_path(w));
	uint32_t handle;

	if (!plan_item_is_dir(o) && plan_item_is_dir(n) && reaches)
		return try_new(w, l, o, n);
	if (!o->c) {
		level_count_links(l, level_base(l, o, n), false);
		return 0;
	}
	int r = level_emit(l, o, o->is_stale, &handle);

	level_count_links(l, level_base(l, o, n), plan_item_is_dir(o));
	if (r < 0 || !plan_item_is_dir(o))
		return r;
	if (!reaches || plan_is_same_catalog(old, plan_item_nested(n))) {
		if (old)
			return level_attach(
				l, handle, o, n, old, o->revision, o->is_stale);
		return level_push_plain(w, l, handle, o, &none, false);
	}
	if (plan_item_is_dir(n) ? plan_item_nested(n) != NULL : old != NULL)
		return level_push_frame(
			w, handle, o, plan_item_is_dir(n) ? n : &none, false);
	if (old)
		l->frame->is_verbatim = false;
	return level_push_plain(w, l, handle, o, plan_item_is_dir(n) ? n : &none, false);
}

static int visit(struct walk *w, const struct plan_item *o, const struct plan_item *n)
{
	struct level *l = w->top;
	const struct plan_item *named = o->c ? o : n;
	int r = walk_set_path(w, l->path_length, catalog_name(named->c, named->e),
		named->e->name_length);

	if (r < 0)
		return r == -EFBIG ? -E2BIG : r;
	if (l->is_removed)
		return remove_item(w, l, o);
	bool is_package = plan_item_nested(o) || plan_item_nested(n);

	if (l->is_selected || (is_package && selection_has(w->selection, walk_path(w)))) {
		l->has_new |= n->c != NULL;
		return n->c ? take_new(w, l, o, n) : drop_old(w, l, o);
	}
	return keep_old(w, l, o, n);
}

static int run(struct walk *w)
{
	const atomic_bool *is_cancelled = w->config->is_cancelled;
	struct plan_item o;
	struct plan_item n;
	int r = 0;

	while (r == 0 && w->top) {
		if (level_next(w->top, &o, &n)) {
			r = visit(w, &o, &n);
			continue;
		}
		if (is_cancelled && atomic_load(is_cancelled))
			return -ECANCELED;
		r = level_pop(w);
	}
	return r;
}

static struct catalog_nested root_values(
	const struct catalog_ref *ref, const struct catalog *c)
{
	return (struct catalog_nested){.digest = ref->digest,
		.stored_bytes = ref->stored_bytes,
		.raw_bytes = ref->raw_bytes,
		.tree_entries = c->header->tree_entries,
		.tree_bytes = c->header->tree_bytes};
}

static struct plan_item root_item(const struct catalog *c, uint64_t revision)
{
	return (struct plan_item){
		.c = c, .e = catalog_entry(c, CATALOG_ROOT), .revision = revision};
}

static int push_root(struct walk *w, const struct catalog *old, const struct catalog *new)
{
	bool is_all = selection_is_everything(w->selection);
	struct level l = {.is_selected = is_all,
		.is_of_new = is_all,
		.begins_frame = !is_all || w->config->mode == PLAN_INCREMENTAL,
		.o = root_item(old, w->config->old.revision),
		.n = root_item(new, w->config->new.revision)};
	int r = plan_begin_package(w->plan, "", &l.package);

	if (r == 0 && is_all)
		r = plan_record_pair(w->plan, l.package, "", &l.o, &l.n);
	if (r == 0 && l.begins_frame)
		r = frame_new(w, is_all ? &l.n : &l.o, &l.frame);
	if (r < 0)
		return r;
	if (l.frame) {
		l.frame->is_of_new = is_all;
		l.frame->has_base = l.frame->is_verbatim = true;
		l.frame->base = is_all ? root_values(&w->config->new.root, new)
				       : root_values(&w->config->old.root, old);
		l.frame->revision =
			is_all ? w->config->new.revision : w->config->old.revision;
	}
	w->result = root_values(&w->config->new.root, new);
	struct plan_package *p = &w->plan->packages[l.package];

	p->has_old = p->has_new = p->has_shown = true;
	p->old = w->config->old.root;
	p->new = p->shown = w->config->new.root;
	r = level_push(w, &l);
	if (r < 0 && !w->top)
		frame_free(l.frame);
	return r;
}

static int walk_roots(struct walk *w)
{
	struct plan_totals *t = &w->plan->totals;
	bool is_all = selection_is_everything(w->selection);
	const struct catalog *old;
	const struct catalog *new;
	int r = walk_hold(w, &w->config->old.root, &old);

	if (r < 0)
		return r;
	r = walk_hold(w, &w->config->new.root, &new);
	if (r < 0)
		return r;
	w->plan->revision = is_all ? w->config->new.revision : w->config->old.revision;
	w->result = root_values(&w->config->old.root, old);
	t->entries_before = old->header->tree_entries;
	if (!digest_equal(&w->config->old.root.digest, &w->config->new.root.digest)) {
		r = push_root(w, old, new);
		if (r == 0)
			r = run(w);
	}
	t->entries_after = w->result.tree_entries;
	t->composed_catalogs = w->plan->composed_count;
	w->plan->root = catalog_nested_ref(&w->result);
	return r == 0 ? plan_tidy_packages(w->plan) : r;
}

int plan_walk(const struct plan_config *config, const struct selection *selection,
	struct catalog_loader *loader, struct plan *plan)
{
	struct walk w = {.config = config,
		.selection = selection,
		.loader = loader,
		.plan = plan,
		.path = BUFFER_INIT(PATH_MAX_BYTES)};
	int r = walk_set_path(&w, 0, "", 0);

	if (r == 0)
		r = walk_roots(&w);
	while (w.top) {
		struct level *l = w.top;

		w.top = l->up;
		level_drop(&w, l);
	}
	walk_close_held(&w, 0);
	free(w.held);
	buffer_release(&w.path);
	return r;
}
