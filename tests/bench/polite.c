/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * polite: background transfers from a web server, and what readers notice of them.
 *
 *   polite URL DIGEST BYTES [--rate none|unlimited|idle|N] [--warm-s N] [--seconds N]
 *          [--demands N] [--demand-kib N]
 *
 * URL/pack/<aa>/DIGEST is a file of BYTES bytes: of anything, nothing is decoded. Fetches it over
 * and over in the background (none: not at all) at N bytes a second, for --warm-s seconds (2) and
 * then for --seconds (10); or, with --demands, until N demands of --demand-kib (64) have been
 * made, one every half second.
 *
 * Prints rate=BYTES-A-SECOND demand_ms=MEDIAN worst_ms=MOST late_bytes=N. late_bytes: what the
 * background was given, at most, from 100 ms after a demand began until it ended.
 */
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "sync/mirror/fetcher.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME_BYTES    (64 * 1024)
#define REQUEST_FRAMES 64
#define REQUESTS       6
#define DEMANDS_MAX    1000
#define PAUSE_US       500000
#define GRACE_NS       (100 * NS_PER_MS)

struct polite;

struct request {
	struct frame_request rq;
	struct polite *polite;
};

struct polite {
	struct source *source;
	struct digest pack;
	uint64_t pack_bytes;
	struct catalog_frame *frames;
	size_t frame_count;
	struct request requests[REQUESTS];
	struct request demand;

	struct mutex lock; /* guards what follows */
	struct condition changed;
	size_t next; /* frame to be fetched in the background */
	size_t running;
	bool is_stopping;
	bool has_failed;
	uint64_t bytes;
	bool is_demanding;
	int64_t demand_ns; /* when it began */
	uint64_t late_bytes;
};

static int take(struct frame_request *rq, size_t index, const uint8_t *data)
{
	struct polite *p = ((struct request *)rq)->polite;

	(void)data;
	mutex_lock(&p->lock);
	if (rq != &p->demand.rq) {
		p->bytes += rq->frames[index].stored_bytes;
		if (p->is_demanding && clock_mono_ns() - p->demand_ns > GRACE_NS)
			p->late_bytes += rq->frames[index].stored_bytes;
	}
	mutex_unlock(&p->lock);
	return 0;
}

static void begin(struct polite *p, struct request *r, size_t first, size_t count)
{
	r->rq.frames = p->frames + first;
	r->rq.frame_count = count;
	r->rq.deadline_ns = clock_mono_ns() + 60 * NS_PER_SEC;
	source_fetch_frames(p->source, &r->rq);
}

static size_t next_locked(struct polite *p) REQUIRES(p->lock)
{
	size_t first = p->next;

	p->next += REQUEST_FRAMES;
	if (p->next + REQUEST_FRAMES > p->frame_count)
		p->next = 0;
	return first;
}

static void over(struct frame_request *rq, int error)
{
	struct polite *p = ((struct request *)rq)->polite;

	mutex_lock(&p->lock);
	if (error && !p->is_stopping)
		p->has_failed = true;
	bool goes_on = rq != &p->demand.rq && !p->is_stopping && !p->has_failed;
	size_t first = goes_on ? next_locked(p) : 0;

	if (!goes_on) {
		p->running -= rq != &p->demand.rq;
		p->is_demanding = p->is_demanding && rq != &p->demand.rq;
		condition_signal(&p->changed);
	}
	mutex_unlock(&p->lock);
	if (goes_on)
		begin(p, (struct request *)rq, first, REQUEST_FRAMES);
}

static void prepare(struct polite *p, struct request *r, enum fetch_class class)
{
	r->polite = p;
	r->rq = (struct frame_request){.pack = p->pack,
		.pack_bytes = p->pack_bytes,
		.class = class,
		.deliver = take,
		.done = over};
}

static void start_background(struct polite *p)
{
	for (size_t i = 0; i < REQUESTS; i++) {
		prepare(p, &p->requests[i], FETCH_BACKGROUND);
		mutex_lock(&p->lock);
		size_t first = next_locked(p);

		p->running++;
		mutex_unlock(&p->lock);
		begin(p, &p->requests[i], first, REQUEST_FRAMES);
	}
}

/* Milliseconds. */
static double demand_once(struct polite *p, size_t first, size_t count)
{
	prepare(p, &p->demand, FETCH_DEMAND);
	mutex_lock(&p->lock);
	p->is_demanding = true;
	p->demand_ns = clock_mono_ns();
	mutex_unlock(&p->lock);
	begin(p, &p->demand, first, count);
	mutex_lock(&p->lock);
	while (p->is_demanding)
		condition_wait(&p->changed, &p->lock);
	double ms = (double)(clock_mono_ns() - p->demand_ns) / (double)NS_PER_MS;

	mutex_unlock(&p->lock);
	return ms;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static void make_demands(struct polite *p, size_t count, size_t frames,
	double *out_median, double *out_worst)
{
	static double ms[DEMANDS_MAX];

	for (size_t i = 0; i < count; i++) {
		usleep(PAUSE_US);
		ms[i] = demand_once(p, i * frames % (p->frame_count - frames), frames);
	}
	qsort(ms, count, sizeof(ms[0]), compare);
	*out_median = ms[count / 2];
	*out_worst = ms[count - 1];
}

static uint64_t bytes_until_now(struct polite *p)
{
	mutex_lock(&p->lock);
	uint64_t bytes = p->bytes;

	mutex_unlock(&p->lock);
	return bytes;
}

static int make_frames(struct polite *p)
{
	p->frame_count = p->pack_bytes / FRAME_BYTES;
	if (p->frame_count <= REQUEST_FRAMES)
		return -1;
	p->frames = mem_calloc(p->frame_count, sizeof(*p->frames));
	if (!p->frames)
		return -1;
	for (size_t i = 0; i < p->frame_count; i++)
		p->frames[i] = (struct catalog_frame){.offset = i * FRAME_BYTES,
			.stored_bytes = FRAME_BYTES,
			.raw_bytes = FRAME_BYTES,
			.flags = CATALOG_FRAME_RAW};
	return 0;
}

struct options {
	const char *rate;
	unsigned int warm_s;
	unsigned int seconds;
	size_t demands;
	size_t demand_frames;
};

static int measure(struct polite *p, const struct options *o)
{
	struct rate_limit limit = {.kind = RATE_FIXED};
	double median = 0;
	double worst = 0;

	if (strcmp(o->rate, "idle") == 0)
		limit.kind = RATE_IDLE;
	else if (strcmp(o->rate, "unlimited") == 0)
		limit.kind = RATE_UNLIMITED;
	else
		limit.bytes_per_sec = strtoull(o->rate, NULL, 10);
	source_set_background(p->source, &limit, false);
	/* a reader's connection is open already, as a mirror's is */
	(void)demand_once(p, 0, 1);
	if (strcmp(o->rate, "none") != 0)
		start_background(p);
	sleep(o->warm_s);
	int64_t from_ns = clock_mono_ns();
	uint64_t before = bytes_until_now(p);

	mutex_lock(&p->lock);
	p->late_bytes = 0;
	mutex_unlock(&p->lock);
	if (o->demands)
		make_demands(p, o->demands, o->demand_frames, &median, &worst);
	else
		sleep(o->seconds);
	double seconds = (double)(clock_mono_ns() - from_ns) / (double)NS_PER_SEC;

	(void)printf("rate=%.0f demand_ms=%.1f worst_ms=%.1f late_bytes=%" PRIu64 "\n",
		(double)(bytes_until_now(p) - before) / seconds, median, worst,
		p->late_bytes);
	mutex_lock(&p->lock);
	p->is_stopping = true;
	mutex_unlock(&p->lock);
	return p->has_failed ? 1 : 0;
}

static int parse(int argc, char **argv, struct polite *p, struct options *o)
{
	static const struct option long_options[] = {
		{"rate", required_argument, NULL, 'r'},
		{"warm-s", required_argument, NULL, 'w'},
		{"seconds", required_argument, NULL, 's'},
		{"demands", required_argument, NULL, 'd'},
		{"demand-kib", required_argument, NULL, 'k'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		unsigned long n = optarg ? strtoul(optarg, NULL, 10) : 0;

		if (c == 'r')
			o->rate = optarg;
		else if (c == 'w')
			o->warm_s = (unsigned int)n;
		else if (c == 's')
			o->seconds = (unsigned int)n;
		else if (c == 'd' && n < DEMANDS_MAX)
			o->demands = n;
		else if (c == 'k' && n >= FRAME_BYTES / 1024)
			o->demand_frames = n * 1024 / FRAME_BYTES;
		else
			return -1;
	}
	if (optind + 3 != argc || digest_from_hex(argv[optind + 1], &p->pack) < 0)
		return -1;
	p->pack_bytes = strtoull(argv[optind + 2], NULL, 10);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = {
		.rate = "unlimited", .warm_s = 2, .seconds = 10, .demand_frames = 1};
	struct polite p = {0};
	struct fetcher *fetcher = NULL;

	if (parse(argc, argv, &p, &o) < 0 || make_frames(&p) < 0 ||
		o.demand_frames >= p.frame_count) {
		(void)fputs("usage: polite URL DIGEST BYTES [--rate "
			    "none|unlimited|idle|N] [--warm-s N] "
			    "[--seconds N] [--demands N] [--demand-kib N]\n",
			stderr);
		return 2;
	}
	const struct fetcher_config config = {.urls = argv[optind]};

	if (fetcher_new(&config, &fetcher) < 0)
		return 1;
	p.source = fetcher_source(fetcher);
	mutex_init(&p.lock);
	condition_init(&p.changed);
	int r = measure(&p, &o);

	fetcher_free(fetcher);
	condition_release(&p.changed);
	mutex_release(&p.lock);
	free(p.frames);
	return r;
}
