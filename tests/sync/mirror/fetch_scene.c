/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/mirror/fetch_scene.h"

#include "cache/base/threads/clock.h"

#include <errno.h>

struct depot depot;

int make_depot(void **state)
{
	(void)state;
	depot_make(&depot);
	return 0;
}

int drop_depot(void **state)
{
	(void)state;
	depot_remove(&depot);
	return 0;
}

struct fetcher *open_patient_fetcher(const char *urls, int timeout_ms)
{
	const struct fetcher_config config = {.urls = urls, .timeout_ms = timeout_ms};
	struct fetcher *fetcher = NULL;

	assert_int_equal(fetcher_new(&config, &fetcher), 0);
	return fetcher;
}

struct fetcher *open_fetcher(const char *urls)
{
	return open_patient_fetcher(urls, TIMEOUT_MS);
}

void wait_init_all(struct waited *w, size_t count, enum fetch_class class)
{
	for (size_t i = 0; i < count; i++) {
		wait_init(&w[i], &depot);
		w[i].class = class;
	}
}

void wait_end_all(struct waited *w, size_t count, int seconds)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(wait_end(&w[i], seconds), 0);
}

void wait_release_all(struct waited *w, size_t count)
{
	for (size_t i = 0; i < count; i++)
		wait_release(&w[i]);
}

void wait_shut_down(struct waited *w, size_t count, struct fetcher *fetcher)
{
	int64_t start_ns = clock_mono_ns();

	fetcher_free(fetcher);
	/* not the time-outs: their errors are others */
	assert_true(clock_mono_ns() - start_ns < 30 * NS_PER_SEC);
	for (size_t i = 0; i < count; i++) {
		assert_true(w[i].is_done);
		assert_int_equal(w[i].error, -ECANCELED);
	}
	wait_release_all(w, count);
}
