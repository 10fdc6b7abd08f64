/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/fetch_job.h"

#include "cache/base/data/compress.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/catalog/stored/catalog_codec.h"
#include "sync/mirror/transport/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* When all sources have been dead for long, a request gets this much, once. */
#define QUICK_TIMEOUT_MS 2000

/* And nothing if another one has failed so recently. */
#define QUICK_PAUSE_NS (NS_PER_SEC / 2)

/* A reader waits: it does not sit out a long back-off. Nor does read-ahead: the reader gets
 * there and joins it. */
#define READER_WAIT_MAX_NS NS_PER_SEC

/* With another source to turn to, waiting for this one is cut short: a share of what a
 * reader waits for must come in the same share of the time that the reader has. */
#define PATIENCE_SHARE 3

#define LIES_OF_ONLY_SOURCE 2

struct fetch_job {
	struct fetcher *fetcher;
	struct frame_request *frames; /* one of these two */
	struct catalog_request *catalog;
	enum fetch_class class; /* see job_class() */
	const atomic_bool *is_awaited;
	int64_t deadline_ns;
	int64_t patience_ns;	  /* from the request to the deadline */
	bool is_begun_for_reader; /* who has joined */
	char object[OBJECT_PATH_SIZE];

	/* sources that gave wrong bytes, that have no such object */
	uint32_t lied;
	uint32_t missing;
	uint32_t slow; /* that were given up in favour of another one */
	unsigned int lies;
	unsigned int tries;
	bool is_quick;

	/* this try */
	size_t site;
	bool is_patient; /* there is no other source to turn to */
	char *url;
	struct transfer transfer;
	struct transfer_result result;
	int64_t queued_ns;
	int64_t start_ns;

	/* what arrives, on the transport's thread: the frame being filled, or the catalog. A
	 * try that had to give way leaves its beginning to the next one at the same site */
	size_t next_frame;
	struct frame_work *filling;
	uint8_t *stored;
	size_t filled;
	size_t filling_site;

	struct work step;
	atomic_uint outstanding; /* the transfer and frames at the workers */
	atomic_int fatal;	 /* the receiver's own error */
	atomic_bool has_lied;

	bool accepted[]; /* by frame; each is written by one worker */
};

struct frame_work {
	struct work work;
	struct fetch_job *job;
	size_t index;
	uint8_t data[]; /* stored_bytes */
};

void object_path(
	const char *kind, const struct digest *digest, char out[OBJECT_PATH_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_to_hex(digest, hex);
	(void)snprintf(out, OBJECT_PATH_SIZE, "%s/%.2s/%s", kind, hex, hex);
}

/* A reader may join what was asked for ahead of it. */
static enum fetch_class job_class(const struct fetch_job *job)
{
	return atomic_load(job->is_awaited) ? FETCH_DEMAND : job->class;
}

/* In the background it waits for its turn as long as it takes. */
static void job_renew_deadline(struct fetch_job *job)
{
	if (__builtin_add_overflow(clock_mono_ns(), job->patience_ns, &job->deadline_ns))
		job->deadline_ns = INT64_MAX;
}

static void job_end(struct fetch_job *job, int error)
{
	struct frame_request *frames = job->frames;
	struct catalog_request *catalog = job->catalog;

	free(job->url);
	free(job->stored);
	free(job->filling);
	free(job);
	if (frames)
		frames->done(frames, error);
	else
		catalog->done(catalog, error);
}

static void job_step(struct fetch_job *job);

static void run_step(struct work *work)
{
	job_step((struct fetch_job *)((char *)work - offsetof(struct fetch_job, step)));
}

static void job_set_fatal(struct fetch_job *job, int error)
{
	int none = 0;

	(void)atomic_compare_exchange_strong(&job->fatal, &none, error);
}

/* On a worker: the last one out takes the next step. */
static void job_release(struct fetch_job *job)
{
	if (atomic_fetch_sub(&job->outstanding, 1) == 1)
		job_step(job);
}

/* Decodes a frame and gives it to the receiver. */
static int frame_deliver(struct frame_request *rq, const struct frame_work *w)
{
	const struct catalog_frame *frame = &rq->frames[w->index];
	AUTO_FREE uint8_t *raw = NULL;

	if (frame->flags & CATALOG_FRAME_RAW)
		return rq->deliver(rq, w->index, w->data);
	raw = mem_alloc(frame->raw_bytes);
	if (!raw)
		return -ENOMEM;
	int r = compress_decode(w->data, frame->stored_bytes, raw, frame->raw_bytes);

	return r < 0 ? r : rq->deliver(rq, w->index, raw);
}

static void run_frame(struct work *work)
{
	struct frame_work *w =
		(struct frame_work *)((char *)work - offsetof(struct frame_work, work));
	struct fetch_job *job = w->job;
	int r = frame_deliver(job->frames, w);

	if (r == 0)
		job->accepted[w->index] = true;
	else if (r == -EBADMSG)
		atomic_store(&job->has_lied, true);
	else
		job_set_fatal(job, r);
	free(w);
	job_release(job);
}

static bool job_is_lost(struct fetch_job *job)
{
	return atomic_load(&job->has_lied) || atomic_load(&job->fatal);
}

/* Takes what belongs to the frame being filled. Returns how much, or -ENOMEM. */
static ssize_t fill_frame(struct fetch_job *job, const uint8_t *data, size_t len)
{
	const struct catalog_frame *frame = &job->frames->frames[job->next_frame];
	struct frame_work *w = job->filling;

	if (!w) {
		w = mem_alloc(sizeof(*w) + frame->stored_bytes);
		if (!w)
			return -ENOMEM;
		w->work = (struct work){.run = run_frame,
			.bytes = frame->stored_bytes,
			.class = job_class(job)};
		w->job = job;
		w->index = job->next_frame;
		job->filling = w;
		job->filled = 0;
	}
	if (len > frame->stored_bytes - job->filled)
		len = frame->stored_bytes - job->filled;
	memcpy(w->data + job->filled, data, len);
	job->filled += len;
	if (job->filled == frame->stored_bytes) {
		job->filling = NULL;
		job->next_frame++;
		(void)atomic_fetch_add(&job->outstanding, 1);
		worker_pool_add(job->fetcher->pool, &w->work);
	}
	return (ssize_t)len;
}

/* In a long queue things change: the deadline passes, or others find the source dead. */
static int on_start(struct transfer *t)
{
	struct fetch_job *job = t->arg;
	struct upstream *u = job->fetcher->upstream;

	bool is_joined = job->class != FETCH_DEMAND && atomic_load(job->is_awaited);

	/* the reader may have come after hours before a closed window: once, it is counted from there */
	if (is_joined ? !job->is_begun_for_reader : job->class == FETCH_BACKGROUND)
		job_renew_deadline(job);
	job->is_begun_for_reader = is_joined;
	if (clock_mono_ns() > job->deadline_ns)
		return -EAGAIN;
	if (upstream_count(u) > 1 && upstream_failed_since(u, job->site, job->queued_ns))
		return -EAGAIN;
	job->start_ns = clock_mono_ns();
	return 0;
}

static int on_frame_data(struct transfer *t, const uint8_t *data, size_t len)
{
	struct fetch_job *job = t->arg;

	/* a local file would be read to its end first */
	if (job_is_lost(job) || atomic_load(&job->fetcher->is_stopping))
		return -ECANCELED;
	if (worker_pool_is_full(job->fetcher->pool, job_class(job))) {
		/* curl reads a local file in one go, whatever it is told */
		if (!url_is_file(t->url))
			return TRANSFER_PAUSE;
		worker_pool_wait_room(job->fetcher->pool, job_class(job));
	}
	while (len) {
		ssize_t n = fill_frame(job, data, len);

		if (n < 0)
			return (int)n;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int on_catalog_data(struct transfer *t, const uint8_t *data, size_t len)
{
	struct fetch_job *job = t->arg;

	memcpy(job->stored + job->filled, data, len);
	job->filled += len;
	return 0;
}

static void on_done(struct transfer *t, const struct transfer_result *result)
{
	struct fetch_job *job = t->arg;

	job->result = *result;
	if (result->error != -EAGAIN && !(job->catalog && result->error == 0)) {
		free(job->filling);
		job->filling = NULL;
		job->filled = 0;
	}
	job->filling_site = job->site;
	if (atomic_fetch_sub(&job->outstanding, 1) == 1)
		worker_pool_add(job->fetcher->pool, &job->step);
}

/* A catalog is checked whole before anybody sees it. */
static int catalog_deliver(struct fetch_job *job)
{
	struct catalog_request *rq = job->catalog;
	struct digest digest;
	AUTO_FREE uint8_t *raw = mem_alloc(rq->ref.raw_bytes);

	if (!raw)
		return -ENOMEM;
	int r = catalog_decode(job->stored, rq->ref.stored_bytes, raw, rq->ref.raw_bytes);

	if (r == 0)
		r = digest_of(raw, rq->ref.raw_bytes, &digest);
	if (r < 0)
		return r;
	if (!digest_equal(&digest, &rq->ref.digest))
		return -EBADMSG;
	free(job->stored);
	job->stored = NULL;
	return rq->deliver(rq, raw);
}

/* The frames [first, first + count) that are still to come and lie in one piece. */
static size_t missing_run(const struct fetch_job *job, size_t *out_first)
{
	size_t first = 0;
	size_t count = 0;

	while (first < job->frames->frame_count && job->accepted[first])
		first++;
	while (first + count < job->frames->frame_count && !job->accepted[first + count])
		count++;
	*out_first = first;
	return count;
}

/* In the background little is asked for at a time: what is on its way cannot give way. */
static uint64_t piece_bytes(const struct fetch_job *job)
{
	return job_class(job) == FETCH_BACKGROUND
		       ? transport_piece_bytes(job->fetcher->background)
		       : UINT64_MAX;
}

/* As many of `count` frames as make a piece, but one at least. */
static size_t limit_frames(
	const struct catalog_frame *frames, size_t count, uint64_t piece)
{
	uint64_t bytes = frames[0].stored_bytes;
	size_t n = 1;

	while (n < count && bytes + frames[n].stored_bytes <= piece)
		bytes += frames[n++].stored_bytes;
	return n;
}

static int try_frames(struct fetch_job *job)
{
	const struct catalog_frame *frames = job->frames->frames;
	size_t first;
	size_t count = missing_run(job, &first);

	count = limit_frames(frames + first, count, piece_bytes(job));
	const struct catalog_frame *last = &frames[first + count - 1];

	if (job->filling &&
		(job->filling->index != first || job->filling_site != job->site)) {
		free(job->filling);
		job->filling = NULL;
	}
	if (!job->filling)
		job->filled = 0;
	job->next_frame = first;
	job->transfer.is_range = true;
	job->transfer.offset = frames[first].offset + job->filled;
	job->transfer.length = last->offset + last->stored_bytes - job->transfer.offset;
	job->transfer.on_data = on_frame_data;
	return 0;
}

static int try_catalog(struct fetch_job *job)
{
	uint64_t size = job->catalog->ref.stored_bytes;
	uint64_t piece = piece_bytes(job);

	if (!job->stored)
		job->stored = mem_alloc(size);
	if (!job->stored)
		return -ENOMEM;
	if (job->filling_site != job->site)
		job->filled = 0;
	job->transfer.offset = job->filled;
	job->transfer.length = size - job->filled < piece ? size - job->filled : piece;
	job->transfer.is_range = job->transfer.length < size;
	job->transfer.is_exact = !job->transfer.is_range;
	job->transfer.on_data = on_catalog_data;
	return 0;
}

/* How much must come within the time-out. Somebody waits for all of a demand; of what is
 * read ahead, for a frame now and then, and those who read ahead share the line. */
static uint64_t goal_bytes(const struct fetch_job *job)
{
	if (job_class(job) == FETCH_BACKGROUND)
		return 0;
	if (job_class(job) == FETCH_READ_AHEAD && job->transfer.length > FRAME_MAX_BYTES)
		return FRAME_MAX_BYTES;
	return job->transfer.length;
}

static void limit_patience(struct fetch_job *job)
{
	struct transfer *t = &job->transfer;

	if (!job->is_patient) {
		t->timeout_ms /= PATIENCE_SHARE;
		t->pace_bytes = goal_bytes(job) / PATIENCE_SHARE;
	}
	if (job->is_quick && t->timeout_ms > QUICK_TIMEOUT_MS)
		t->timeout_ms = QUICK_TIMEOUT_MS;
}

/* Starts a try at `site`. On failure the job still belongs to the caller. */
static int job_start(struct fetch_job *job, size_t site, int64_t from_ns)
{
	struct fetcher *fetcher = job->fetcher;
	int64_t now_ns = clock_mono_ns();

	job->site = site;
	job->queued_ns = now_ns;
	job->start_ns = from_ns > now_ns ? from_ns : now_ns;
	job->tries++;
	free(job->url);
	job->url = url_join(upstream_url(fetcher->upstream, site), job->object);
	if (!job->url)
		return -ENOMEM;
	job->transfer = (struct transfer){
		.url = job->url,
		.class = job->class,
		.is_awaited = job->is_awaited,
		.site = site,
		.not_before_ns = from_ns,
		.timeout_ms = fetcher->timeout_ms,
		.arg = job,
		.on_start = on_start,
		.on_done = on_done,
	};
	int r = job->frames ? try_frames(job) : try_catalog(job);

	if (r < 0)
		return r;
	limit_patience(job);
	atomic_store(&job->has_lied, false);
	atomic_store(&job->outstanding, 1);
	upstream_count_request(fetcher->upstream);
	return transport_start(job_class(job) == FETCH_BACKGROUND ? fetcher->background
								  : fetcher->transport,
		&job->transfer);
}

/* The best source that may have the object. One that was given up as too slow is taken
 * again, with patience, once there is none that could do better at once. */
static int job_pick(struct fetch_job *job, size_t *out_site, int64_t *out_from_ns)
{
	struct upstream *u = job->fetcher->upstream;
	uint32_t avoid = job->lied | job->missing;
	size_t site = 0;
	int r = upstream_pick(u, avoid | job->slow, &site, out_from_ns);

	if (job->slow && (r < 0 || *out_from_ns > clock_mono_ns()))
		r = upstream_pick(u, avoid, &site, out_from_ns);
	uint32_t all = (UINT32_C(1) << upstream_count(u)) - 1;
	uint32_t bit = UINT32_C(1) << site;

	job->is_patient = (job->slow & bit) || !(all & ~(avoid | job->slow | bit));
	*out_site = site;
	return r;
}

/* Which source and when; or the error that ends the job. */
static int job_choose(struct fetch_job *job, size_t *out_site, int64_t *out_from_ns)
{
	struct upstream *u = job->fetcher->upstream;
	int64_t now_ns = clock_mono_ns();

	if (upstream_count(u) == 0 || now_ns > job->deadline_ns)
		return -EHOSTUNREACH;
	int r = job_pick(job, out_site, out_from_ns);

	if (r < 0) {
		if (!job->lied)
			return -ENOENT;
		if (upstream_count(u) > 1 || job->lies >= LIES_OF_ONLY_SOURCE)
			return -EBADMSG;
		*out_site = 0;
		*out_from_ns = 0;
		return 0;
	}
	if (job->is_quick)
		return -EHOSTUNREACH;
	if (job->tries == 0 &&
		upstream_is_dead(u, job->fetcher->timeout_ms * NS_PER_MS)) {
		if (now_ns - upstream_last_failure_ns(u) < QUICK_PAUSE_NS)
			return -EHOSTUNREACH;
		job->is_quick = true;
		*out_from_ns = 0;
	}
	if (job_class(job) != FETCH_BACKGROUND &&
		*out_from_ns > now_ns + READER_WAIT_MAX_NS)
		*out_from_ns = now_ns + READER_WAIT_MAX_NS;
	return *out_from_ns > job->deadline_ns ? -EHOSTUNREACH : 0;
}

/* Returns 0 when a try is under way, else what the job ends with. */
static int job_try(struct fetch_job *job)
{
	size_t site;
	int64_t from_ns;
	int r = job_choose(job, &site, &from_ns);

	return r < 0 ? r : job_start(job, site, from_ns);
}

/* The source did not bring it all; another one may, or this one later. */
static void job_blame(struct fetch_job *job)
{
	const struct transfer_result *result = &job->result;
	bool is_slow = result->is_slow && !job->is_patient;

	if (result->error == -ETIMEDOUT && !job->is_patient)
		job->slow |= UINT32_C(1) << job->site;
	upstream_failed(job->fetcher->upstream, job->site,
		is_slow ? UPSTREAM_SLOW : UPSTREAM_FAILS, job->start_ns, job->object,
		result->reason);
}

static bool job_is_whole_catalog(const struct fetch_job *job)
{
	return job->catalog && job->result.error == 0 &&
	       job->filled == job->catalog->ref.stored_bytes;
}

/* Judges the try that is over. Returns 1 if all is there, 0 for another try, or -errno.
 */
static int job_judge(struct fetch_job *job)
{
	struct upstream *u = job->fetcher->upstream;
	size_t first;

	if (atomic_load(&job->fetcher->is_stopping))
		return -ECANCELED;
	if (job_is_whole_catalog(job)) {
		int r = catalog_deliver(job);

		if (r == -EBADMSG)
			atomic_store(&job->has_lied, true);
		else if (r < 0)
			job_set_fatal(job, r);
	}
	if (atomic_load(&job->fatal))
		return atomic_load(&job->fatal);
	if (atomic_load(&job->has_lied)) {
		job->lied |= UINT32_C(1) << job->site;
		job->lies++;
		if (job->catalog)
			job->filled = 0;
		upstream_failed(u, job->site, UPSTREAM_LIES, job->start_ns, job->object,
			"the bytes are not what the catalog says");
		return 0;
	}
	switch (job->result.error) {
	case 0:
		upstream_succeeded(
			u, job->site, job->result.latency_ns, job->result.bytes);
		job->is_quick = false;
		job_renew_deadline(job);
		return job->catalog ? job_is_whole_catalog(job)
				    : missing_run(job, &first) == 0;
	case -ENOENT:
		job->missing |= UINT32_C(1) << job->site;
		upstream_missing(u, job->site, job->object, job->result.reason);
		return 0;
	case -EAGAIN: /* it never began, or gave way */
		if (job->result.bytes)
			upstream_succeeded(
				u, job->site, job->result.latency_ns, job->result.bytes);
		return 0;
	case -ENOMEM:
	case -ECANCELED:
		return job->result.error;
	default:
		job_blame(job);
		/* it may have failed after the last frame */
		return job->frames && missing_run(job, &first) == 0;
	}
}

static void job_step(struct fetch_job *job)
{
	/* set before the first try: an error for which the asking thread may not call
	 * done() */
	int r = atomic_load(&job->fatal);

	if (r == 0)
		r = job_judge(job);
	if (r == 0) {
		r = job_try(job);
		if (r == 0)
			return;
	}
	job_end(job, r < 0 ? r : 0);
}

/* The catalogs were checked when they landed, but lengths are what memory is taken by. */
static bool frames_are_sane(const struct frame_request *rq)
{
	for (size_t i = 0; i < rq->frame_count; i++) {
		const struct catalog_frame *f = &rq->frames[i];

		if (f->stored_bytes == 0 ||
			f->stored_bytes > compress_bound(FRAME_MAX_BYTES) ||
			f->raw_bytes == 0 || f->raw_bytes > FRAME_MAX_BYTES ||
			f->offset > rq->pack_bytes ||
			f->stored_bytes > rq->pack_bytes - f->offset)
			return false;
		if (f->flags & CATALOG_FRAME_RAW && f->stored_bytes != f->raw_bytes)
			return false;
		if (i && f->offset != rq->frames[i - 1].offset +
					      rq->frames[i - 1].stored_bytes)
			return false;
	}
	return rq->frame_count > 0;
}

/* done() may not be called here, so there is no way to report that this fails: a request
 * is bounded and small, and memory of that size comes back as other requests end. */
static struct fetch_job *job_new(struct fetcher *fetcher, size_t frame_count)
{
	static const struct timespec pause = {.tv_nsec = NS_PER_MS};
	struct fetch_job *job;

	while (!(job = mem_calloc(1, sizeof(*job) + frame_count * sizeof(bool))))
		(void)nanosleep(&pause, NULL);
	job->fetcher = fetcher;
	job->step.run = run_step;
	return job;
}

static void job_begin(struct fetch_job *job, int error)
{
	job->patience_ns = job->deadline_ns - clock_mono_ns();
	job->step.class = job->class;
	if (error == 0 && atomic_load(&job->fetcher->is_stopping))
		error = -ECANCELED;
	if (error == 0)
		error = job_try(job);
	if (error == 0)
		return;
	job_set_fatal(job, error);
	worker_pool_add(job->fetcher->pool, &job->step);
}

void fetch_job_frames(struct fetcher *fetcher, struct frame_request *rq)
{
	struct fetch_job *job = job_new(fetcher, rq->frame_count);

	job->frames = rq;
	job->class = rq->class;
	job->is_awaited = &rq->is_awaited;
	job->deadline_ns = rq->deadline_ns;
	object_path("pack", &rq->pack, job->object);
	job_begin(job, frames_are_sane(rq) ? 0 : -EBADMSG);
}

void fetch_job_catalog(struct fetcher *fetcher, struct catalog_request *rq)
{
	struct fetch_job *job = job_new(fetcher, 0);
	const struct catalog_ref *ref = &rq->ref;
	bool is_sane = ref->stored_bytes > 0 && ref->stored_bytes <= CATALOG_MAX_BYTES &&
		       ref->raw_bytes > 0 && ref->raw_bytes <= CATALOG_MAX_BYTES;

	job->catalog = rq;
	job->class = rq->class;
	job->is_awaited = &rq->is_awaited;
	job->deadline_ns = rq->deadline_ns;
	object_path("catalog", &ref->digest, job->object);
	job_begin(job, is_sane ? 0 : -EBADMSG);
}
