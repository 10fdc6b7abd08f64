/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pthread mutex and condition that clang's -Wthread-safety understands. Which lock guards
 * what, and the order in which locks are taken, stands in docs/threads.md. A structure's member
 * names its lock in a comment: clang cannot refer to a sibling member in C.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#if defined(__clang__)
#define THREAD_ATTR(x) __attribute__((x))
#else
#define THREAD_ATTR(x)
#endif

#define CAPABILITY(x) THREAD_ATTR(capability(x))
#define GUARDED_BY(x) THREAD_ATTR(guarded_by(x))
#define ACQUIRES(...) THREAD_ATTR(acquire_capability(__VA_ARGS__))
#define RELEASES(...) THREAD_ATTR(release_capability(__VA_ARGS__))
#define REQUIRES(...) THREAD_ATTR(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) THREAD_ATTR(locks_excluded(__VA_ARGS__))
#define NO_LOCK_CHECK THREAD_ATTR(no_thread_safety_analysis)

struct CAPABILITY("mutex") mutex {
	pthread_mutex_t m;
};

struct condition {
	pthread_cond_t c;
};

#define MUTEX_INIT                                                                       \
	{                                                                                \
		PTHREAD_MUTEX_INITIALIZER                                                \
	}

static inline void mutex_init(struct mutex *l)
{
	pthread_mutex_init(&l->m, NULL);
}

static inline void mutex_release(struct mutex *l)
{
	pthread_mutex_destroy(&l->m);
}

static inline void mutex_lock(struct mutex *l) ACQUIRES(*l) NO_LOCK_CHECK
{
	pthread_mutex_lock(&l->m);
}

static inline void mutex_unlock(struct mutex *l) RELEASES(*l) NO_LOCK_CHECK
{
	pthread_mutex_unlock(&l->m);
}

/* Conditions use the monotonic clock. */
static inline void condition_init(struct condition *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->c, &attr);
	pthread_condattr_destroy(&attr);
}

static inline void condition_release(struct condition *c)
{
	pthread_cond_destroy(&c->c);
}

static inline void condition_wait(struct condition *c, struct mutex *l) REQUIRES(*l)
{
	pthread_cond_wait(&c->c, &l->m);
}

/* Waits until signalled or until the monotonic clock reads `deadline_ns`. Returns 0 or
 * ETIMEDOUT. */
static inline int condition_wait_until(
	struct condition *c, struct mutex *l, int64_t deadline_ns) REQUIRES(*l)
{
	struct timespec t = {
		.tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};

	return pthread_cond_timedwait(&c->c, &l->m, &t);
}

static inline void condition_signal(struct condition *c)
{
	pthread_cond_signal(&c->c);
}

static inline void condition_broadcast(struct condition *c)
{
	pthread_cond_broadcast(&c->c);
}
