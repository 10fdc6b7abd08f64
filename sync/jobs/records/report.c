/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One walk over both trees of catalogs at once. Where both sides name the same digest, the head's side
 * is not opened: all below is current. A package that one side alone has is missing or was dropped.
 */
#include "sync/jobs/records/report.h"

#include "cache/base/data/buffer.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/objects/bounds/held_set.h"
#include "cache/state/package_records.h"
#include "sync/jobs/records/report_compare.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_MAX_BYTES 65536

/* A package to be looked at: one side or both. */
struct place {
	char *path;
	bool has_view;
	bool has_head;
	bool is_stale; /* the view's directory is, or one above */
	struct catalog_nested view;
	struct catalog_nested head;
};

struct walk {
	const struct report_config *config;
	struct held_set *held;
	struct pin_list pins;
	struct report *report;
	struct place *places; /* to do */
	size_t count;
	size_t capacity;
};

const char *report_state_text(enum report_state state)
{
	switch (state) {
	case REPORT_MISSING:
		return "missing";
	case REPORT_OUT_OF_DATE:
		return "out of date";
	case REPORT_STALE:
		return "stale";
	case REPORT_CURRENT:
		return "current";
	}
	return "?";
}

const char *report_content_text(enum report_content content)
{
	switch (content) {
	case REPORT_REMOTE:
		return "remote";
	case REPORT_PARTLY:
		return "partly";
	case REPORT_CACHED:
		return "cached";
	}
	return "?";
}

/* Takes `place->path` over. */
static int push(struct walk *w, struct place *place)
{
	int r = mem_grow((void **)&w->places, &w->capacity, w->count, sizeof(*w->places));

	if (r < 0) {
		free(place->path);
		return r;
	}
	w->places[w->count++] = *place;
	return 0;
}

/* The path from the tree's root of an entry; NULL when memory is short. */
static char *entry_path(const struct catalog *c, uint32_t index)
{
	AUTO_FREE char *path = mem_alloc(PATH_MAX_BYTES);

	if (!path || catalog_path_of(c, index, path, PATH_MAX_BYTES) < 0)
		return NULL;
	return mem_strdup(path);
}

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a;
	const struct place *y = b;
	int order = strcmp(x->path, y->path);

	/* of one path the view's comes first */
	return order ? order : (int)y->has_view - (int)x->has_view;
}

/* Pushes the packages below one side's catalog. */
static int push_nested(
	struct walk *w, const struct catalog *c, const struct place *above, bool is_head)
{
	int r = 0;

	for (uint32_t i = 0; c && i < c->nested_count && r == 0; i++) {
		const struct catalog_nested *n = &c->nested[i];
		struct place place = {.path = entry_path(c, n->entry)};

		if (!place.path)
			return -ENOMEM;
		if (is_head) {
			place.has_head = true;
			place.head = *n;
		} else {
			place.has_view = true;
			place.view = *n;
			place.is_stale =
				above->is_stale ||
				catalog_entry_is_stale(catalog_entry(c, n->entry));
		}
		r = push(w, &place);
	}
	return r;
}

/* Makes one of each two places of the same path among the last ones. */
static void join_sides(struct walk *w, size_t from)
{
	size_t to = from;

	if (w->count - from > 1)
		qsort(w->places + from, w->count - from, sizeof(*w->places),
			compare_places);
	for (size_t i = from; i < w->count; i++) {
		if (to > from && strcmp(w->places[to - 1].path, w->places[i].path) == 0) {
			w->places[to - 1].has_head = true;
			w->places[to - 1].head = w->places[i].head;
			free(w->places[i].path);
		} else {
			w->places[to++] = w->places[i];
		}
	}
	w->count = to;
}

/* Below a catalog that both sides have, both have the same. So it is said, too, where the head's side
 * is not here, which `unknown_catalogs` tells. */
static int push_below(struct walk *w, const struct place *above,
	const struct catalog *view, const struct catalog *head)
{
	bool is_same = above->has_head && !head;
	size_t from = w->count;

	/* what was never entered is counted as a whole */
	if (above->has_view && !view)
		return 0;
	int r = push_nested(w, view, above, false);

	if (r == 0)
		r = push_nested(w, head, above, true);
	if (r < 0)
		return r;
	join_sides(w, from);
	for (size_t i = from; is_same && i < w->count; i++) {
		w->places[i].has_head = true;
		w->places[i].head = w->places[i].view;
	}
	return 0;
}

/* NULL if it is not here. */
static int open_side(struct walk *w, const struct catalog_nested *n, struct catalog **out)
{
	struct catalog_ref ref = catalog_nested_ref(n);
	int r = catalog_store_get(w->config->catalogs, &ref, out);

	return r == -ENOENT ? 0 : r;
}

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 &&
	       (len == 0 || path[len] == '/' || path[len] == '\0');
}

static bool is_promised(const struct walk *w, const char *path)
{
	for (size_t i = 0; i < w->pins.paths.count; i++)
		if (is_below(path, w->pins.paths.items[i]))
			return true;
	return w->config->is_promised && w->config->is_promised(w->config->arg, path);
}

/* Plain bytes of a content that are not here. */
static uint64_t missing_bytes(const struct walk *w, const struct catalog *c,
	const struct catalog_content *content, enum held held)
{
	struct content_info info;

	if (held == HELD_WHOLE || content->piece_count == 0)
		return 0;
	if (held == HELD_NOT)
		return content->data_bytes;
	content_state(w->config->contents, c, content, &info);
	return content->data_bytes - info.cached_bytes;
}

/* How each content of a catalog is held; a single hole is. NULL when memory is short. */
static uint8_t *ask_held(const struct walk *w, const struct catalog *c)
{
	uint8_t *held = mem_alloc(c->content_count);

	for (uint32_t i = 0; held && i < c->content_count; i++)
		held[i] = c->contents[i].piece_count
				  ? (uint8_t)held_set_ask(w->held, &c->contents[i].digest)
				  : HELD_WHOLE;
	return held;
}

static int count_promised(const struct walk *w, const struct catalog *c, uint32_t i,
	struct report_package *p)
{
	if (w->pins.paths.count == 0 && !w->config->is_promised)
		return 0;
	AUTO_FREE char *path = entry_path(c, i);

	if (!path)
		return -ENOMEM;
	p->promised_files += is_promised(w, path);
	return 0;
}

/* What the mount shows of the package, or will show. */
static int count_entries(struct walk *w, const struct catalog *c, bool is_stale,
	const uint8_t *held, struct report_package *p)
{
	bool has_any = false;

	for (uint32_t i = 0; i < c->entry_count; i++) {
		const struct catalog_entry *e = catalog_entry(c, i);
		int r = 0;

		p->stale_entries += i && (is_stale || catalog_entry_is_stale(e));
		if (!S_ISREG(e->mode))
			continue;
		enum held h = e->size ? held[e->first] : HELD_WHOLE;

		p->files++;
		p->bytes += e->size;
		p->files_cached += h == HELD_WHOLE;
		has_any |= h != HELD_NOT && e->size;
		if (h != HELD_WHOLE)
			r = count_promised(w, c, i, p);
		if (r < 0)
			return r;
	}
	if (p->files_cached == p->files)
		p->content = REPORT_CACHED;
	else
		p->content = has_any ? REPORT_PARTLY : REPORT_REMOTE;
	return 0;
}

static int count_catalog(struct walk *w, const struct catalog *shown,
	const struct catalog *newest, bool is_stale, struct report_package *p)
{
	AUTO_FREE uint8_t *held = ask_held(w, shown);
	AUTO_FREE uint8_t *newest_held =
		newest && newest != shown ? ask_held(w, newest) : NULL;

	if (!held || (newest && newest != shown && !newest_held))
		return -ENOMEM;
	p->is_entered = true;
	const uint8_t *of_newest = newest == shown ? held : newest_held;

	for (uint32_t i = 0; newest && i < newest->content_count; i++)
		p->bytes_to_fetch += missing_bytes(
			w, newest, &newest->contents[i], (enum held)of_newest[i]);
	return count_entries(w, shown, is_stale, held, p);
}

/* A package whose catalog nobody has asked for yet: nothing of it is here. */
static void count_unentered(const struct catalog_nested *n, struct report_package *p)
{
	p->files = n->tree_entries;
	p->bytes = n->tree_bytes;
	p->bytes_to_fetch = n->tree_bytes;
	p->content = n->tree_bytes ? REPORT_REMOTE : REPORT_CACHED;
}

static int judge(struct walk *w, const struct place *place, const struct catalog *view,
	const struct catalog *head, enum report_state *out)
{
	bool is_same = place->has_view && place->has_head &&
		       digest_equal(&place->view.digest, &place->head.digest);

	*out = REPORT_CURRENT;
	if (place->is_stale)
		*out = REPORT_STALE;
	else if (!place->has_view)
		*out = REPORT_MISSING;
	else if (!place->has_head)
		*out = REPORT_OUT_OF_DATE;
	else if (!is_same && (!view || !head)) {
		*out = REPORT_OUT_OF_DATE;
		w->report->unknown_catalogs += !head;
	} else if (!is_same) {
		int r = report_compare(view, head, &is_same);

		if (r < 0)
			return r;
		*out = is_same ? REPORT_CURRENT : REPORT_OUT_OF_DATE;
	}
	return 0;
}

static int visit_open(struct walk *w, struct place *place, const struct catalog *view,
	const struct catalog *head, bool is_same)
{
	struct report_package p = {0};
	const struct catalog *newest = is_same ? view : head;
	int r = judge(w, place, view, head, &p.state);

	if (r < 0)
		return r;
	if (view || (!place->has_view && head))
		r = count_catalog(w, view ? view : head, newest, place->is_stale, &p);
	else
		count_unentered(place->has_view ? &place->view : &place->head, &p);
	if (r == 0 && p.state == REPORT_CURRENT && p.stale_entries)
		p.state = REPORT_STALE;
	if (r == 0)
		r = push_below(w, place, view, head);
	if (r == 0)
		r = mem_grow((void **)&w->report->packages, &w->report->capacity,
			w->report->count, sizeof(p));
	if (r < 0)
		return r;
	p.path = TAKE_PTR(place->path);
	w->report->packages[w->report->count++] = p;
	return 0;
}

/* Opens what is here of both sides; the head's only where it differs. */
static int visit(struct walk *w, struct place *place)
{
	bool is_same = place->has_view && place->has_head &&
		       digest_equal(&place->view.digest, &place->head.digest);
	struct catalog *view = NULL;
	struct catalog *head = NULL;
	int r = place->has_view ? open_side(w, &place->view, &view) : 0;

	if (r == 0 && place->has_head && !is_same)
		r = open_side(w, &place->head, &head);
	if (r == 0)
		r = visit_open(w, place, view, head, is_same);
	if (view)
		catalog_close(view);
	if (head)
		catalog_close(head);
	return r;
}

static struct catalog_nested nested_of(const struct catalog_ref *ref)
{
	return (struct catalog_nested){.digest = ref->digest,
		.stored_bytes = ref->stored_bytes,
		.raw_bytes = ref->raw_bytes};
}

static int walk_all(struct walk *w)
{
	const struct report_sides *sides = &w->report->sides;
	struct place root = {.path = mem_strdup(""),
		.has_view = true,
		.has_head = true,
		.view = nested_of(&sides->view),
		.head = nested_of(&sides->head)};
	int r = root.path ? push(w, &root) : -ENOMEM;

	while (r == 0 && w->count) {
		struct place place = w->places[--w->count];

		r = visit(w, &place);
		free(place.path);
	}
	return r;
}

static int compare_packages(const void *a, const void *b)
{
	const struct report_package *x = a;
	const struct report_package *y = b;

	return strcmp(x->path, y->path);
}

/* Both lists are by path. */
static int add_records(struct walk *w, const struct package_list *known)
{
	struct report *report = w->report;
	size_t k = 0;

	for (size_t i = 0; i < report->count; i++) {
		struct report_package *p = &report->packages[i];

		if (p->state <= REPORT_OUT_OF_DATE)
			p->since_ns = report->sides.published_ns;
		while (k < known->count && strcmp(known->items[k].path, p->path) < 0)
			k++;
		if (k == known->count || strcmp(known->items[k].path, p->path) != 0)
			continue;
		if (p->state <= REPORT_OUT_OF_DATE && known->items[k].since_ns)
			p->since_ns = known->items[k].since_ns;
		p->last_error_ns = known->items[k].last_error_ns;
		p->next_attempt_ns = known->items[k].next_attempt_ns;
		if (!*known->items[k].last_error)
			continue;
		p->last_error = mem_strdup(known->items[k].last_error);
		if (!p->last_error)
			return -ENOMEM;
	}
	return 0;
}

static void sum_up(struct report *report)
{
	for (size_t i = 0; i < report->count; i++) {
		const struct report_package *p = &report->packages[i];

		report->states[p->state]++;
		report->bytes_to_fetch += p->bytes_to_fetch;
		report->promised_files += p->promised_files;
	}
}

static void walk_release(struct walk *w)
{
	while (w->count)
		free(w->places[--w->count].path);
	free(w->places);
	held_set_free(w->held);
	pin_list_release(&w->pins);
}

int report_make(const struct report_config *config, struct report **out)
{
	struct package_list known = {0};
	struct report *report = mem_calloc(1, sizeof(*report));
	struct walk w = {.config = config, .report = report};

	if (!report)
		return -ENOMEM;
	config->sides(config->arg, &report->sides);
	int r = state_db_pins_list(config->state, &w.pins);

	if (r == 0)
		r = state_db_packages_list(config->state, &known);
	if (r == 0)
		r = held_set_read(config->cache_dirfd, &w.held);
	if (r == 0)
		r = walk_all(&w);
	if (r == 0) {
		qsort(report->packages, report->count, sizeof(*report->packages),
			compare_packages);
		r = add_records(&w, &known);
	}
	package_list_release(&known);
	walk_release(&w);
	if (r < 0) {
		report_free(report);
		return r;
	}
	sum_up(report);
	*out = report;
	return 0;
}

void report_free(struct report *report)
{
	if (!report)
		return;
	for (size_t i = 0; i < report->count; i++) {
		free(report->packages[i].path);
		free(report->packages[i].last_error);
	}
	free(report->packages);
	free(report);
}

bool report_falls_short(const struct report *report)
{
	return report->states[REPORT_MISSING] || report->states[REPORT_OUT_OF_DATE] ||
	       report->states[REPORT_STALE] || report->promised_files;
}
