/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/housekeeping.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "cache/base/threads/thread.h"
#include "cache/objects/object_scan.h"

#include <errno.h>
#include <stdatomic.h>

#define CHECKPOINT_EVERY_NS (30 * NS_PER_SEC)

struct housekeeping {
	struct object_store *objects;
	struct checkpoint *checkpoint;
	pthread_t thread;
	atomic_bool stop;
	struct mutex lock;
	struct condition changed;
};

static void write_checkpoint(struct housekeeping *h, bool is_last)
{
	int r = checkpoint_write(h->checkpoint, is_last);

	if (r < 0)
		log_warn("cannot record how far the cache is durable: %s; after a crash "
			 "more "
			 "of it will be verified",
			log_strerror(r));
}

static void *keep_house(void *arg)
{
	struct housekeeping *h = arg;
	int64_t recorded = 0;

	object_store_scan(h->objects, &h->stop);
	if (!atomic_load(&h->stop))
		write_checkpoint(h, false);
	mutex_lock(&h->lock);
	while (!atomic_load(&h->stop)) {
		int64_t next_ns = clock_mono_ns() + CHECKPOINT_EVERY_NS;
		int64_t landed;

		while (!atomic_load(&h->stop) &&
			condition_wait_until(&h->changed, &h->lock, next_ns) == 0)
			continue;
		mutex_unlock(&h->lock);
		landed = atomic_load(&object_store_usage(h->objects)->landed_bytes);
		if (landed != recorded)
			write_checkpoint(h, false);
		recorded = landed;
		mutex_lock(&h->lock);
	}
	mutex_unlock(&h->lock);
	return NULL;
}

int housekeeping_start(struct object_store *objects, struct checkpoint *checkpoint,
	struct housekeeping **out)
{
	AUTO_FREE struct housekeeping *h = mem_calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->objects = objects;
	h->checkpoint = checkpoint;
	mutex_init(&h->lock);
	condition_init(&h->changed);
	int r = thread_start(&h->thread, "housekeeping", keep_house, h);

	if (r < 0)
		return r;
	*out = TAKE_PTR(h);
	return 0;
}

void housekeeping_stop(struct housekeeping *h)
{
	if (!h)
		return;
	mutex_lock(&h->lock);
	atomic_store(&h->stop, true);
	condition_signal(&h->changed);
	mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	write_checkpoint(h, true);
	condition_release(&h->changed);
	mutex_release(&h->lock);
	free(h);
}
