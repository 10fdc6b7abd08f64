/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/onward.h"

#include "cache/base/memory.h"
#include "cache/base/threads/thread.h"
#include "cache/content/content.h"

#include <errno.h>
#include <string.h>

static void *run(void *arg)
{
	struct onward *o = arg;

	mutex_lock(&o->lock);
	while (!atomic_load(&o->is_ending)) {
		if (o->count == 0) {
			condition_wait(&o->changed, &o->lock);
			continue;
		}
		char *path = o->paths[0];

		o->count--;
		memmove(o->paths, o->paths + 1, o->count * sizeof(o->paths[0]));
		mutex_unlock(&o->lock);
		onward_walks_go_on(&o->walks, path);
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
	if (path && !atomic_load(&o->is_ending) && o->count < ONWARD_QUEUED) {
		o->paths[o->count++] = path;
		path = NULL;
		condition_signal(&o->changed);
	}
	mutex_unlock(&o->lock);
	free(path);
}

int onward_init(struct onward *o, struct view *view, struct content_store *contents)
{
	*o = (struct onward){.contents = contents};
	o->walks = (struct onward_walks){
		.view = view, .contents = contents, .is_ending = &o->is_ending};
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
	atomic_store(&o->is_ending, true);
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
