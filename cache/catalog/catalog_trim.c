/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/catalog/catalog_trim.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "cache/base/threads/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CATALOGS_A_CHECK 16 /* gone through between two looks at what is resident */

struct catalog_trim {
	size_t budget_bytes;
	pthread_t thread;
	struct mutex lock;
	struct condition changed;
	struct catalog *hand; /* lock: of a ring, the one not gone through for longest */
	size_t mapped_bytes;  /* lock */
	bool is_stopping;     /* lock */
};

/* All file pages in the process's page table: the third number of statm. */
static size_t resident_bytes(void)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(256);
	char *end;

	if (io_read_file(AT_FDCWD, "/proc/self/statm", &text) < 0 ||
		buffer_add(&text, "", 1) < 0)
		return 0;
	(void)strtoul((const char *)text.data, &end, 10);
	(void)strtoul(end, &end, 10);
	return strtoul(end, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t trim_locked(struct catalog_trim *t) REQUIRES(t->lock)
{
	struct catalog *first = t->hand;
	unsigned int n = 0;
	size_t bytes = 0;

	if (!first)
		return 0;
	do {
		struct catalog *c = t->hand;

		if (n++ % CATALOGS_A_CHECK == 0 && resident_bytes() <= t->budget_bytes)
			break;
		(void)madvise((void *)(uintptr_t)c->header, c->map_bytes, MADV_DONTNEED);
		bytes += c->map_bytes;
		t->hand = c->trim_next;
	} while (t->hand != first);
	return bytes;
}

size_t catalog_trim_now(struct catalog_trim *t)
{
	mutex_lock(&t->lock);
	size_t bytes = trim_locked(t);

	mutex_unlock(&t->lock);
	return bytes;
}

bool trim_rhythm_is_due(struct trim_rhythm *rhythm, int64_t now_ns, int64_t cpu_ns)
{
	bool is_busy = cpu_ns - rhythm->cpu_ns >
		       (now_ns - rhythm->look_ns) / 100 * TRIM_BUSY_PERCENT;

	rhythm->look_ns = now_ns;
	rhythm->cpu_ns = cpu_ns;
	if (is_busy)
		rhythm->quiet_ns = now_ns;
	if (now_ns - rhythm->quiet_ns < TRIM_QUIET_NS &&
		now_ns - rhythm->last_ns < TRIM_BUSY_NS)
		return false;
	rhythm->quiet_ns = rhythm->last_ns = now_ns;
	return true;
}

static int64_t cpu_time_ns(void)
{
	struct timespec used;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) < 0)
		return 0;
	return (int64_t)used.tv_sec * NS_PER_SEC + used.tv_nsec;
}

static void *trim_thread(void *arg)
{
	struct catalog_trim *t = arg;
	struct trim_rhythm rhythm = {0};

	mutex_lock(&t->lock);
	while (!t->is_stopping) {
		if (t->mapped_bytes <= t->budget_bytes) {
			rhythm.last_ns = 0;
			condition_wait(&t->changed, &t->lock);
			continue;
		}
		int64_t now_ns = clock_mono_ns();

		if (rhythm.last_ns == 0)
			rhythm = (struct trim_rhythm){.look_ns = now_ns,
				.quiet_ns = now_ns,
				.last_ns = now_ns,
				.cpu_ns = cpu_time_ns()};
		while (!t->is_stopping && condition_wait_until(&t->changed, &t->lock,
						  now_ns + TRIM_LOOK_NS) == 0)
			continue;
		if (trim_rhythm_is_due(&rhythm, clock_mono_ns(), cpu_time_ns()))
			(void)trim_locked(t);
	}
	mutex_unlock(&t->lock);
	return NULL;
}

int catalog_trim_start(size_t budget_bytes, struct catalog_trim **out)
{
	AUTO_FREE struct catalog_trim *t = mem_calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->budget_bytes = budget_bytes;
	mutex_init(&t->lock);
	condition_init(&t->changed);
	int r = thread_start(&t->thread, "catalog-trim", trim_thread, t);

	if (r < 0)
		return r;
	*out = TAKE_PTR(t);
	return 0;
}

void catalog_trim_stop(struct catalog_trim *t)
{
	if (!t)
		return;
	mutex_lock(&t->lock);
	t->is_stopping = true;
	condition_signal(&t->changed);
	mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	mutex_lock(&t->lock);
	for (struct catalog *c = t->hand; c && c->trim; c = c->trim_next)
		c->trim = NULL;
	mutex_unlock(&t->lock);
	condition_release(&t->changed);
	mutex_release(&t->lock);
	free(t);
}

void catalog_trim_add(struct catalog_trim *t, struct catalog *c)
{
	mutex_lock(&t->lock);
	/* before the hand: its turn comes last */
	if (t->hand) {
		c->trim_next = t->hand;
		c->trim_before = t->hand->trim_before;
		c->trim_before->trim_next = c;
		c->trim_next->trim_before = c;
	} else {
		c->trim_next = c->trim_before = t->hand = c;
	}
	c->trim = t;
	if (t->mapped_bytes <= t->budget_bytes &&
		t->mapped_bytes + c->map_bytes > t->budget_bytes)
		condition_signal(&t->changed);
	t->mapped_bytes += c->map_bytes;
	mutex_unlock(&t->lock);
}

void catalog_trim_remove(struct catalog *c)
{
	struct catalog_trim *t = c->trim;

	if (!t)
		return;
	mutex_lock(&t->lock);
	c->trim_before->trim_next = c->trim_next;
	c->trim_next->trim_before = c->trim_before;
	if (t->hand == c)
		t->hand = c->trim_next == c ? NULL : c->trim_next;
	t->mapped_bytes -= c->map_bytes;
	c->trim = NULL;
	mutex_unlock(&t->lock);
}
