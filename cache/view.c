/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/view.h"

#include "cache/base/clock.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/mutex.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define SLOT_PAGE_SIZE 1024
#define SLOT_PAGES     4096 /* four million packages */

/* Catalogs fetched ahead of a walk: enough to fill a long line with small files. */
#define WALK_WINDOW_MAX 128

/* The place of one catalog. Made when its directory is first seen, kept as long as the view. */
struct slot {
	struct view *view;
	uint32_t number;
	struct slot *parent; /* of the catalog that names this one; NULL for the root's */
	uint32_t entry;	     /* its directory there */
	struct catalog_ref ref;
	_Atomic(struct catalog *) catalog; /* NULL until it was entered */
	atomic_uint *children; /* slots of its nested catalogs, 0 = not made yet */

	struct catalog_fetch *fetch; /* under way; view.lock */
	struct waiter *waiters;	     /* view.lock */

	atomic_bool was_entered;
	/* a walk through this catalog's nested ones (by their number in it); view.lock */
	uint32_t walk_at;
	uint32_t walk_end; /* those below are asked for */
	uint32_t walk_window;
};

struct view {
	struct view_config config;
	_Atomic(struct slot **) pages[SLOT_PAGES];
	struct slot *root;
	struct mutex lock;
	uint32_t slot_count; /* lock */
};

struct catalog_fetch {
	struct catalog_request rq;
	struct slot *slot;
};

static struct slot *slot_at(const struct view *view, uint32_t number)
{
	if (number / SLOT_PAGE_SIZE >= SLOT_PAGES)
		return NULL;
	struct slot **page = atomic_load_explicit(
		&view->pages[number / SLOT_PAGE_SIZE], memory_order_acquire);

	if (!page)
		return NULL;
	return __atomic_load_n(&page[number % SLOT_PAGE_SIZE], __ATOMIC_ACQUIRE);
}

/* The slot of a node that was resolved or made by this view: always there. */
static struct slot *slot_of(const struct view *view, uint32_t number)
{
	struct slot *slot = slot_at(view, number);

	if (!slot)
		abort();
	return slot;
}

static int slot_new(struct view *view, const struct catalog_ref *ref, struct slot *parent,
	uint32_t entry, struct slot **out) REQUIRES(view->lock)
{
	uint32_t number = view->slot_count;

	if (number / SLOT_PAGE_SIZE >= SLOT_PAGES)
		return -ENOMEM;
	struct slot **page = atomic_load(&view->pages[number / SLOT_PAGE_SIZE]);

	if (!page) {
		page = mem_calloc(SLOT_PAGE_SIZE, sizeof(struct slot *));
		if (!page)
			return -ENOMEM;
		atomic_store_explicit(&view->pages[number / SLOT_PAGE_SIZE], page,
			memory_order_release);
	}
	struct slot *slot = mem_calloc(1, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	slot->view = view;
	slot->number = number;
	slot->parent = parent;
	slot->entry = entry;
	slot->ref = *ref;
	__atomic_store_n(&page[number % SLOT_PAGE_SIZE], slot, __ATOMIC_RELEASE);
	view->slot_count++;
	*out = slot;
	return 0;
}

/* Shows a catalog in its slot; closes it if another thread was first. */
static int slot_show(struct slot *slot, struct catalog *catalog)
{
	atomic_uint *children = NULL;

	if (catalog->nested_count) {
		children = mem_calloc(catalog->nested_count, sizeof(*children));
		if (!children) {
			catalog_close(catalog);
			return -ENOMEM;
		}
	}
	mutex_lock(&slot->view->lock);
	bool is_first = !atomic_load(&slot->catalog);

	if (is_first) {
		slot->children = children;
		atomic_store_explicit(&slot->catalog, catalog, memory_order_release);
	}
	mutex_unlock(&slot->view->lock);
	if (!is_first) {
		free(children);
		catalog_close(catalog);
	}
	return 0;
}

static int deliver_catalog(struct catalog_request *rq, const uint8_t *data)
{
	struct catalog_fetch *fetch = (struct catalog_fetch *)rq;
	struct slot *slot = fetch->slot;
	struct catalog *catalog;
	int r = catalog_store_put(slot->view->config.catalogs, &rq->ref, data, &catalog);

	return r < 0 ? r : slot_show(slot, catalog);
}

static void catalog_done(struct catalog_request *rq, int error)
{
	struct catalog_fetch *fetch = (struct catalog_fetch *)rq;
	struct slot *slot = fetch->slot;
	struct waiter *waiting;

	mutex_lock(&slot->view->lock);
	slot->fetch = NULL;
	waiting = slot->waiters;
	slot->waiters = NULL;
	mutex_unlock(&slot->view->lock);
	free(fetch);
	waiter_wake_all(waiting, error);
}

/* Queues `w`, if somebody waits, and starts the fetch unless one is under way. */
static int slot_fetch(struct slot *slot, struct waiter *w, enum fetch_class class)
{
	struct view *view = slot->view;

	if (!view->config.source)
		return -EHOSTUNREACH;
	struct catalog_fetch *fetch = mem_calloc(1, sizeof(*fetch));

	if (!fetch)
		return -ENOMEM;
	fetch->slot = slot;
	fetch->rq = (struct catalog_request){
		.ref = slot->ref,
		.class = class,
		.deadline_ns = clock_mono_ns() + view->config.fetch_deadline_ns,
		.deliver = deliver_catalog,
		.done = catalog_done,
	};
	mutex_lock(&view->lock);
	if (atomic_load(&slot->catalog)) {
		/* it came in the meantime: the caller looks again */
		mutex_unlock(&view->lock);
		free(fetch);
		return 0;
	}
	bool is_first = !slot->fetch;
	bool must_hurry = false;

	if (is_first)
		slot->fetch = fetch;
	else if (w && slot->fetch->rq.class != FETCH_DEMAND)
		must_hurry = !atomic_exchange(&slot->fetch->rq.is_awaited, true);
	if (w) {
		w->next = slot->waiters;
		slot->waiters = w;
	}
	mutex_unlock(&view->lock);
	if (is_first)
		source_fetch_catalog(view->config.source, &fetch->rq);
	else
		free(fetch);
	if (must_hurry)
		source_hurry(view->config.source);
	return -EINPROGRESS;
}

static int slot_load(struct slot *slot)
{
	struct catalog *catalog;
	int r = catalog_store_get(slot->view->config.catalogs, &slot->ref, &catalog);

	return r < 0 ? r : slot_show(slot, catalog);
}

/* 0 with the catalog, or as view_enter(). */
static int slot_catalog(struct slot *slot, struct waiter *w, const struct catalog **out)
{
	struct catalog *catalog =
		atomic_load_explicit(&slot->catalog, memory_order_acquire);

	if (!catalog) {
		int r = slot_load(slot);

		if (r == -ENOENT)
			r = w ? slot_fetch(slot, w, FETCH_DEMAND) : -EAGAIN;
		if (r < 0)
			return r;
		catalog = atomic_load_explicit(&slot->catalog, memory_order_acquire);
	}
	*out = catalog;
	return 0;
}

/* The start of a mount waits here for the root catalog; nothing else ever waits. It lives until it
 * was woken, which may be after the wait was given up. */
struct blocking_waiter {
	struct waiter waiter;
	struct mutex lock;
	struct condition changed;
	bool is_over;	   /* lock */
	bool is_abandoned; /* lock: the one who wakes frees it */
	int error;	   /* lock */
};

static void blocking_waiter_free(struct blocking_waiter *b)
{
	condition_release(&b->changed);
	mutex_release(&b->lock);
	free(b);
}

static void wake_blocking(struct waiter *w, int error)
{
	struct blocking_waiter *b = (struct blocking_waiter *)w;
	bool is_abandoned;

	mutex_lock(&b->lock);
	b->is_over = true;
	b->error = error;
	is_abandoned = b->is_abandoned;
	condition_signal(&b->changed);
	mutex_unlock(&b->lock);
	if (is_abandoned)
		blocking_waiter_free(b);
}

/* Waits for the wake-up; -ETIMEDOUT leaves the waiter to it. */
static int wait_blocking(struct blocking_waiter *b, int64_t deadline_ns)
{
	int r = 0;

	mutex_lock(&b->lock);
	while (!b->is_over && r == 0)
		r = condition_wait_until(&b->changed, &b->lock, deadline_ns);
	b->is_abandoned = !b->is_over;
	r = b->is_over ? b->error : -ETIMEDOUT;
	mutex_unlock(&b->lock);
	return r;
}

int view_load(struct view *view)
{
	int64_t deadline_ns = clock_mono_ns() + view->config.fetch_deadline_ns;
	struct blocking_waiter *b = mem_calloc(1, sizeof(*b));
	const struct catalog *catalog;

	if (!b)
		return -ENOMEM;
	b->waiter.wake = wake_blocking;
	mutex_init(&b->lock);
	condition_init(&b->changed);
	int r = slot_catalog(view->root, &b->waiter, &catalog);

	if (r == -EINPROGRESS) {
		r = wait_blocking(b, deadline_ns);
		if (r == -ETIMEDOUT)
			return r;
		if (r == 0)
			r = slot_catalog(view->root, NULL, &catalog);
	}
	blocking_waiter_free(b);
	if (r == 0 && catalog->path_length != 0)
		r = log_error_errno(-EBADMSG,
			"the root catalog of revision %llu is not of a root",
			(unsigned long long)view->config.revision);
	return r;
}

int view_new(const struct view_config *config, struct view **out)
{
	struct view *view = mem_calloc(1, sizeof(*view));

	if (!view)
		return -ENOMEM;
	view->config = *config;
	mutex_init(&view->lock);
	mutex_lock(&view->lock);
	int r = slot_new(view, &config->root, NULL, CATALOG_ROOT, &view->root);

	mutex_unlock(&view->lock);
	if (r < 0) {
		view_free(view);
		return r;
	}
	*out = view;
	return 0;
}

void view_free(struct view *view)
{
	if (!view)
		return;
	for (size_t i = 0; i < SLOT_PAGES; i++) {
		struct slot **page = atomic_load(&view->pages[i]);

		for (size_t j = 0; page && j < SLOT_PAGE_SIZE && page[j]; j++) {
			catalog_close(atomic_load(&page[j]->catalog));
			free(page[j]->children);
			free(page[j]);
		}
		free(page);
	}
	mutex_release(&view->lock);
	free(view);
}

static uint64_t node_id(uint32_t slot, uint32_t index)
{
	return ((uint64_t)slot << 32) + index + 1;
}

int view_resolve(struct view *view, uint64_t id, struct view_node *out)
{
	uint32_t number = (uint32_t)((id - 1) >> 32);
	uint32_t index = (uint32_t)(id - 1);
	struct slot *slot = id ? slot_at(view, number) : NULL;

	if (!slot)
		return -ESTALE;
	/* a package's directory stands in the catalog above */
	bool is_top = index == CATALOG_ROOT && number != 0;
	const struct slot *holder = is_top ? slot->parent : slot;
	uint32_t at = is_top ? slot->entry : index;
	const struct catalog *catalog =
		atomic_load_explicit(&holder->catalog, memory_order_acquire);

	if (!catalog || at >= catalog->entry_count)
		return -ESTALE;
	/* and has no other number: a forged NFS handle must not enter the wrong slot by it */
	if (!is_top && catalog_entry_is_nested(catalog_entry(catalog, at)))
		return -ESTALE;
	*out = (struct view_node){.catalog = catalog,
		.entry = catalog_entry(catalog, at),
		.index = at,
		.slot = number,
		.id = id};
	return 0;
}

/* The slot of the nested catalog on entry `index`, made when first seen. */
static int nested_slot(
	struct view *view, const struct view_dir *dir, uint32_t index, uint32_t *out)
{
	struct slot *parent = slot_of(view, dir->slot);
	uint32_t nth = dir->catalog->entries[index].first;
	uint32_t number =
		atomic_load_explicit(&parent->children[nth], memory_order_acquire);
	int r = 0;

	if (number == 0) {
		const struct catalog_nested *n = &dir->catalog->nested[nth];
		struct catalog_ref ref = {.digest = n->digest,
			.stored_bytes = n->stored_bytes,
			.raw_bytes = n->raw_bytes};
		struct slot *slot;

		mutex_lock(&view->lock);
		number = atomic_load(&parent->children[nth]);
		if (number == 0) {
			r = slot_new(view, &ref, parent, index, &slot);
			if (r == 0) {
				number = slot->number;
				atomic_store_explicit(&parent->children[nth], number,
					memory_order_release);
			}
		}
		mutex_unlock(&view->lock);
	}
	*out = number;
	return r;
}

/* Notes that nested catalog `nth` of `parent` is entered and says which ones a walk in order
 * will enter next: [*out_first, the result). */
static uint32_t walk_next(struct view *view, struct slot *parent, uint32_t nth,
	uint32_t total, uint32_t *out_first)
{
	uint32_t end = 0;

	mutex_lock(&view->lock);
	if (nth >= parent->walk_at && nth <= parent->walk_end) {
		uint32_t window = parent->walk_window ? parent->walk_window * 2 : 2;

		/* more is asked for when half of the window is used up */
		if (nth + parent->walk_window / 2 >= parent->walk_end) {
			parent->walk_window =
				window < WALK_WINDOW_MAX ? window : WALK_WINDOW_MAX;
			*out_first =
				parent->walk_end > nth + 1 ? parent->walk_end : nth + 1;
			end = total - nth - 1 < parent->walk_window
				      ? total
				      : nth + 1 + parent->walk_window;
			parent->walk_end = end;
		}
	} else {
		parent->walk_window = 0;
		parent->walk_end = nth + 1;
	}
	parent->walk_at = nth;
	mutex_unlock(&view->lock);
	return end;
}

/* A directory walk (find, du, a backup) enters one package after the other: their catalogs are
 * fetched ahead, so that a thousand packages are not a thousand round trips. */
static void walk_ahead(struct view *view, struct slot *slot)
{
	struct slot *parent = slot->parent;
	const struct catalog *c =
		atomic_load_explicit(&parent->catalog, memory_order_acquire);
	struct view_dir dir = {.catalog = c, .slot = parent->number};
	uint32_t first = 0;
	uint32_t end = walk_next(
		view, parent, c->entries[slot->entry].first, c->nested_count, &first);

	for (uint32_t i = first; i < end; i++) {
		uint32_t number;

		if (catalog_store_has(view->config.catalogs, &c->nested[i].digest) ||
			nested_slot(view, &dir, c->nested[i].entry, &number) < 0)
			continue;
		struct slot *next = slot_of(view, number);

		if (!atomic_load(&next->catalog))
			(void)slot_fetch(next, NULL, FETCH_READ_AHEAD);
	}
}

/* A directory of the catalog at hand. */
static bool enter_plain(const struct view_node *node, struct view_dir *out)
{
	if (catalog_entry_is_nested(node->entry))
		return false;
	*out = (struct view_dir){
		.catalog = node->catalog, .index = node->index, .slot = node->slot};
	return true;
}

static int enter_slot(struct slot *slot, struct waiter *w, struct view_dir *out)
{
	const struct catalog *catalog;
	int r = slot_catalog(slot, w, &catalog);

	if (r < 0)
		return r;
	*out = (struct view_dir){
		.catalog = catalog, .index = CATALOG_ROOT, .slot = slot->number};
	return 0;
}

int view_enter(struct view *view, const struct view_node *node, struct view_dir *out,
	struct waiter *w)
{
	if (!S_ISDIR(node->entry->mode))
		return -ENOTDIR;
	if (enter_plain(node, out))
		return 0;
	struct slot *slot = slot_of(view, node->slot);

	if (view->config.source && (w || atomic_load(&slot->catalog)) &&
		!atomic_load_explicit(&slot->was_entered, memory_order_relaxed) &&
		!atomic_exchange(&slot->was_entered, true))
		walk_ahead(view, slot);
	return enter_slot(slot, w, out);
}

int view_enter_local(
	struct view *view, const struct view_node *node, struct view_dir *out)
{
	if (!S_ISDIR(node->entry->mode))
		return -ENOTDIR;
	if (enter_plain(node, out))
		return 0;
	return enter_slot(slot_of(view, node->slot), NULL, out);
}

int view_child(struct view *view, const struct view_dir *dir, uint32_t index,
	struct view_node *out)
{
	/* whichever name of a file asks: one node, and so one entry */
	uint32_t at = catalog_entry(dir->catalog, index)->link;
	const struct catalog_entry *e = catalog_entry(dir->catalog, at);
	uint32_t slot = dir->slot;
	uint64_t id = node_id(slot, at);

	if (catalog_entry_is_nested(e)) {
		int r = nested_slot(view, dir, at, &slot);

		if (r < 0)
			return r;
		id = node_id(slot, CATALOG_ROOT);
	}
	*out = (struct view_node){
		.catalog = dir->catalog, .entry = e, .index = at, .slot = slot, .id = id};
	return 0;
}

int view_parent(struct view *view, const struct view_node *node, struct view_node *out)
{
	const struct catalog_entry *e = node->entry;
	uint32_t slot = node->slot;

	if (node->id == VIEW_ROOT) {
		*out = *node;
		return 0;
	}
	if (catalog_entry_is_nested(e))
		slot = slot_of(view, slot)->parent->number;
	return view_resolve(view, node_id(slot, e->parent), out);
}

uint64_t view_revision(const struct view *view, const struct view_node *node)
{
	(void)node; /* the whole view shows one revision until jobs select packages */
	return view->config.revision;
}

const struct catalog *view_root_catalog(const struct view *view)
{
	return atomic_load(&view->root->catalog);
}
