/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/wakeful.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LIGHT_SLEEP_US 2

int32_t wakeful_most_us(const char *cpuinfo)
{
	char head[4096]; /* the first processor, with its flags */
	AUTO_CLOSE int fd = open(cpuinfo, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? io_read(fd, head, sizeof(head) - 1) : 0;

	head[n > 0 ? n : 0] = '\0';
	return strstr(head, " hypervisor") ? 0 : LIGHT_SLEEP_US;
}

void wakeful_init(struct wakeful *w, const char *device)
{
	*w = (struct wakeful){.device = device,
		.fd = -1,
		.most_us = wakeful_most_us("/proc/cpuinfo"),
		.allowed_ns = WAKEFUL_BURST_NS};
}

static void fall_asleep(struct wakeful *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	w->fd = -1;
}

static void stay_awake(struct wakeful *w)
{
	w->fd = open(w->device, O_WRONLY | O_CLOEXEC);
	if (w->fd >= 0 &&
		write(w->fd, &w->most_us, sizeof(w->most_us)) == sizeof(w->most_us))
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

bool wakeful_note(struct wakeful *w, bool is_hurried, int64_t now_ns)
{
	if (!w->device)
		return false;
	count(w, now_ns);
	if (is_hurried)
		w->hurried_ns = now_ns;
	if (w->fd >= 0 &&
		(w->allowed_ns <= 0 || now_ns - w->hurried_ns > WAKEFUL_LINGER_NS))
		fall_asleep(w);
	else if (w->fd < 0 && is_hurried && w->allowed_ns >= WAKEFUL_AGAIN_NS)
		stay_awake(w);
	return w->fd >= 0;
}

void wakeful_release(struct wakeful *w)
{
	fall_asleep(w);
	w->device = NULL;
}
