/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Starting threads the one way: named, and deaf to signals, which are the main thread's. */
#pragma once

#include "cache/base/cleanup.h"

#include <pthread.h>

/* Runs `run(arg)` in a new thread that debuggers show as `name` (at most 15 bytes); join it
 * with pthread_join(). Returns 0 or -errno. Any thread. */
int thread_start(
	pthread_t *out, const char *name, void *(*run)(void *), void *arg) WARN_UNUSED;
