/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/fetcher.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "sync/mirror/fetch_job.h"
#include "sync/mirror/transport/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct fetcher *fetcher_of(struct source *source)
{
	return (struct fetcher *)source;
}

static void fetch_frames(struct source *source, struct frame_request *rq)
{
	fetch_job_frames(fetcher_of(source), rq);
}

static void fetch_catalog(struct source *source, struct catalog_request *rq)
{
	fetch_job_catalog(fetcher_of(source), rq);
}

static void status(struct source *source, struct source_status *out)
{
	upstream_status(fetcher_of(source)->upstream, out);
}

static void hurry(struct source *source)
{
	transport_hurry(fetcher_of(source)->transport);
	transport_hurry(fetcher_of(source)->background);
}

static void set_background(
	struct source *source, const struct rate_limit *limit, bool is_paused)
{
	transport_set_background(fetcher_of(source)->background, limit, is_paused);
	atomic_store(&fetcher_of(source)->is_background_held,
		is_paused || limit->kind != RATE_UNLIMITED);
}

static bool is_background_free(struct source *source)
{
	return !atomic_load(&fetcher_of(source)->is_background_held);
}

static const struct source_ops fetcher_ops = {
	.fetch_frames = fetch_frames,
	.fetch_catalog = fetch_catalog,
	.status = status,
	.hurry = hurry,
	.set_background = set_background,
	.is_background_free = is_background_free,
};

/* Reading ahead counts as well: a reader is about to wait for it. */
static void on_busy(void *arg, bool is_busy)
{
	struct fetcher *fetcher = arg;

	transport_yield(fetcher->background, is_busy);
}

static void on_room(void *arg)
{
	struct fetcher *fetcher = arg;

	transport_resume(fetcher->transport);
	transport_resume(fetcher->background);
}

static int open_transports(struct fetcher *fetcher, const struct fetcher_config *config)
{
	struct transport_config transport = {
		.cafile = config->cafile,
		.sshkey = config->sshkey,
		.knownhosts = config->knownhosts,
		.timeout_ms = config->timeout_ms,
		.is_background = true,
		.hold_ms = config->hold_ms,
	};
	int r = transport_new(&transport, &fetcher->background);

	transport.is_background = false;
	transport.on_busy = on_busy;
	transport.arg = fetcher;
	return r < 0 ? r : transport_new(&transport, &fetcher->transport);
}

int fetcher_new(const struct fetcher_config *config, struct fetcher **out)
{
	struct fetcher *fetcher = mem_calloc(1, sizeof(*fetcher));

	if (!fetcher)
		return -ENOMEM;
	fetcher->source.ops = &fetcher_ops;
	fetcher->timeout_ms =
		config->timeout_ms ? config->timeout_ms : TRANSPORT_TIMEOUT_MS;
	int r = upstream_new(config->urls, &fetcher->upstream);

	if (r == 0)
		r = open_transports(fetcher, config);
	if (r == 0)
		r = worker_pool_new(config->workers, on_room, fetcher, &fetcher->pool);
	if (r < 0) {
		fetcher_free(fetcher);
		return r;
	}
	*out = fetcher;
	return 0;
}

void fetcher_stop(struct fetcher *fetcher)
{
	if (!fetcher)
		return;
	atomic_store(&fetcher->is_stopping, true);
	/* what the transport lets go of runs to its end on the workers, who may find it
	 * stopped when they ask for another try */
	if (fetcher->transport)
		transport_stop(fetcher->transport);
	if (fetcher->background)
		transport_stop(fetcher->background);
}

void fetcher_free(struct fetcher *fetcher)
{
	if (!fetcher)
		return;
	fetcher_stop(fetcher);
	worker_pool_free(fetcher->pool);
	transport_free(fetcher->transport);
	transport_free(fetcher->background);
	upstream_free(fetcher->upstream);
	free(fetcher);
}

struct source *fetcher_source(struct fetcher *fetcher)
{
	return &fetcher->source;
}

size_t fetcher_site_count(const struct fetcher *fetcher)
{
	return upstream_count(fetcher->upstream);
}

const char *fetcher_site_name(const struct fetcher *fetcher, size_t site)
{
	return upstream_shown(fetcher->upstream, site);
}

bool fetcher_site_refused(struct fetcher *fetcher, size_t site, const char *reason)
{
	return upstream_refused(fetcher->upstream, site, reason);
}

int fetcher_best_site(struct fetcher *fetcher, uint32_t avoid, size_t *out)
{
	int64_t from_ns;

	return upstream_pick(fetcher->upstream, avoid, out, &from_ns);
}

/* A thread that waits for some transfers. */
struct small_wait {
	struct mutex lock; /* guards left */
	struct condition has_ended;
	size_t left;
};

struct small_fetch {
	struct transfer transfer;
	struct buffer body;
	struct transfer_result result;
	struct small_wait *wait;
	int64_t start_ns;
};

static int on_small_data(struct transfer *t, const uint8_t *data, size_t len)
{
	struct small_fetch *f = t->arg;

	return buffer_add(&f->body, data, len);
}

static void on_small_done(struct transfer *t, const struct transfer_result *result)
{
	struct small_fetch *f = t->arg;

	f->result = *result;
	mutex_lock(&f->wait->lock);
	f->wait->left--;
	condition_signal(&f->wait->has_ended);
	mutex_unlock(&f->wait->lock);
}

/* Returns 0 when it is under way; its waiter then counts it. */
static int small_start(struct fetcher *fetcher, size_t site, int timeout_ms,
	const struct small_object *object, struct small_fetch *f)
{
	char *url = url_join(upstream_url(fetcher->upstream, site), object->path);

	if (!url)
		return -ENOMEM;
	f->start_ns = clock_mono_ns();
	f->body = (struct buffer)BUFFER_INIT(object->max_bytes);
	f->transfer = (struct transfer){.url = url,
		.length = object->max_bytes,
		.class = FETCH_DEMAND,
		.timeout_ms = timeout_ms,
		.site = site,
		.pace_bytes = object->max_bytes, /* all of it: somebody waits */
		.known = object->known,
		.arg = f,
		.on_data = on_small_data,
		.on_done = on_small_done};
	upstream_count_request(fetcher->upstream);
	mutex_lock(&f->wait->lock);
	f->wait->left++;
	mutex_unlock(&f->wait->lock);
	int r = transport_start(fetcher->transport, &f->transfer);

	if (r == 0)
		return 0;
	mutex_lock(&f->wait->lock);
	f->wait->left--;
	mutex_unlock(&f->wait->lock);
	return r;
}

static void small_report(struct fetcher *fetcher, size_t site, const char *path,
	const struct small_fetch *f)
{
	const struct transfer_result *result = &f->result;

	if (result->error == 0)
		upstream_succeeded(
			fetcher->upstream, site, result->latency_ns, result->bytes);
	else if (result->error == -ENOENT)
		upstream_missing(fetcher->upstream, site, path, result->reason);
	else if (result->error != -ECANCELED && result->error != -ENOMEM)
		upstream_failed(fetcher->upstream, site, UPSTREAM_FAILS, f->start_ns,
			path, result->reason);
}

static void small_end(struct fetcher *fetcher, size_t site, struct small_fetch *f,
	struct small_object *object)
{
	const struct transfer_result *result = &f->result;

	small_report(fetcher, site, object->path, f);
	object->error = result->error;
	object->is_unchanged = result->is_unchanged;
	object->version = result->version;
	(void)snprintf(object->reason, sizeof(object->reason), "%s", result->reason);
	if (object->error == 0 && !object->is_unchanged)
		object->error = buffer_add(object->out, f->body.data, f->body.len);
	buffer_release(&f->body);
	free((char *)(uintptr_t)f->transfer.url);
}

void fetcher_fetch_together(struct fetcher *fetcher, size_t site, int timeout_ms,
	struct small_object *objects, size_t count)
{
	struct small_fetch fetches[SMALL_OBJECTS_MAX] = {0};
	struct small_wait wait = {0};

	mutex_init(&wait.lock);
	condition_init(&wait.has_ended);
	for (size_t i = 0; i < count; i++) {
		fetches[i].wait = &wait;
		int r = small_start(fetcher, site, timeout_ms, &objects[i], &fetches[i]);

		/* else it has begun, and may be over already */
		if (r < 0)
			fetches[i].result.error = r;
	}
	mutex_lock(&wait.lock);
	while (wait.left)
		condition_wait(&wait.has_ended, &wait.lock);
	mutex_unlock(&wait.lock);
	for (size_t i = 0; i < count; i++)
		small_end(fetcher, site, &fetches[i], &objects[i]);
	condition_release(&wait.has_ended);
	mutex_release(&wait.lock);
}

int fetcher_fetch_small_from(struct fetcher *fetcher, size_t site, const char *path,
	size_t max_bytes, int timeout_ms, struct buffer *out,
	char reason[TRANSFER_REASON_SIZE])
{
	struct small_object object = {.path = path, .max_bytes = max_bytes, .out = out};

	fetcher_fetch_together(fetcher, site, timeout_ms, &object, 1);
	(void)snprintf(reason, TRANSFER_REASON_SIZE, "%s", object.reason);
	return object.error;
}

int fetcher_fetch_small(struct fetcher *fetcher, const char *path, size_t max_bytes,
	int timeout_ms, struct buffer *out, char reason[TRANSFER_REASON_SIZE])
{
	bool is_missing_everywhere = upstream_count(fetcher->upstream) > 0;

	(void)snprintf(reason, TRANSFER_REASON_SIZE, "there is no source");
	for (size_t i = 0; i < upstream_count(fetcher->upstream); i++) {
		int r = fetcher_fetch_small_from(
			fetcher, i, path, max_bytes, timeout_ms, out, reason);

		if (r == 0 || r == -ECANCELED || r == -ENOMEM)
			return r;
		if (r != -ENOENT)
			is_missing_everywhere = false;
	}
	return is_missing_everywhere ? -ENOENT : -EHOSTUNREACH;
}
