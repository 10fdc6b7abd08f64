/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/bounds/evictor.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "cache/objects/object_scan.h"
#include "cache/objects/partial_files.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define TICK_NS	      (30 * NS_PER_SEC)
#define MIB	      (1024.0 * 1024.0)
#define WARN_EVERY_NS (600 * NS_PER_SEC)
#define TELL_EVERY_NS (60 * NS_PER_SEC)

/* A round costs a stat for each file: it is followed by a pause of so many times its own length,
 * and by a longer one when it has found too little to remove: what is in use now may not be then. */
#define PAUSE_FACTOR   4
#define PAUSE_MIN_NS   (10 * NS_PER_MS)
#define STUCK_PAUSE_NS (2 * NS_PER_SEC)

/* What no view names, and is younger, may be what a sync is just bringing for the next one. */
#define GRACE_NS (3600 * NS_PER_SEC)

/* When the disk refuses what should have room (a quota, no inodes): a share of the cache goes. */
#define REFUSED_SHARE 20

struct evictor {
	struct evictor_config config;
	struct usage *usage;
	pthread_t thread;
	int wake_fd; /* somebody calls */
	int stop_fd; /* the end */
	atomic_bool stop;
	int64_t not_before_ns; /* the next round */
	int64_t warned_ns;
	int64_t told_ns;
	uint64_t untold_bytes;
	bool is_round; /* else things are only counted */
	/* of the round under way */
	struct eviction_item *items;
	size_t count;
	size_t capacity;
	int64_t now_ns;
	int64_t bytes;
};

struct room {
	uint64_t free_bytes;
	uint64_t floor_bytes;
};

static int look_at_disk(const struct evictor *e, struct room *out)
{
	struct statvfs disk;

	if (fstatvfs(e->config.cache_dirfd, &disk) < 0)
		return -errno;
	out->free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
	out->floor_bytes = eviction_floor_bytes(
		&e->config.floor, (uint64_t)disk.f_blocks * disk.f_frsize);
	return 0;
}

static uint64_t bytes_wanted(const struct evictor *e, const struct room *room)
{
	struct eviction_bounds bounds = {
		.limit_bytes = e->config.limit_bytes, .floor_bytes = room->floor_bytes};

	return eviction_wanted(&bounds, usage_total(e->usage), room->free_bytes);
}

static int add_item(struct evictor *e, struct eviction_item item)
{
	const struct eviction_judge *judge = &e->config.judge;

	if (!e->is_round)
		return 0;
	int r = mem_grow((void **)&e->items, &e->capacity, e->count, sizeof(*e->items));

	if (r < 0)
		return r;
	item.class = EVICTION_LIVE;
	item.is_kept = item.kind == USAGE_CATALOGS;
	if (judge->judge)
		judge->judge(judge->arg, &item);
	int64_t age_ns = e->now_ns - item.landed_ns;

	/* one that lands far in the future is from before the clock was put back */
	if (item.class == EVICTION_UNREFERENCED && age_ns < GRACE_NS &&
		age_ns > -GRACE_NS) {
		item.class = EVICTION_LIVE;
		item.is_kept = item.is_kept || item.kind == USAGE_CATALOGS;
	}
	e->items[e->count++] = item;
	return 0;
}

static int add_object(void *arg, const struct object_info *object)
{
	return add_item(arg, (struct eviction_item){.digest = object->digest,
				     .disk_bytes = object->disk_bytes,
				     .landed_ns = object->landed_ns,
				     .last_use_ns = object->last_use_ns,
				     .kind = USAGE_OBJECTS});
}

/* What is known by its file alone: it was last used when it landed. */
static int add_file(
	struct evictor *e, const struct digest_file *file, enum usage_kind kind)
{
	e->bytes += (int64_t)file->disk_bytes;
	return add_item(e, (struct eviction_item){.digest = file->digest,
				   .disk_bytes = file->disk_bytes,
				   .landed_ns = file->landed_ns,
				   .last_use_ns = file->landed_ns,
				   .kind = kind});
}

static int add_catalog(void *arg, const struct digest_file *file)
{
	return add_file(arg, file, USAGE_CATALOGS);
}

static int add_partial(void *arg, const struct digest_file *file)
{
	return add_file(arg, file, USAGE_PARTIALS);
}

/* Sets a count to what the listing has found. What landed in these milliseconds may be counted
 * twice or not at all until the next round. */
static void set_count(struct evictor *e, enum usage_kind kind, int64_t before)
{
	usage_move(e->usage, kind, e->bytes - before);
	e->bytes = 0;
}

static int list_partials_and_catalogs(struct evictor *e)
{
	int64_t before = atomic_load(&e->usage->bytes[USAGE_PARTIALS]);

	e->bytes = 0;
	int r = partial_files_list(e->config.cache_dirfd, add_partial, e);

	if (r < 0)
		return r;
	set_count(e, USAGE_PARTIALS, before);
	before = atomic_load(&e->usage->bytes[USAGE_CATALOGS]);
	r = catalog_store_list(e->config.catalogs, add_catalog, e);
	if (r == 0)
		set_count(e, USAGE_CATALOGS, before);
	return r;
}

static int remove_item(struct evictor *e, const struct eviction_item *item)
{
	switch (item->kind) {
	case USAGE_OBJECTS:
		return object_store_remove(e->config.objects, &item->digest, NULL);
	case USAGE_PARTIALS:
		return partial_file_remove(
			e->config.cache_dirfd, e->usage, &item->digest, NULL);
	default:
		return catalog_store_remove(e->config.catalogs, &item->digest, NULL);
	}
}

static void warn_full(struct evictor *e, uint64_t missing)
{
	int64_t now_ns = clock_mono_ns();

	if (e->warned_ns && now_ns - e->warned_ns < WARN_EVERY_NS)
		return;
	e->warned_ns = now_ns;
	log_warn("the cache must come down by %.1f MiB more and has nothing left to let "
		 "go: "
		 "unpin something, raise cache_limit or make room on its disk",
		(double)missing / MIB);
}

/* Rounds may be many: what went since the last line is told together. */
static void tell(struct evictor *e, uint64_t removed)
{
	int64_t now_ns = clock_mono_ns();

	e->untold_bytes += removed;
	if (e->told_ns && now_ns - e->told_ns < TELL_EVERY_NS)
		return;
	e->told_ns = now_ns;
	log_info("let go of %.1f MiB: the cache holds %.1f MiB now",
		(double)e->untold_bytes / MIB, (double)usage_total(e->usage) / MIB);
	e->untold_bytes = 0;
}

/* Removes the first n items; what fails is only said. */
static uint64_t remove_items(struct evictor *e, size_t n)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < n && !atomic_load(&e->stop); i++) {
		int r = remove_item(e, &e->items[i]);

		if (r == 0) {
			bytes += e->items[i].disk_bytes;
		} else if (r != -ENOENT) {
			log_warn("cannot remove anything from the cache: %s",
				log_strerror(r));
			break;
		}
	}
	return bytes;
}

static int list_everything(struct evictor *e)
{
	const struct eviction_judge *judge = &e->config.judge;
	int r = judge->begin ? judge->begin(judge->arg) : 0;

	if (r < 0)
		return r;
	e->now_ns = clock_real_ns();
	e->is_round = true;
	r = object_store_list(e->config.objects, &e->stop, add_object, e);
	if (r == 0)
		r = list_partials_and_catalogs(e);
	e->is_round = false;
	if (judge->end)
		judge->end(judge->arg);
	return r;
}

/* Counts everything and, if it is still too much, removes. */
static int make_room(struct evictor *e, bool is_refused)
{
	struct room room = {0};
	uint64_t planned = 0;
	int64_t start_ns = clock_mono_ns();

	e->count = 0;
	int r = list_everything(e);

	if (r == 0)
		r = look_at_disk(e, &room);
	if (r < 0)
		return r;
	uint64_t wanted = bytes_wanted(e, &room);

	if (is_refused && wanted < usage_total(e->usage) / REFUSED_SHARE)
		wanted = usage_total(e->usage) / REFUSED_SHARE;
	size_t n = wanted ? eviction_plan(e->items, e->count, wanted, &planned) : 0;
	uint64_t removed = remove_items(e, n);

	if (removed)
		tell(e, removed);
	if (planned < wanted)
		warn_full(e, wanted - planned);
	/* with nothing left to give, what lands would only fill the disk to the brim */
	r = look_at_disk(e, &room);
	atomic_store(&e->usage->floor_bytes, room.floor_bytes);
	atomic_store(&e->usage->is_closed,
		r == 0 && planned < wanted && room.free_bytes < room.floor_bytes);
	int64_t end_ns = clock_mono_ns();
	int64_t pause_ns = PAUSE_FACTOR * (end_ns - start_ns);

	int64_t least_ns = planned < wanted ? STUCK_PAUSE_NS : PAUSE_MIN_NS;

	if (pause_ns < least_ns)
		pause_ns = least_ns;
	if (pause_ns > TICK_NS)
		pause_ns = TICK_NS;
	e->not_before_ns = end_ns + pause_ns;
	return r;
}

static void look(struct evictor *e, bool is_refused)
{
	struct room room = {0};
	int r = look_at_disk(e, &room);

	if (r == 0 && (is_refused || bytes_wanted(e, &room))) {
		r = make_room(e, is_refused);
		free(e->items);
		e->items = NULL;
		e->count = 0;
		e->capacity = 0;
	} else if (r == 0) {
		atomic_store(&e->usage->is_closed, false);
	}
	if (r < 0 && r != -ECANCELED) {
		e->not_before_ns = clock_mono_ns() + TICK_NS;
		log_warn("cannot keep the cache in its bounds: %s", log_strerror(r));
	}
}

/* Returns at the deadline, at the end, or (with `is_heard`) when somebody calls. */
static void wait_until(const struct evictor *e, int64_t deadline_ns, bool is_heard)
{
	struct pollfd events[] = {{.fd = e->stop_fd, .events = POLLIN},
		{.fd = is_heard ? e->wake_fd : -1, .events = POLLIN}};
	int64_t left_ms = (deadline_ns - clock_mono_ns()) / NS_PER_MS;

	if (left_ms > 0)
		(void)poll(events, ARRAY_SIZE(events), (int)left_ms);
}

static void *run_evictor(void *arg)
{
	struct evictor *e = arg;
	eventfd_t ignored;

	/* the objects are counted by the housekeeping thread */
	if (list_partials_and_catalogs(e) < 0)
		log_warn("the cache's partials and catalogs cannot be counted");
	while (!atomic_load(&e->stop)) {
		(void)eventfd_read(e->wake_fd, &ignored);
		look(e, atomic_exchange(&e->usage->is_refused, false));
		object_store_write_accesses(e->config.objects);
		wait_until(e, e->not_before_ns, false);
		wait_until(e, clock_mono_ns() + TICK_NS, true);
	}
	return NULL;
}

static void evictor_free(struct evictor *e)
{
	if (e->wake_fd >= 0)
		close(e->wake_fd);
	if (e->stop_fd >= 0)
		close(e->stop_fd);
	free(e->items);
	free(e);
}

int evictor_start(const struct evictor_config *config, struct evictor **out)
{
	struct evictor *e = mem_calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->config = *config;
	e->usage = object_store_usage(config->objects);
	e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = e->wake_fd < 0 || e->stop_fd < 0 ? -errno : 0;

	if (r == 0) {
		atomic_store(&e->usage->limit_bytes, config->limit_bytes);
		atomic_store(&e->usage->wake_fd, e->wake_fd);
		r = thread_start(&e->thread, "evictor", run_evictor, e);
	}
	if (r < 0) {
		atomic_store(&e->usage->wake_fd, -1);
		evictor_free(e);
		return r;
	}
	*out = e;
	return 0;
}

void evictor_stop(struct evictor *e)
{
	if (!e)
		return;
	atomic_store(&e->stop, true);
	(void)eventfd_write(e->stop_fd, 1);
	pthread_join(e->thread, NULL);
	object_store_write_accesses(e->config.objects);
	atomic_store(&e->usage->wake_fd, -1);
	evictor_free(e);
}
