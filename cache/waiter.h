/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Somebody who waits for content or for a catalog without holding a thread. Embedded in
 * whatever is to be continued. A function that takes a waiter and returns -EINPROGRESS has
 * queued it and will call wake() exactly once, from a worker thread, with no lock held;
 * with any other result the waiter was not touched.
 */
#pragma once

#include <stdint.h>

struct waiter {
	/* error 0: what was waited for is there, ask again; else -errno. The waiter may be
	 * freed in it. */
	void (*wake)(struct waiter *w, int error);

	/* owned by the one who queues it */
	struct waiter *next;
	uint32_t first;
	uint32_t end;
	uint32_t missing;
};

/* Wakes a whole list; it is empty afterwards. */
static inline void waiter_wake_all(struct waiter *list, int error)
{
	while (list) {
		struct waiter *next = list->next;

		list->wake(list, error);
		list = next;
	}
}
