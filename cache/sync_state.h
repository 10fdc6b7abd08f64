/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How the mirror stands with its master, for those who show it and do not know who syncs. The
 * implementation is the reconciler's.
 */
#pragma once

#include <stdint.h>

struct sync_state {
	int64_t last_poll_ns; /* real time when the channel last answered; 0: never */
	int64_t last_sync_ns; /* when a run was last done; 0: never */
	char last_error[512]; /* of the last poll or run; "" if it went well */
};

struct sync_teller {
	/* Any thread; does not wait. */
	void (*tell)(void *arg, struct sync_state *out);
	void *arg;
};
