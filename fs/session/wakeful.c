/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/wakeful.h"

#include "cache/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void wakeful_init(struct wakeful *w, const char *device)
{
	*w = (struct wakeful){.device = device, .fd = -1, .allowed_ns = WAKEFUL_BURST_NS};
}

static void fall_asleep(struct wakeful *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	w->fd = -1;
}

static void stay_awake(struct wakeful *w)
{
	static const int32_t most_us = 0; /* how long a processor may take to wake */

	w->fd = open(w->device, O_WRONLY | O_CLOEXEC);
	if (w->fd >= 0 && write(w->fd, &most_us, sizeof(most_us)) == sizeof(most_us))
		return;
	log_debug("processors may sleep between two requests: %s: %s", w->device,
		log_strerror(errno));
	fall_asleep(w);
	w->device = NULL;
}

static void count(struct wakeful *w, int64_t now_ns)
{
	int64_t passed_ns = w->noted_ns ? now_ns - w->noted_ns : 0;

	w->noted_ns = now_ns;
	w->allowed_ns += w->fd >= 0 ? -passed_ns : passed_ns / WAKEFUL_SHARE;
	if (w->allowed_ns > WAKEFUL_BURST_NS)
		w->allowed_ns = WAKEFUL_BURST_NS;
}

void wakeful_note(struct wakeful *w, bool is_hurried, int64_t now_ns)
{
	if (!w->device)
		return;
	count(w, now_ns);
	if (is_hurried)
		w->hurried_ns = now_ns;
	if (w->fd >= 0 &&
		(w->allowed_ns <= 0 || now_ns - w->hurried_ns > WAKEFUL_LINGER_NS))
		fall_asleep(w);
	else if (w->fd < 0 && is_hurried && w->allowed_ns >= WAKEFUL_AGAIN_NS)
		stay_awake(w);
}

void wakeful_release(struct wakeful *w)
{
	fall_asleep(w);
	w->device = NULL;
}
