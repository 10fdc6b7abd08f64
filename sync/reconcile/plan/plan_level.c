/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/plan/plan_level.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <sys/stat.h>

bool plan_item_is_dir(const struct plan_item *i)
{
	return i->c && S_ISDIR(i->e->mode);
}

const struct catalog_nested *plan_item_nested(const struct plan_item *i)
{
	return i->c && catalog_entry_is_nested(i->e) ? &i->c->nested[i->e->first] : NULL;
}

/* With other totals one of them lies, which shows when they are opened. */
bool plan_is_same_catalog(const struct catalog_nested *a, const struct catalog_nested *b)
{
	return a && b && digest_equal(&a->digest, &b->digest) &&
	       a->tree_entries == b->tree_entries && a->tree_bytes == b->tree_bytes;
}

const char *walk_path(const struct walk *w)
{
	return (const char *)w->path.data;
}

static int cut_path(struct walk *w, size_t len)
{
	w->path.len = len;
	w->path_length = len;
	return buffer_add_zero(&w->path, 1);
}

int walk_set_path(struct walk *w, size_t parent, const char *name, size_t len)
{
	w->path.len = parent;
	int r = parent ? buffer_add(&w->path, "/", 1) : 0;

	if (r == 0)
		r = buffer_add(&w->path, name, len);
	return r == 0 ? cut_path(w, w->path.len) : r;
}

static struct plan_item item_at(const struct side *s)
{
	const struct catalog_entry *e = catalog_entry(s->c, s->at);
	struct plan_item item = {.c = s->c,
		.e = e,
		.index = s->at,
		.revision = s->revision,
		.is_stale = s->is_stale || catalog_entry_is_stale(e),
		.is_in_stale = s->is_stale};

	if (catalog_entry_is_nested(e) && s->c->local && s->c->local[e->first].revision)
		item.revision = s->c->local[e->first].revision;
	return item;
}

void walk_close_held(struct walk *w, size_t mark)
{
	while (w->held_count > mark)
		catalog_close(w->held[--w->held_count]);
}

int walk_hold(struct walk *w, const struct catalog_ref *ref, const struct catalog **out)
{
	struct catalog *c;
	int r = mem_grow((void **)&w->held, &w->held_capacity, w->held_count,
		sizeof(struct catalog *));

	if (r < 0)
		return r;
	r = catalog_loader_get(w->loader, ref, &c);
	if (r < 0)
		return r;
	w->held[w->held_count++] = c;
	*out = c;
	return 0;
}

static void set_children(const struct plan_item *item, const struct catalog *c,
	uint32_t dir, struct side *out)
{
	const struct catalog_entry *e = catalog_entry(c, dir);

	*out = (struct side){.c = c,
		.at = e->first,
		.end = e->first + e->count,
		.revision = item->revision,
		.is_stale = c == item->c ? item->is_in_stale : item->is_stale};
}

/* The children of a directory; none if the item is none. */
static int open_side(struct walk *w, const struct plan_item *item, struct side *out)
{
	const struct catalog_nested *nested = plan_item_nested(item);
	const struct catalog *c;

	if (!plan_item_is_dir(item))
		return 0;
	if (!nested) {
		set_children(item, item->c, item->index, out);
		return 0;
	}
	struct catalog_ref ref = catalog_nested_ref(nested);
	int r = walk_hold(w, &ref, &c);

	if (r == 0)
		r = catalog_must_fit(c, item->c, item->e->first);
	if (r == 0)
		set_children(item, c, CATALOG_ROOT, out);
	return r;
}

/* A catalog of the old side may be gone from everywhere, or be none: a mirror that had nothing yet looks at
 * the root only. It showed nothing then, and what it had cannot be kept. */
static int open_old(struct walk *w, struct level *l)
{
	int r = open_side(w, &l->o, &l->old);
	const struct catalog_nested *nested = plan_item_nested(&l->o);

	if (r != -ENOENT && r != -EUCLEAN && (r != -EHOSTUNREACH || w->config->source))
		return r;
	w->plan->totals.missing_packages++;
	log_warn("the catalog of '%s' as it is shown is neither here nor at a source, or "
		 "not sound: what was in it cannot be told",
		walk_path(w));
	if (nested && nested->tree_entries && !l->new.c)
		plan_count(w->plan, l->package, l->is_removed ? PLAN_REMOVED : PLAN_STALE,
			nested->tree_entries - 1);
	return 0;
}

void frame_free(struct frame *f)
{
	if (!f)
		return;
	compose_free(f->compose);
	free(f);
}

int frame_new(const struct walk *w, const struct plan_item *top, struct frame **out)
{
	struct frame *f = mem_calloc(1, sizeof(*f));
	uint32_t handle;

	if (!f)
		return -ENOMEM;
	int r = compose_new(walk_path(w), w->path_length, &f->compose);

	if (r == 0)
		r = compose_add(f->compose, 0, top->c, top->index, 0, &handle);
	if (r < 0) {
		frame_free(f);
		return r;
	}
	*out = f;
	return 0;
}

int level_emit(struct level *l, const struct plan_item *item, bool is_stale,
	uint32_t *out_handle)
{
	*out_handle = 0;
	if (!l->frame)
		return 0;
	return compose_add(l->frame->compose, l->handle, item->c, item->index,
		is_stale ? COMPOSE_STALE : 0, out_handle);
}

int level_attach(struct level *l, uint32_t handle, const struct plan_item *o,
	const struct plan_item *n, const struct catalog_nested *values, uint64_t revision,
	bool is_stale)
{
	struct frame *f = l->frame;

	if (!f)
		return 0;
	if (!plan_is_same_catalog(plan_item_nested(f->is_of_new ? n : o), values) ||
		is_stale != (!f->is_of_new && o->is_stale))
		f->is_verbatim = false;
	/* a stale one's revision is said, or it would seem to be of the next one, too */
	return compose_nest(f->compose, handle, values,
		revision == f->revision && !is_stale ? 0 : revision);
}

void level_count_links(struct level *l, const struct plan_item *base, bool is_emitted_dir)
{
	l->more_links += (int)is_emitted_dir - (int)plan_item_is_dir(base);
}

const struct plan_item *level_base(
	const struct level *l, const struct plan_item *o, const struct plan_item *n)
{
	return l->is_of_new ? n : o;
}

int level_push(struct walk *w, const struct level *filled)
{
	struct level *l = mem_dup(filled, sizeof(*filled));

	if (!l)
		return -ENOMEM;
	l->up = w->top;
	l->path_length = w->path_length;
	l->held = w->held_count;
	w->top = l;
	int r = open_side(w, &l->n, &l->new);

	return r == 0 ? open_old(w, l) : r;
}

int level_push_listed(struct walk *w, const struct level *above,
	const struct plan_item *o, const struct plan_item *n, bool is_removed)
{
	struct level l = {.package = above->package,
		.is_selected = true,
		.is_of_new = n->c,
		.is_removed = is_removed,
		.o = *o,
		.n = *n};
	const struct catalog_nested *old = plan_item_nested(o);
	const struct catalog_nested *new = plan_item_nested(n);

	if (old || new) {
		int r = plan_begin_package(w->plan, walk_path(w), &l.package);

		if (r < 0)
			return r;
		struct plan_package *p = &w->plan->packages[l.package];

		p->has_old = old;
		p->has_new = p->has_shown = new;
		if (old)
			p->old = catalog_nested_ref(old);
		if (new)
			p->new = p->shown = catalog_nested_ref(new);
		if (old && !new && !is_removed) {
			p->has_shown = true;
			p->shown = p->old;
		}
	}
	return level_push(w, &l);
}

int level_push_plain(struct walk *w, const struct level *above, uint32_t handle,
	const struct plan_item *o, const struct plan_item *n, bool is_selected)
{
	struct level l = {.package = above->package,
		.frame = above->frame,
		.handle = handle,
		.is_selected = is_selected,
		.is_of_new = is_selected && n->c,
		.o = *o,
		.n = *n};

	return level_push(w, &l);
}

int level_push_frame(struct walk *w, uint32_t handle, const struct plan_item *o,
	const struct plan_item *n, bool is_selected)
{
	struct level l = {.handle_above = handle,
		.begins_frame = true,
		.is_selected = is_selected,
		.is_of_new = is_selected || !o->c,
		.o = *o,
		.n = *n};
	const struct plan_item *base = l.is_of_new ? n : o;
	const struct catalog_nested *nested = plan_item_nested(base);
	const struct catalog_nested *old = plan_item_nested(o);
	const struct catalog_nested *new = plan_item_nested(n);
	int r = plan_begin_package(w->plan, walk_path(w), &l.package);

	if (r == 0)
		r = frame_new(w, base, &l.frame);
	if (r < 0)
		return r;
	l.frame->is_of_new = l.is_of_new;
	l.frame->has_base = l.frame->is_verbatim = nested;
	if (nested)
		l.frame->base = *nested;
	l.frame->revision = base->revision;
	struct plan_package *p = &w->plan->packages[l.package];

	p->has_old = old;
	p->has_new = new;
	if (old)
		p->old = catalog_nested_ref(old);
	if (new)
		p->new = catalog_nested_ref(new);
	r = level_push(w, &l);
	/* on the stack it goes with its level */
	if (r < 0 && (!w->top || w->top->frame != l.frame))
		frame_free(l.frame);
	return r;
}

static int compare_names(const struct plan_item *o, const struct plan_item *n)
{
	size_t a = o->e->name_length;
	size_t b = n->e->name_length;
	int order =
		memcmp(catalog_name(o->c, o->e), catalog_name(n->c, n->e), a < b ? a : b);

	return order ? order : (a > b) - (a < b);
}

bool level_next(struct level *l, struct plan_item *o, struct plan_item *n)
{
	*o = (struct plan_item){0};
	*n = (struct plan_item){0};
	if (l->old.at < l->old.end)
		*o = item_at(&l->old);
	if (l->new.at < l->new.end)
		*n = item_at(&l->new);
	if (!o->c && !n->c)
		return false;
	int order = !o->c ? 1 : !n->c ? -1 : compare_names(o, n);

	if (order <= 0)
		l->old.at++;
	else
		*o = (struct plan_item){0};
	if (order >= 0)
		l->new.at++;
	else
		*n = (struct plan_item){0};
	return true;
}

/* The catalog that a frame has become: its base or a composed one. */
static int finish_frame(struct walk *w, const struct level *l, struct catalog_nested *out)
{
	struct plan *plan = w->plan;
	const struct catalog_nested *old = plan_item_nested(&l->o);
	struct composed composed;

	if (l->frame->is_verbatim && l->frame->has_base) {
		*out = l->frame->base;
		return 0;
	}
	int r = mem_grow((void **)&plan->composed, &plan->composed_capacity,
		plan->composed_count, sizeof(*plan->composed));

	if (r == 0)
		r = compose_finish(l->frame->compose, &composed);
	if (r < 0)
		return r;
	*out = composed.nested;
	/* what the last sync composed stays as it is */
	if (plan_is_same_catalog(old, out) ||
		(!l->up && digest_equal(&out->digest, &plan->old_root.digest)))
		composed_release(&composed);
	else
		plan->composed[plan->composed_count++] = composed;
	return 0;
}

static int end_frame(struct walk *w, struct level *l, bool is_stale)
{
	struct catalog_nested values;
	int r = finish_frame(w, l, &values);

	if (r < 0)
		return r;
	struct plan_package *p = &w->plan->packages[l->package];

	p->has_shown = true;
	p->shown = catalog_nested_ref(&values);
	if (!l->up) {
		w->result = values;
		return 0;
	}
	compose_adjust_nlink(l->up->frame->compose, l->handle_above, l->more_links);
	return level_attach(l->up, l->handle_above, &l->o, &l->n, &values,
		l->frame->revision, is_stale);
}

/* A directory outside the selection that was stale, and below which the master has something
 * selected: so it has the directory, too. */
static int revive(struct walk *w, struct level *l)
{
	struct level *in = l->begins_frame ? l->up : l;
	int r = cut_path(w, l->path_length);

	compose_revive(in->frame->compose, l->begins_frame ? l->handle_above : l->handle);
	in->frame->is_verbatim = false;
	return r == 0 ? plan_record_pair(w->plan, l->package, walk_path(w), &l->o, &l->o)
		      : r;
}

/* Whether anything is in the directory that was emitted last. */
static bool is_bare(const struct level *l)
{
	return compose_last(l->frame->compose) == l->handle;
}

/* Nothing selected was found: as if the directory had never been tried. */
static int take_back(struct level *l)
{
	uint32_t handle;

	compose_drop(l->up->frame->compose, l->handle_above);
	level_count_links(l->up, level_base(l->up, &l->o, &l->n), false);
	return l->o.c ? level_emit(l->up, &l->o, l->o.is_stale, &handle) : 0;
}

static int end_tentative(struct walk *w, struct level *l)
{
	if (is_bare(l))
		return take_back(l);
	int r = cut_path(w, l->path_length);

	level_count_links(l->up, level_base(l->up, &l->o, &l->n), true);
	l->up->frame->is_verbatim = false;
	if (r == 0)
		r = plan_record_pair(w->plan, l->package, walk_path(w), &l->o, &l->n);
	return r == 0 && l->begins_frame ? end_frame(w, l, false) : r;
}

void level_drop(struct walk *w, struct level *l)
{
	if (!l->frame || l->begins_frame)
		walk_close_held(w, l->held);
	if (l->begins_frame)
		frame_free(l->frame);
	free(l);
}

/* Ends a level that feeds a frame, one that it began or one begun above it. */
static int end_framed(struct walk *w, struct level *l)
{
	bool is_stale = !l->is_of_new && l->o.is_stale;
	int r = 0;

	compose_adjust_nlink(l->frame->compose, l->handle, l->more_links);
	if (l->is_tentative)
		return end_tentative(w, l);
	if (is_stale && l->has_new) {
		r = revive(w, l);
		is_stale = false;
	}
	return r == 0 && l->begins_frame ? end_frame(w, l, is_stale) : r;
}

int level_pop(struct walk *w)
{
	struct level *l = w->top;
	/* what is only listed is neither tentative nor begins a frame */
	int r = l->frame ? end_framed(w, l) : 0;

	if (l->up)
		l->up->has_new |= l->has_new;
	w->top = l->up;
	level_drop(w, l);
	return r;
}
