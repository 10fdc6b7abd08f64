/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/plan/catalog_loader.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"

#include <errno.h>

#define BUCKETS	       1024
#define CANCEL_POLL_NS (100 * NS_PER_MS)

enum load_state { LOAD_QUEUED, LOAD_UNDER_WAY, LOAD_DONE };

struct load {
	struct catalog_request rq; /* first */
	struct desk *desk;
	struct load *next_in_bucket;
	struct load *next_queued;
	/* desk.lock, all below */
	enum load_state state;
	int error;
	struct catalog *catalog; /* of one that the disk would not take */
};

/* What the requests need and so lives until the last of them has ended. */
struct desk {
	struct catalog_loader_config config;
	struct mutex lock;
	struct condition changed;
	/* lock, all below */
	unsigned int refs; /* of the loader and of requests under way */
	unsigned int under_way;
	bool is_closed;
	int64_t last_arrival_ns;
	struct load *first;
	struct load *last;
	struct load *buckets[BUCKETS];
};

struct catalog_loader {
	struct desk *desk;
};

int catalog_loader_new(
	const struct catalog_loader_config *config, struct catalog_loader **out)
{
	AUTO_FREE struct catalog_loader *loader = mem_calloc(1, sizeof(*loader));

	if (!loader)
		return -ENOMEM;
	loader->desk = mem_calloc(1, sizeof(*loader->desk));
	if (!loader->desk)
		return -ENOMEM;
	loader->desk->config = *config;
	loader->desk->refs = 1;
	mutex_init(&loader->desk->lock);
	condition_init(&loader->desk->changed);
	*out = TAKE_PTR(loader);
	return 0;
}

static void desk_free(struct desk *desk)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (desk->buckets[i]) {
			struct load *load = desk->buckets[i];

			desk->buckets[i] = load->next_in_bucket;
			catalog_close(load->catalog);
			free(load);
		}
	}
	condition_release(&desk->changed);
	mutex_release(&desk->lock);
	free(desk);
}

static void desk_unref(struct desk *desk)
{
	mutex_lock(&desk->lock);
	bool is_last = --desk->refs == 0;

	mutex_unlock(&desk->lock);
	if (is_last)
		desk_free(desk);
}

void catalog_loader_free(struct catalog_loader *loader)
{
	if (!loader)
		return;
	mutex_lock(&loader->desk->lock);
	loader->desk->is_closed = true;
	mutex_unlock(&loader->desk->lock);
	desk_unref(loader->desk);
	free(loader);
}

static int deliver(struct catalog_request *rq, const uint8_t *data)
{
	struct load *load = (struct load *)rq;
	struct catalog_store *catalogs = load->desk->config.catalogs;
	struct catalog *catalog;
	int r = catalog_store_put(catalogs, &rq->ref, data, &catalog);

	if (r < 0)
		return r;
	/* not held open: a walk may want more at once than a process may map */
	if (catalog_store_has(catalogs, &rq->ref.digest)) {
		catalog_close(catalog);
		return 0;
	}
	mutex_lock(&load->desk->lock);
	struct catalog *before = load->catalog;

	load->catalog = catalog;
	mutex_unlock(&load->desk->lock);
	catalog_close(before);
	return 0;
}

static void start_queued(struct desk *desk);

static void done(struct catalog_request *rq, int error)
{
	struct load *load = (struct load *)rq;
	struct desk *desk = load->desk;

	mutex_lock(&desk->lock);
	load->state = LOAD_DONE;
	load->error = error;
	desk->under_way--;
	desk->last_arrival_ns = clock_mono_ns();
	condition_broadcast(&desk->changed);
	mutex_unlock(&desk->lock);
	/* at the end of the source everything is cancelled: nothing new may reach it */
	if (error != -ECANCELED)
		start_queued(desk);
	desk_unref(desk);
}

/* As many of those that wait as the window has room for. */
static void start_queued(struct desk *desk)
{
	for (;;) {
		mutex_lock(&desk->lock);
		struct load *load = desk->first;

		if (!load || desk->is_closed ||
			desk->under_way >= CATALOG_LOADER_WINDOW) {
			mutex_unlock(&desk->lock);
			return;
		}
		desk->first = load->next_queued;
		if (!desk->first)
			desk->last = NULL;
		load->state = LOAD_UNDER_WAY;
		load->rq.deadline_ns = clock_mono_ns() + desk->config.timeout_ns;
		desk->under_way++;
		desk->refs++;
		mutex_unlock(&desk->lock);
		source_fetch_catalog(desk->config.source, &load->rq);
	}
}

static struct load **find(struct desk *desk, const struct digest *digest)
	REQUIRES(desk->lock)
{
	struct load **at = &desk->buckets[digest_key(digest) % BUCKETS];

	while (*at && !digest_equal(&(*at)->rq.ref.digest, digest))
		at = &(*at)->next_in_bucket;
	return at;
}

static void enqueue(struct desk *desk, struct load *load) REQUIRES(desk->lock)
{
	load->state = LOAD_QUEUED;
	load->next_queued = NULL;
	*(desk->last ? &desk->last->next_queued : &desk->first) = load;
	desk->last = load;
}

/* Puts it on the list unless it is there. */
static int ask(struct desk *desk, const struct catalog_ref *ref)
{
	mutex_lock(&desk->lock);
	struct load **at = find(desk, &ref->digest);

	if (!*at) {
		struct load *load = mem_calloc(1, sizeof(*load));

		if (!load) {
			mutex_unlock(&desk->lock);
			return -ENOMEM;
		}
		load->desk = desk;
		load->rq.ref = *ref;
		load->rq.class = FETCH_READ_AHEAD;
		load->rq.deliver = deliver;
		load->rq.done = done;
		*at = load;
		enqueue(desk, load);
	}
	mutex_unlock(&desk->lock);
	start_queued(desk);
	return 0;
}

int catalog_loader_want(struct catalog_loader *loader, const struct catalog_ref *ref)
{
	struct desk *desk = loader->desk;

	if (!desk->config.source ||
		catalog_store_has(desk->config.catalogs, &ref->digest))
		return 0;
	return ask(desk, ref);
}

static bool is_cancelled(const struct desk *desk)
{
	return desk->config.is_cancelled && atomic_load(desk->config.is_cancelled);
}

/* What is not on the list is not waited for. */
static bool is_awaited(struct desk *desk, const struct digest *digest)
	REQUIRES(desk->lock)
{
	const struct load *load = *find(desk, digest);

	return load && load->state != LOAD_DONE;
}

/* Waits until the request for it is over. 0 whether or not that failed. */
static int wait_for(struct desk *desk, const struct digest *digest)
{
	int r = 0;

	mutex_lock(&desk->lock);
	int64_t began_ns = clock_mono_ns();

	while (r == 0 && is_awaited(desk, digest)) {
		int64_t now_ns = clock_mono_ns();
		int64_t since_ns = desk->last_arrival_ns > began_ns
					   ? desk->last_arrival_ns
					   : began_ns;

		if (is_cancelled(desk))
			r = -ECANCELED;
		else if (now_ns - since_ns >= desk->config.timeout_ns)
			r = -ETIMEDOUT;
		else
			(void)condition_wait_until(
				&desk->changed, &desk->lock, now_ns + CANCEL_POLL_NS);
	}
	mutex_unlock(&desk->lock);
	return r;
}

/* What a request that is over has left: a catalog, an error, or 0 with NULL if it is on disk. */
static int collect(struct desk *desk, const struct digest *digest, struct catalog **out)
{
	mutex_lock(&desk->lock);
	struct load *load = *find(desk, digest);
	int r = load && load->state == LOAD_DONE ? load->error : 0;

	if (load && r == 0)
		*out = TAKE_PTR(load->catalog);
	mutex_unlock(&desk->lock);
	return r;
}

/* It came and has gone again: asked for once more, like one that was never here. */
static void forget(struct desk *desk, const struct digest *digest)
{
	mutex_lock(&desk->lock);
	struct load *load = *find(desk, digest);

	if (load && load->state == LOAD_DONE && load->error == 0)
		enqueue(desk, load);
	mutex_unlock(&desk->lock);
}

int catalog_loader_get(struct catalog_loader *loader, const struct catalog_ref *ref,
	struct catalog **out)
{
	struct desk *desk = loader->desk;
	struct catalog *catalog = NULL;
	int r = catalog_store_get(desk->config.catalogs, ref, &catalog);

	if (r != -ENOENT) {
		if (r == 0)
			*out = catalog;
		return r;
	}
	if (!desk->config.source)
		return -EHOSTUNREACH;
	r = collect(desk, &ref->digest, &catalog);
	if (r == 0 && !catalog) {
		forget(desk, &ref->digest);
		r = ask(desk, ref);
		if (r == 0)
			r = wait_for(desk, &ref->digest);
		if (r == 0)
			r = collect(desk, &ref->digest, &catalog);
		if (r == 0 && !catalog)
			r = catalog_store_get(desk->config.catalogs, ref, &catalog);
	}
	if (r == 0)
		*out = catalog;
	return r;
}
