/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/turns.h"

#include "cache/base/threads/thread.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <unistd.h>

#define TICK_MS	   4
#define IDLE_TICKS 25 /* without a request: sleep until there is one */
#define SLEPT_NS                                                                         \
	5000	  /* a read(2) that took longer has slept: a request is copied in 1,000 */
#define BACKLOG 4 /* so many requests in a tick, and no sleep: they queue up */
#define HURRIED 4 /* so many sleeps in a tick: somebody waits for each answer */

static _Thread_local bool has_turn;

static void give(struct turns *t)
{
	has_turn = false;
	(void)sem_post(&t->free);
}

static bool must_wait(struct turns *t)
{
	return !has_turn && !atomic_load_explicit(&t->is_over, memory_order_relaxed);
}

/* One turn more, unless there is one that nobody takes: then it is threads that are missing. So
 * there are never more turns than threads, but for those that went with a thread. */
static void add(struct turns *t)
{
	int unused = 0;

	(void)sem_getvalue(&t->free, &unused);
	if (unused > 0)
		return;
	atomic_fetch_add(&t->count, 1);
	(void)sem_post(&t->free);
}

/* Takes one off, if there are more than there are to be. */
static bool take_off(struct turns *t)
{
	unsigned int count = atomic_load(&t->count);

	while (count > atomic_load(&t->least))
		if (atomic_compare_exchange_weak(&t->count, &count, count - 1))
			return true;
	return false;
}

/* There are to be so many, and more only for a reason. Those that are taken go one by one. */
static void set_least(struct turns *t, unsigned int least)
{
	if (atomic_load(&t->least) == least)
		return;
	atomic_store(&t->least, least);
	while (atomic_load(&t->count) < least) {
		atomic_fetch_add(&t->count, 1);
		(void)sem_post(&t->free);
	}
	while (atomic_load(&t->count) > least && sem_trywait(&t->free) == 0)
		if (!take_off(t))
			(void)sem_post(&t->free);
}

/* What is answered from memory, or handed to another thread by who answers. */
static bool is_quick(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_INIT:
	case FUSE_LOOKUP:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_GETATTR:
	case FUSE_READLINK:
	case FUSE_STATFS:
	case FUSE_OPENDIR:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
	case FUSE_RELEASEDIR:
	case FUSE_OPEN:
	case FUSE_RELEASE:
	case FUSE_LSEEK:
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
	case FUSE_INTERRUPT:
		return true;
	default:
		return false;
	}
}

static void have_watched(struct turns *t)
{
	mutex_lock(&t->lock);
	atomic_store(&t->is_watched, true);
	condition_signal(&t->changed);
	mutex_unlock(&t->lock);
}

static int64_t begin(struct turns *t)
{
	atomic_fetch_add(&t->reading, 1);
	return clock_mono_ns();
}

static void end(struct turns *t, int64_t begin_ns, const struct fuse_in_header *header,
	ssize_t len)
{
	bool has_slept = clock_mono_ns() - begin_ns > SLEPT_NS;

	if (len > 0) {
		if (has_slept)
			atomic_fetch_add(&t->slept, 1);
		atomic_fetch_add(&t->taken, 1);
		if (!atomic_load(&t->is_watched))
			have_watched(t);
	}
	/* of two that leave together one is the last, and keeps his turn. Turns of those who are
	 * answering do not count: who is stuck reads nothing */
	bool is_last = atomic_fetch_sub(&t->reading, 1) == 1;

	if (has_turn && (len < (ssize_t)sizeof(*header) || !is_quick(header->opcode)))
		give(t);
	else if (has_turn && has_slept && !is_last)
		has_turn = !take_off(t);
}

/* A thread may be cancelled in here, and what the C library then leaves undone ASan takes for a
 * stack gone wrong: so the functions on the stack have no variables that anything points to, as
 * atomics make them. */
ssize_t turns_read(struct turns *t, int fd, void *buffer, size_t size)
{
	while (must_wait(t))
		has_turn = sem_wait(&t->free) == 0;
	int64_t begin_ns = begin(t);
	ssize_t n = read(fd, buffer, size);
	int error = errno;

	end(t, begin_ns, buffer, n);
	errno = error;
	return n;
}

void turns_pass(struct turns *t)
{
	if (has_turn)
		give(t);
}

struct seen {
	uint64_t taken;
	uint64_t slept;
	unsigned int idle_ticks;
};

/* Who leaves read(2) counts first: so if nobody is in it, and then nobody has counted, they have
 * been answering since the last look. */
static void tick(struct turns *t, struct seen *seen)
{
	bool is_read = atomic_load(&t->reading) > 0;
	uint64_t taken = atomic_load(&t->taken);
	uint64_t slept = atomic_load(&t->slept);
	bool is_idle = taken == seen->taken;
	bool is_stuck = is_idle && !is_read;
	bool is_queued = taken - seen->taken >= BACKLOG && slept == seen->slept &&
			 atomic_load(&t->count) < t->wanted;

	if (is_stuck || is_queued)
		add(t);
	bool is_awake = wakeful_note(
		&t->wakeful, slept - seen->slept >= HURRIED, clock_mono_ns());

	set_least(t, is_awake ? 1 : t->asleep);
	seen->idle_ticks = is_idle && !is_stuck ? seen->idle_ticks + 1 : 0;
	seen->taken = taken;
	seen->slept = slept;
}

/* Who reads counts first and looks second whether it is watched. */
static void sleep_until_taken(struct turns *t, const struct seen *seen)
{
	atomic_store(&t->is_watched, false);
	if (atomic_load(&t->taken) != seen->taken)
		atomic_store(&t->is_watched, true);
	mutex_lock(&t->lock);
	while (!atomic_load(&t->is_watched) && !atomic_load(&t->is_ending))
		condition_wait(&t->changed, &t->lock);
	mutex_unlock(&t->lock);
}

static void *watch(void *arg)
{
	struct turns *t = arg;
	struct seen seen = {.idle_ticks = IDLE_TICKS};

	while (!atomic_load(&t->is_ending)) {
		if (seen.idle_ticks >= IDLE_TICKS) {
			sleep_until_taken(t, &seen);
			seen.idle_ticks = 0;
		}
		(void)poll(NULL, 0, TICK_MS);
		tick(t, &seen);
	}
	return NULL;
}

int turns_init(struct turns *t, const char *device, unsigned int asleep)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	*t = (struct turns){.count = asleep,
		.least = asleep,
		.asleep = asleep,
		.wanted = processors > 1 ? (unsigned int)processors : 1};
	(void)sem_init(&t->free, 0, asleep);
	mutex_init(&t->lock);
	condition_init(&t->changed);
	wakeful_init(&t->wakeful, device);
	int r = thread_start(&t->thread, "turns", watch, t);

	t->has_thread = r == 0;
	return r;
}

void turns_end(struct turns *t)
{
	atomic_store(&t->is_over, true);
}

void turns_release(struct turns *t)
{
	mutex_lock(&t->lock);
	atomic_store(&t->is_ending, true);
	condition_signal(&t->changed);
	mutex_unlock(&t->lock);
	if (t->has_thread)
		pthread_join(t->thread, NULL);
	t->has_thread = false;
	wakeful_release(&t->wakeful);
	condition_release(&t->changed);
	mutex_release(&t->lock);
	(void)sem_destroy(&t->free);
}
