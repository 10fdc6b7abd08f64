/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Keeps the processors from falling asleep while somebody waits for one short answer after another:
 * on a virtual machine waking one takes longer than most answers. The kernel's PM QoS interface
 * does it for as long as a file is open (Linux: Documentation/power/pm_qos_interface.rst), so a
 * daemon that dies leaves nothing behind. A virtual machine's idle processors then spin, which costs
 * power and the host's time, so it is done in bursts: WAKEFUL_BURST_NS at a stretch, and a tenth of
 * the time.
 *
 *	wakeful_init(&w, WAKEFUL_DEVICE);	(NULL: never)
 *	wakeful_note(&w, is_hurried, clock_mono_ns());	(every few milliseconds)
 *	wakeful_release(&w);
 *
 * One thread's.
 */
#pragma once

#include "cache/base/threads/clock.h"

#include <stdbool.h>

#define WAKEFUL_DEVICE	 "/dev/cpu_dma_latency"
#define WAKEFUL_BURST_NS (20 * NS_PER_SEC)
#define WAKEFUL_AGAIN_NS                                                                 \
	(2 * NS_PER_SEC) /* so much must be allowed before it begins again */
#define WAKEFUL_SHARE	  10
#define WAKEFUL_LINGER_NS (20 * NS_PER_MS)

struct wakeful {
	const char *device; /* borrowed; NULL once it cannot be had */
	int fd;
	int32_t most_us; /* how long a processor may take to wake */
	int64_t allowed_ns;
	int64_t noted_ns;
	int64_t hurried_ns; /* when it was last wanted */
};

void wakeful_init(struct wakeful *w, const char *device);

/* How long a processor may take to wake, in microseconds, by the head of /proc/cpuinfo: on a virtual
 * machine 0, so that it spins, as its lightest sleep takes as long as a deep one; elsewhere 2, with
 * which it sleeps lightly (C1): to spin there would take from its sibling and from the others' clock. */
int32_t wakeful_most_us(const char *cpuinfo);

/* `is_hurried`: somebody is waiting for short answers. Opens or closes the device;
 * whether it is open. */
bool wakeful_note(struct wakeful *w, bool is_hurried, int64_t now_ns);

void wakeful_release(struct wakeful *w);
