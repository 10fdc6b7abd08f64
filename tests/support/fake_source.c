/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/fake_source.h"

#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "cache/base/threads/thread.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WORKERS	   2
#define SERVED_MAX 4096
#define PATIENCE   (120 * NS_PER_SEC)

struct job {
	struct job *next;
	struct frame_request *frames; /* one of the two */
	struct catalog_request *catalog;
};

struct served {
	const struct built_catalog *built;
	unsigned int *counts; /* by frame */
};

struct fake_source {
	struct source source; /* first */
	pthread_t threads[WORKERS];
	struct mutex lock;
	struct condition changed;
	/* lock, all below */
	struct job *first;
	struct job *last;
	unsigned int queued;
	unsigned int busy;
	bool is_held;
	bool is_ending;
	int error;
	bool corrupts_once;
	bool corrupts_always;
	unsigned int cancelled; /* this many from the queue's front */
	struct served served[SERVED_MAX];
	size_t served_count;
	unsigned int frame_count;
	unsigned int catalog_count;
	unsigned int refused;
	uint64_t requests;
	uint64_t missing; /* of those, how many failed with -ENOENT */
};

static void enqueue(struct fake_source *fake, struct job job)
{
	struct job *j = malloc(sizeof(*j));

	if (!j)
		abort();
	*j = job;
	j->next = NULL;
	mutex_lock(&fake->lock);
	*(fake->last ? &fake->last->next : &fake->first) = j;
	fake->last = j;
	fake->queued++;
	fake->requests++;
	condition_broadcast(&fake->changed);
	mutex_unlock(&fake->lock);
}

static struct served *find_pack(struct fake_source *fake, const struct digest *pack)
	REQUIRES(fake->lock)
{
	for (size_t i = 0; i < fake->served_count; i++)
		if (digest_equal(&fake->served[i].built->pack, pack))
			return &fake->served[i];
	return NULL;
}

static const struct built_frame *find_frame(
	const struct served *s, const struct catalog_frame *frame, size_t *out_index)
{
	for (size_t i = 0; i < s->built->frame_count; i++) {
		if (s->built->frames[i].offset != frame->offset)
			continue;
		*out_index = i;
		return &s->built->frames[i];
	}
	return NULL;
}

/* Counts when a request comes, not when it is answered: held ones were asked for too. */
static void count_frames(struct fake_source *fake, const struct frame_request *rq)
{
	mutex_lock(&fake->lock);
	struct served *s = find_pack(fake, &rq->pack);

	for (size_t i = 0; s && i < rq->frame_count; i++) {
		size_t index;

		if (find_frame(s, &rq->frames[i], &index)) {
			s->counts[index]++;
			fake->frame_count++;
		}
	}
	mutex_unlock(&fake->lock);
}

static int deliver_one(struct fake_source *fake, struct frame_request *rq, size_t i,
	const struct built_frame *frame)
{
	uint8_t *copy = malloc(frame->length);
	int r = 0;

	if (!copy)
		abort();
	memcpy(copy, frame->data, frame->length);
	mutex_lock(&fake->lock);
	bool always = fake->corrupts_always;
	bool once = fake->corrupts_once;

	fake->corrupts_once = false;
	mutex_unlock(&fake->lock);
	if (once || always) {
		copy[frame->length / 2] ^= 0x10;
		r = rq->deliver(rq, i, copy);
		copy[frame->length / 2] ^= 0x10;
		mutex_lock(&fake->lock);
		fake->refused += r == -EBADMSG;
		mutex_unlock(&fake->lock);
	}
	if (!always && (r == 0 || r == -EBADMSG))
		r = rq->deliver(rq, i, copy);
	free(copy);
	return r;
}

static int answer_frames(struct fake_source *fake, struct frame_request *rq)
{
	mutex_lock(&fake->lock);
	const struct served *s = find_pack(fake, &rq->pack);

	mutex_unlock(&fake->lock);
	if (!s)
		return -ENOENT;
	for (size_t i = 0; i < rq->frame_count; i++) {
		size_t index;
		const struct built_frame *frame = find_frame(s, &rq->frames[i], &index);
		int r = frame ? deliver_one(fake, rq, i, frame) : -ENOENT;

		if (r < 0)
			return r;
	}
	return 0;
}

static int answer_catalog(struct fake_source *fake, struct catalog_request *rq)
{
	const struct built_catalog *found = NULL;

	mutex_lock(&fake->lock);
	fake->catalog_count++;
	for (size_t i = 0; i < fake->served_count; i++)
		if (digest_equal(&fake->served[i].built->ref.digest, &rq->ref.digest))
			found = fake->served[i].built;
	mutex_unlock(&fake->lock);
	return found ? rq->deliver(rq, found->data) : -ENOENT;
}

static void answer(struct fake_source *fake, const struct job *j, int error)
{
	if (j->frames) {
		int r = error ? error : answer_frames(fake, j->frames);

		j->frames->done(j->frames, r);
	} else {
		int r = error ? error : answer_catalog(fake, j->catalog);

		j->catalog->done(j->catalog, r);
	}
}

static void *work(void *arg)
{
	struct fake_source *fake = arg;

	mutex_lock(&fake->lock);
	for (;;) {
		while (!fake->is_ending &&
			(!fake->first || (fake->is_held && !fake->cancelled)))
			condition_wait(&fake->changed, &fake->lock);
		if (!fake->first)
			break;
		struct job *j = fake->first;
		int error = fake->is_ending || fake->cancelled ? -ECANCELED : fake->error;

		fake->missing += error == -ENOENT;

		fake->first = j->next;
		if (!fake->first)
			fake->last = NULL;
		if (fake->cancelled)
			fake->cancelled--;
		fake->queued--;
		fake->busy++;
		mutex_unlock(&fake->lock);
		answer(fake, j, error);
		free(j);
		mutex_lock(&fake->lock);
		fake->busy--;
		condition_broadcast(&fake->changed);
	}
	mutex_unlock(&fake->lock);
	return NULL;
}

static void fetch_frames(struct source *source, struct frame_request *rq)
{
	count_frames((struct fake_source *)source, rq);
	enqueue((struct fake_source *)source, (struct job){.frames = rq});
}

static void fetch_catalog(struct source *source, struct catalog_request *rq)
{
	enqueue((struct fake_source *)source, (struct job){.catalog = rq});
}

static void status(struct source *source, struct source_status *out)
{
	struct fake_source *fake = (struct fake_source *)source;

	*out = (struct source_status){0};
	mutex_lock(&fake->lock);
	out->is_online = fake->error == 0;
	out->requests = fake->requests;
	out->missing = fake->missing;
	(void)snprintf(out->missing_last, sizeof(out->missing_last), "%s",
		fake->missing ? "fake://depot: HTTP 404" : "");
	mutex_unlock(&fake->lock);
	(void)snprintf(out->url, sizeof(out->url), "fake://depot");
}

struct fake_source *fake_source_new(void)
{
	static const struct source_ops ops = {.fetch_frames = fetch_frames,
		.fetch_catalog = fetch_catalog,
		.status = status};
	struct fake_source *fake = calloc(1, sizeof(*fake));

	if (!fake)
		abort();
	fake->source.ops = &ops;
	mutex_init(&fake->lock);
	condition_init(&fake->changed);
	for (size_t i = 0; i < WORKERS; i++)
		if (thread_start(&fake->threads[i], "fake-source", work, fake) < 0)
			abort();
	return fake;
}

void fake_source_free(struct fake_source *fake)
{
	if (!fake)
		return;
	mutex_lock(&fake->lock);
	fake->is_ending = true;
	condition_broadcast(&fake->changed);
	mutex_unlock(&fake->lock);
	for (size_t i = 0; i < WORKERS; i++)
		pthread_join(fake->threads[i], NULL);
	for (size_t i = 0; i < fake->served_count; i++)
		free(fake->served[i].counts);
	condition_release(&fake->changed);
	mutex_release(&fake->lock);
	free(fake);
}

struct source *fake_source_of(struct fake_source *fake)
{
	return &fake->source;
}

void fake_source_serve(struct fake_source *fake, const struct built_catalog *built)
{
	unsigned int *counts = calloc(built->frame_count + 1, sizeof(*counts));

	if (!counts || fake->served_count == SERVED_MAX)
		abort();
	mutex_lock(&fake->lock);
	fake->served[fake->served_count++] = (struct served){built, counts};
	mutex_unlock(&fake->lock);
}

void fake_source_fail(struct fake_source *fake, int error)
{
	mutex_lock(&fake->lock);
	fake->error = error;
	mutex_unlock(&fake->lock);
}

void fake_source_hold(struct fake_source *fake)
{
	mutex_lock(&fake->lock);
	fake->is_held = true;
	mutex_unlock(&fake->lock);
}

void fake_source_release(struct fake_source *fake)
{
	mutex_lock(&fake->lock);
	fake->is_held = false;
	condition_broadcast(&fake->changed);
	mutex_unlock(&fake->lock);
}

void fake_source_cancel(struct fake_source *fake)
{
	mutex_lock(&fake->lock);
	fake->cancelled = fake->queued;
	condition_broadcast(&fake->changed);
	mutex_unlock(&fake->lock);
}

void fake_source_corrupt_once(struct fake_source *fake)
{
	mutex_lock(&fake->lock);
	fake->corrupts_once = true;
	mutex_unlock(&fake->lock);
}

void fake_source_corrupt_always(struct fake_source *fake)
{
	mutex_lock(&fake->lock);
	fake->corrupts_always = true;
	mutex_unlock(&fake->lock);
}

bool fake_source_wait_held(struct fake_source *fake, unsigned int count)
{
	int64_t deadline_ns = clock_mono_ns() + PATIENCE;
	int r = 0;

	mutex_lock(&fake->lock);
	while (fake->queued < count && r == 0)
		r = condition_wait_until(&fake->changed, &fake->lock, deadline_ns);
	bool is_there = fake->queued >= count;

	mutex_unlock(&fake->lock);
	return is_there;
}

bool fake_source_wait_idle(struct fake_source *fake)
{
	int64_t deadline_ns = clock_mono_ns() + PATIENCE;
	int r = 0;

	mutex_lock(&fake->lock);
	while ((fake->queued || fake->busy) && r == 0)
		r = condition_wait_until(&fake->changed, &fake->lock, deadline_ns);
	bool is_idle = !fake->queued && !fake->busy;

	mutex_unlock(&fake->lock);
	return is_idle;
}

unsigned int fake_source_count(
	struct fake_source *fake, const struct built_catalog *built, uint32_t frame)
{
	unsigned int count = 0;

	mutex_lock(&fake->lock);
	for (size_t i = 0; i < fake->served_count; i++)
		if (fake->served[i].built == built)
			count = fake->served[i].counts[frame];
	mutex_unlock(&fake->lock);
	return count;
}

unsigned int fake_source_count_frames(struct fake_source *fake)
{
	mutex_lock(&fake->lock);
	unsigned int count = fake->frame_count;

	mutex_unlock(&fake->lock);
	return count;
}

unsigned int fake_source_count_catalogs(struct fake_source *fake)
{
	mutex_lock(&fake->lock);
	unsigned int count = fake->catalog_count;

	mutex_unlock(&fake->lock);
	return count;
}

unsigned int fake_source_count_refused(struct fake_source *fake)
{
	mutex_lock(&fake->lock);
	unsigned int count = fake->refused;

	mutex_unlock(&fake->lock);
	return count;
}
