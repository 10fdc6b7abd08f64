/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/ingest/parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define THREADS_MAX 64

struct parallel {
	parallel_work work;
	void *context;
	size_t count;
	atomic_size_t next;
	atomic_int error;
};

static void *run(void *arg)
{
	struct parallel *p = arg;

	while (!atomic_load(&p->error)) {
		size_t i = atomic_fetch_add(&p->next, 1);
		int none = 0;

		if (i >= p->count)
			break;
		int r = p->work(p->context, i);

		if (r < 0)
			(void)atomic_compare_exchange_strong(&p->error, &none, r);
	}
	return NULL;
}

int parallel_for(size_t count, unsigned int threads, parallel_work work, void *context)
{
	struct parallel p = {.work = work, .context = context, .count = count};
	pthread_t helpers[THREADS_MAX];
	unsigned int started = 0;

	if (threads > THREADS_MAX)
		threads = THREADS_MAX;
	while (started + 1 < threads && started + 1 < count &&
		pthread_create(&helpers[started], NULL, run, &p) == 0)
		started++;
	(void)run(&p);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(helpers[i], NULL);
	return atomic_load(&p.error);
}
