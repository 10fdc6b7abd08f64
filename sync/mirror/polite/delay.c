/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/polite/delay.h"

#include "cache/base/threads/clock.h"

#include <stddef.h>
#include <string.h>

#define MINUTE_NS (60 * NS_PER_SEC)

static void start_minutes(struct delay *delay, int64_t minute)
{
	if (minute - delay->minute >= DELAY_MINUTES)
		memset(delay->least, 0, sizeof(delay->least));
	else
		for (int64_t m = delay->minute + 1; m <= minute; m++)
			delay->least[m % DELAY_MINUTES] = 0;
	delay->minute = minute;
}

void delay_add(struct delay *delay, int64_t delay_ns, int64_t now_ns)
{
	int64_t minute = now_ns / MINUTE_NS;
	int64_t *least;

	if (delay_ns < 1000)
		delay_ns = 1000;
	if (minute > delay->minute)
		start_minutes(delay, minute);
	least = &delay->least[delay->minute % DELAY_MINUTES];
	if (!*least || delay_ns < *least)
		*least = delay_ns;
	delay->recent[delay->next++ % DELAY_RECENT] = delay_ns;
}

static int64_t least_of(const int64_t *values, size_t count)
{
	int64_t least = 0;

	for (size_t i = 0; i < count; i++)
		if (values[i] && (!least || values[i] < least))
			least = values[i];
	return least;
}

int64_t delay_base_ns(const struct delay *delay)
{
	return least_of(delay->least, DELAY_MINUTES);
}

int64_t delay_current_ns(const struct delay *delay)
{
	return least_of(delay->recent, DELAY_RECENT);
}

int64_t delay_queue_ns(const struct delay *delay)
{
	int64_t queue_ns = delay_current_ns(delay) - delay_base_ns(delay);

	return queue_ns > 0 ? queue_ns : 0;
}
