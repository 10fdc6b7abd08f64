/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/onward.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/epoch.h"
#include "cache/base/threads/thread.h"
#include "cache/content/content.h"

#include <errno.h>
#include <string.h>

/* Asked for before anybody came to it, at most: 100 Mbit/s for a second and a quarter. */
#define BYTES_MAX (UINT64_C(16) * 1024 * 1024)

/* So many times what the walk has come through. */
#define BYTES_GROWTH 4

/* What it comes through in so much time, as it came through the last one: on a slow line who reads one of the files asked for must not wait for
 * all the others until his time is up. */
#define AHEAD_MS 8000

static bool is_at(const struct view_package *package, const struct digest *digest)
{
	return digest_equal(&view_package_ref(package)->digest, digest);
}

static uint64_t bytes_of(const struct catalog *c)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < c->frame_count; i++)
		bytes += c->frames[i].stored_bytes;
	return bytes;
}

/* Parallel readers may be seen going through a package more than once. */
static bool is_repeated(const struct onward *o, const struct view_package *package)
{
	for (size_t i = 0; i < ONWARD_WALKS; i++)
		if (o->walks[i].last_use && is_at(package, &o->walks[i].last))
			return true;
	return false;
}

/* The walk that was to come here; NULL: none. */
static struct onward_walk *find_walk(struct onward *o, const struct view_package *package)
{
	for (size_t i = 0; i < ONWARD_WALKS; i++)
		if (o->walks[i].last_use && is_at(package, &o->walks[i].next))
			return &o->walks[i];
	return NULL;
}

static struct onward_walk *begin_walk(struct onward *o)
{
	struct onward_walk *oldest = &o->walks[0];

	for (size_t i = 1; i < ONWARD_WALKS; i++)
		if (o->walks[i].last_use < oldest->last_use)
			oldest = &o->walks[i];
	*oldest = (struct onward_walk){0};
	return oldest;
}

/* The next one of which anything is to be fetched, as far as is known here: nobody is seen going through
 * the others. */
static bool next_package(struct onward *o, struct view_package *package)
{
	const struct catalog *c;

	for (unsigned int i = 0; i < ONWARD_PACKAGES; i++) {
		if (!view_next_package(package))
			return false;
		if (view_package_catalog(o->view, package, &c) < 0 || c->frame_count)
			return true;
	}
	return false;
}

/* Leaves out the first one asked for: it is being read. */
static void come_to_first(struct onward_walk *w)
{
	if (w->asked_count == 0)
		return;
	w->asked_count--;
	memmove(w->asked, w->asked + 1, w->asked_count * sizeof(w->asked[0]));
}

/* Goes from the first package to be read to the first one that was not asked for. What was asked for
 * where a flip has put another package since counts no more. False: there is none, or one of those asked
 * for is not wholly so: what a later one has of the same frames is less than that one needs. */
static bool skip_asked(struct onward *o, struct onward_walk *w,
	struct view_package *package, uint64_t *out_bytes)
{
	*out_bytes = 0;
	for (size_t i = 0; i < w->asked_count; i++) {
		if (!is_at(package, &w->asked[i].digest)) {
			w->asked_count = i;
			break;
		}
		*out_bytes += w->asked[i].bytes;
		if (!w->asked[i].is_whole || !next_package(o, package))
			return false;
	}
	return true;
}

/* Notes one package more. Returns how many bytes may be asked for. */
static uint64_t come_through(struct onward_walk *w, uint64_t bytes)
{
	int64_t now_ns = clock_mono_ns();
	uint64_t ms = (uint64_t)((now_ns - w->came_ns) / NS_PER_MS) + 1;
	uint64_t most = w->last_bytes * AHEAD_MS / ms;

	w->came_ns = now_ns;
	w->last_bytes = bytes;
	w->bytes += bytes;
	if (most > w->bytes * BYTES_GROWTH)
		most = w->bytes * BYTES_GROWTH;
	return most < BYTES_MAX ? most : BYTES_MAX;
}

static void ask_for_next(
	struct onward *o, struct onward_walk *w, uint64_t most, struct view_package next)
{
	const struct catalog *c;
	uint64_t bytes;
	bool is_one = skip_asked(o, w, &next, &bytes);

	while (is_one && bytes < most && w->asked_count < ONWARD_PACKAGES &&
		view_package_catalog(o->view, &next, &c) == 0) {
		struct onward_asked *a = &w->asked[w->asked_count++];

		a->digest = view_package_ref(&next)->digest;
		a->is_whole = content_expect(o->contents, c, most - bytes, &a->bytes);
		bytes += a->bytes;
		is_one = a->is_whole && next_package(o, &next);
	}
}

/* Somebody goes through the package with this path. */
static void go_on(struct onward *o, const char *path)
{
	AUTO_EPOCH epoch = epoch_enter();
	struct view_package package;
	const struct catalog *c;

	if (view_find_package(o->view, path, strlen(path), &package) < 0 ||
		is_repeated(o, &package) ||
		view_package_catalog(o->view, &package, &c) < 0)
		return;
	struct onward_walk *w = find_walk(o, &package);
	bool is_walk = w;

	if (is_walk)
		come_to_first(w);
	else
		w = begin_walk(o);
	uint64_t most = come_through(w, bytes_of(c));

	w->last_use = ++o->uses;
	w->last = view_package_ref(&package)->digest;
	if (!next_package(o, &package)) {
		w->next = (struct digest){0};
		w->asked_count = 0;
		return;
	}
	w->next = view_package_ref(&package)->digest;
	if (is_walk)
		ask_for_next(o, w, most, package);
}

static void *run(void *arg)
{
	struct onward *o = arg;

	mutex_lock(&o->lock);
	while (!o->is_ending) {
		if (o->count == 0) {
			condition_wait(&o->changed, &o->lock);
			continue;
		}
		char *path = o->paths[0];

		o->count--;
		memmove(o->paths, o->paths + 1, o->count * sizeof(o->paths[0]));
		mutex_unlock(&o->lock);
		go_on(o, path);
		free(path);
		mutex_lock(&o->lock);
	}
	mutex_unlock(&o->lock);
	return NULL;
}

/* What comes while many wait, or without memory, is left out: the walk begins anew. */
static void on_through(void *arg, const struct catalog *catalog)
{
	struct onward *o = arg;
	char *path = mem_calloc(catalog->path_length + 1, 1);

	if (path)
		memcpy(path, catalog->path, catalog->path_length);
	mutex_lock(&o->lock);
	if (path && !o->is_ending && o->count < ONWARD_QUEUED) {
		o->paths[o->count++] = path;
		path = NULL;
		condition_signal(&o->changed);
	}
	mutex_unlock(&o->lock);
	free(path);
}

int onward_init(struct onward *o, struct view *view, struct content_store *contents)
{
	*o = (struct onward){.view = view, .contents = contents};
	mutex_init(&o->lock);
	condition_init(&o->changed);
	int r = thread_start(&o->thread, "onward", run, o);

	o->has_thread = r == 0;
	if (r == 0)
		content_on_through(contents, on_through, o);
	return r;
}

void onward_stop(struct onward *o)
{
	mutex_lock(&o->lock);
	o->is_ending = true;
	condition_signal(&o->changed);
	mutex_unlock(&o->lock);
	if (o->has_thread)
		pthread_join(o->thread, NULL);
	o->has_thread = false;
}

void onward_release(struct onward *o)
{
	onward_stop(o);
	content_on_through(o->contents, NULL, NULL);
	for (size_t i = 0; i < o->count; i++)
		free(o->paths[i]);
	condition_release(&o->changed);
	mutex_release(&o->lock);
}
