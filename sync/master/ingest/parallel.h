/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The same work on many things, on several threads. */
#pragma once

#include "cache/base/cleanup.h"

#include <stddef.h>

/* Works on item `index`; returns 0 or -errno, which stops the others. */
typedef int (*parallel_work)(void *context, size_t index);

/* Calls `work` once for each index below `count`. Returns 0 or the first error. */
int parallel_for(size_t count, unsigned int threads, parallel_work work,
	void *context) WARN_UNUSED;
