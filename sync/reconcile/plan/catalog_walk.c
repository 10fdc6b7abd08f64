/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/plan/catalog_walk.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <limits.h>

/* A catalog that was entered; its nested ones follow. */
struct step {
	struct catalog *catalog;
	uint32_t next; /* of its nested ones */
	bool is_selected;
};

struct stack {
	struct step *steps;
	size_t count;
	size_t capacity;
};

static void stack_release(struct stack *s)
{
	while (s->count)
		catalog_close(s->steps[--s->count].catalog);
	free(s->steps);
}

/* One catalog at many places of itself would be a walk without end. */
static int get_sound(const struct catalog_walk *walk, const struct catalog_ref *ref,
	struct catalog_place *place)
{
	int r = catalog_loader_get(walk->loader, ref, &place->catalog);

	if (r < 0 || !place->parent)
		return r;
	r = catalog_must_fit(place->catalog, place->parent, place->nth);
	if (r < 0)
		catalog_close(place->catalog);
	return r;
}

/* Opens a catalog and tells of it. */
static int enter(const struct catalog_walk *walk, struct stack *s,
	const struct catalog_ref *ref, struct catalog_place *place)
{
	int r = mem_grow((void **)&s->steps, &s->capacity, s->count, sizeof(*s->steps));

	if (r == 0)
		r = get_sound(walk, ref, place);
	if (walk->is_lenient && (r == -ENOENT || r == -EUCLEAN ||
					(r == -EHOSTUNREACH && walk->is_offline)))
		return 0;
	if (r < 0)
		return r;
	s->steps[s->count++] = (struct step){
		.catalog = place->catalog, .is_selected = place->is_selected};
	const struct catalog *c = place->catalog;

	for (uint32_t i = 0; r == 0 && i < c->nested_count; i++) {
		const struct catalog_ref below = catalog_nested_ref(&c->nested[i]);

		r = catalog_loader_want(walk->loader, &below);
	}
	return r == 0 ? walk->visit(walk->arg, place) : r;
}

/* Whether a nested one is selected, or something below it may be. */
static bool is_concerned(const struct catalog_walk *walk, const struct catalog *c,
	uint32_t nth, bool *is_selected)
{
	char path[PATH_MAX];
	uint32_t entry = c->nested[nth].entry;

	if (walk->is_current_only && catalog_entry_is_stale(catalog_entry(c, entry)))
		return false;
	if (*is_selected || !walk->selection)
		return true;
	/* nothing can name what is longer than a path */
	if (catalog_path_of(c, entry, path, sizeof(path)) < 0)
		return false;
	*is_selected = selection_has(walk->selection, path);
	return *is_selected || selection_reaches_below(walk->selection, path);
}

int catalog_walk(const struct catalog_walk *walk, const struct catalog_ref *root)
{
	struct stack s CLEANUP(stack_release) = {0};
	struct catalog_place place = {
		.is_selected =
			!walk->selection || selection_is_everything(walk->selection)};
	int r = enter(walk, &s, root, &place);

	while (r == 0 && s.count) {
		if (walk->is_cancelled && atomic_load(walk->is_cancelled))
			return -ECANCELED;
		struct step *top = &s.steps[s.count - 1];
		const struct catalog *c = top->catalog;

		if (top->next == c->nested_count) {
			catalog_close(top->catalog);
			s.count--;
			continue;
		}
		place = (struct catalog_place){
			.parent = c, .nth = top->next++, .is_selected = top->is_selected};
		if (!is_concerned(walk, c, place.nth, &place.is_selected))
			continue;
		const struct catalog_ref ref = catalog_nested_ref(&c->nested[place.nth]);

		r = enter(walk, &s, &ref, &place);
	}
	return r;
}
