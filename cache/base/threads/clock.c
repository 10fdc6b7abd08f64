/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static _Atomic int64_t fake_ns;

static int64_t read_clock(clockid_t id)
{
	int64_t fake = atomic_load_explicit(&fake_ns, memory_order_relaxed);
	struct timespec t;

	if (fake)
		return fake;
	clock_gettime(id, &t);
	return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

int64_t clock_mono_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_real_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

void clock_fake(int64_t real_ns)
{
	atomic_store(&fake_ns, real_ns);
}

void clock_format(int64_t real_ns, char out[CLOCK_TEXT_SIZE])
{
	time_t sec = (time_t)(real_ns / NS_PER_SEC);
	struct tm tm;

	if (!gmtime_r(&sec, &tm) ||
		!strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm))
		(void)snprintf(out, CLOCK_TEXT_SIZE, "-");
}

int clock_parse(const char *text, int64_t *out_real_ns)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);

	if (!end || *end)
		return -EINVAL;
	*out_real_ns = (int64_t)timegm(&tm) * NS_PER_SEC;
	return 0;
}
