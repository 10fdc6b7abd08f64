/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/onward_walks.h"

#include "cache/base/threads/clock.h"
#include "cache/base/threads/epoch.h"
#include "cache/content/content.h"
#include "cache/content/fetch/ahead.h"

#include <string.h>

/* Asked for before anybody came to it, at most: 100 Mbit/s for a second and a quarter. */
#define BYTES_MAX (UINT64_C(16) * 1024 * 1024)

/* So many times what the walk has come through. */
#define BYTES_GROWTH 4

/* What it comes through in so much time, as it came through the last one that was fetched: on a slow
 * line who reads one of the files asked for must not wait for all the others until his time is up. */
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

/* Parallel readers may be seen going through a package more than once, also when the first of them are
 * packages further: what follows is asked for already. */
static bool is_repeated(const struct onward_walks *o, const struct view_package *package)
{
	int64_t now_ns = clock_mono_ns();

	for (size_t i = 0; i < ONWARD_WALKS; i++)
		if (o->walks[i].last_use && is_at(package, &o->walks[i].last))
			return true;
	for (size_t i = 0; i < ONWARD_GONE; i++)
		if (o->gone[i].at_ns && now_ns - o->gone[i].at_ns <= AHEAD_STALE_NS &&
			is_at(package, &o->gone[i].digest))
			return true;
	return false;
}

/* The walk that was to come here; NULL: none. */
static struct onward_walk *find_walk(
	struct onward_walks *o, const struct view_package *package)
{
	for (size_t i = 0; i < ONWARD_WALKS; i++)
		if (o->walks[i].last_use && is_at(package, &o->walks[i].next))
			return &o->walks[i];
	return NULL;
}

static struct onward_walk *begin_walk(struct onward_walks *o)
{
	struct onward_walk *oldest = &o->walks[0];

	for (size_t i = 1; i < ONWARD_WALKS; i++)
		if (o->walks[i].last_use < oldest->last_use)
			oldest = &o->walks[i];
	*oldest = (struct onward_walk){0};
	return oldest;
}

/* Between two catalogs, which take long to open: a flip that waits goes first. False: the
 * package is not there any more, or all ends. */
static bool breathe(struct onward_walks *o, epoch_token *epoch,
	struct view_package *package, const struct catalog *c)
{
	struct digest digest = view_package_ref(package)->digest;

	catalog_ref(c);
	epoch_leave(*epoch);
	*epoch = epoch_enter();
	bool is_there =
		!atomic_load(o->is_ending) &&
		view_find_package(o->view, c->path, c->path_length, package) == 0 &&
		is_at(package, &digest);

	catalog_unref(c);
	return is_there;
}

/* The next one of which anything is to be fetched, as far as is known here: nobody is seen going through
 * the others. */
static bool next_package(struct onward_walks *o, epoch_token *epoch, bool may_fetch,
	struct view_package *package)
{
	const struct catalog *c;

	for (unsigned int i = 0; i < ONWARD_PACKAGES; i++) {
		if (!view_next_package(package))
			return false;
		if (view_package_catalog(o->view, package, may_fetch, &c) < 0 ||
			c->frame_count)
			return true;
		if (!breathe(o, epoch, package, c))
			return false;
	}
	return false;
}

/* Leaves out the first one asked for: it is being read. Returns how much of it was not here;
 * UINT64_MAX: nobody knows, but he who reads it missed something. */
static uint64_t come_to_first(struct onward_walk *w)
{
	if (w->asked_count == 0)
		return UINT64_MAX;
	struct onward_asked first = w->asked[0];

	w->asked_count--;
	memmove(w->asked, w->asked + 1, w->asked_count * sizeof(w->asked[0]));
	/* behind what was asked for of it nobody has looked yet */
	return first.bytes && !first.is_whole ? UINT64_MAX : first.bytes;
}

/* Goes from the first package to be read to the first one that was not asked for. What was asked for
 * where a flip has put another package since counts no more. False: there is none, or one of those asked
 * for is not wholly so: what a later one has of the same frames is less than that one needs. */
static bool skip_asked(struct onward_walks *o, epoch_token *epoch, struct onward_walk *w,
	struct view_package *package, uint64_t *out_bytes)
{
	*out_bytes = 0;
	for (size_t i = 0; i < w->asked_count; i++) {
		if (!is_at(package, &w->asked[i].digest)) {
			w->asked_count = i;
			break;
		}
		*out_bytes += w->asked[i].bytes;
		if (!w->asked[i].is_whole || !next_package(o, epoch, true, package))
			return false;
	}
	return true;
}

/* Notes one package more, and how much of it was not here. Returns how many bytes may be asked for. */
static uint64_t come_through(struct onward_walk *w, uint64_t bytes, uint64_t missing)
{
	int64_t now_ns = clock_mono_ns();

	/* what the disk had says nothing of the line */
	if (!w->is_last_here) {
		w->pace_bytes = w->last_bytes;
		w->pace_ms = (uint64_t)((now_ns - w->came_ns) / NS_PER_MS) + 1;
	}
	uint64_t most = w->pace_bytes * AHEAD_MS / w->pace_ms;

	w->came_ns = now_ns;
	w->last_bytes = bytes;
	w->is_last_here = missing < bytes / 2;
	w->bytes += bytes;
	if (most > w->bytes * BYTES_GROWTH)
		most = w->bytes * BYTES_GROWTH;
	return most < BYTES_MAX ? most : BYTES_MAX;
}

static void ask_for_next(struct onward_walks *o, epoch_token *epoch,
	struct onward_walk *w, uint64_t most, struct view_package next)
{
	const struct catalog *c;
	uint64_t bytes;
	bool is_one = skip_asked(o, epoch, w, &next, &bytes);

	while (is_one && bytes < most && w->asked_count < ONWARD_PACKAGES &&
		view_package_catalog(o->view, &next, true, &c) == 0) {
		struct onward_asked *a = &w->asked[w->asked_count++];

		a->digest = view_package_ref(&next)->digest;
		a->is_whole = content_expect(o->contents, c, most - bytes, &a->bytes);
		bytes += a->bytes;
		is_one = a->is_whole && breathe(o, epoch, &next, c) &&
			 next_package(o, epoch, true, &next);
	}
}

/* Notes which package it is that somebody goes through. */
static void come_to(
	struct onward_walks *o, struct onward_walk *w, const struct view_package *package)
{
	w->last_use = ++o->uses;
	w->last = view_package_ref(package)->digest;
	o->gone[o->uses % ONWARD_GONE] =
		(struct onward_gone){.digest = w->last, .at_ns = clock_mono_ns()};
}

void onward_walks_go_on(struct onward_walks *o, const char *path)
{
	AUTO_EPOCH epoch = epoch_enter();
	struct view_package package;
	const struct catalog *c;

	if (view_find_package(o->view, path, strlen(path), &package) < 0 ||
		is_repeated(o, &package) ||
		view_package_catalog(o->view, &package, false, &c) < 0)
		return;
	struct onward_walk *w = find_walk(o, &package);
	bool may_ask = w && content_may_expect(o->contents);

	if (!w)
		w = begin_walk(o);
	uint64_t most = come_through(w, bytes_of(c), come_to_first(w));

	come_to(o, w, &package);
	if (!next_package(o, &epoch, may_ask, &package)) {
		w->next = (struct digest){0};
		w->asked_count = 0;
		return;
	}
	w->next = view_package_ref(&package)->digest;
	if (may_ask)
		ask_for_next(o, &epoch, w, most, package);
}
