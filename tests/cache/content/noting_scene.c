/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/content/noting_scene.h"

#include "cache/content/fetch/ahead.h"

#include <errno.h>

#define MOST 32

struct frame_request *asked[MOST];
size_t asked_count;
size_t asked_frames;
unsigned int hurried;
bool is_held;
uint8_t *large;

static void note_frames(struct source *source, struct frame_request *rq)
{
	(void)source;
	assert_true(asked_count < MOST);
	asked_frames += rq->frame_count;
	asked[asked_count++] = rq;
}

static void note_hurry(struct source *source)
{
	(void)source;
	hurried++;
}

static bool is_background_free(struct source *source)
{
	(void)source;
	return !is_held;
}

static const struct source_ops noting_ops = {.fetch_frames = note_frames,
	.hurry = note_hurry,
	.is_background_free = is_background_free};
static struct source noting = {.ops = &noting_ops};

void let_go(void)
{
	for (size_t i = 0; i < asked_count; i++)
		asked[i]->done(asked[i], -ECANCELED);
	asked_count = 0;
}

void answer(void)
{
	/* what an end sends is asked for behind these */
	for (size_t i = 0; i < asked_count; i++) {
		struct frame_request *rq = asked[i];
		int r = 0;

		for (size_t n = 0; n < rq->frame_count && r == 0; n++)
			for (size_t k = 0; k < built->frame_count; k++)
				if (built->frames[k].offset == rq->frames[n].offset)
					r = rq->deliver(rq, n, built->frames[k].data);
		rq->done(rq, r);
	}
	asked_count = 0;
}

/* /large, that does not compress. */
static struct built_catalog *build(void)
{
	struct catalog_builder *b = builder_new("");

	large = malloc(LARGE_SIZE);
	assert_non_null(large);
	built_fill(large, LARGE_SIZE, 5);
	builder_file(b, BUILDER_TOP, "large", large, LARGE_SIZE, CHUNK);
	return builder_finish(b);
}

/* More frames than a window has. */
static struct built_catalog *build_wide(void)
{
	struct catalog_builder *b = builder_new("");
	size_t bytes = (AHEAD_FRAMES + 10) * 64;
	uint8_t *data = malloc(bytes);

	assert_non_null(data);
	built_fill(data, bytes, 6);
	builder_frame_bytes(b, 64);
	builder_file(b, BUILDER_TOP, "wide", data, bytes, 64);
	free(data);
	return builder_finish(b);
}

int make_noting_of(struct built_catalog *(*build_it)(void))
{
	int r = make_of(build_it);

	close_store();
	open_store(&noting);
	asked_frames = 0;
	hurried = 0;
	is_held = false;
	return r;
}

int make_noting(void **state)
{
	(void)state;
	return make_noting_of(build);
}

int make_wide(void **state)
{
	(void)state;
	return make_noting_of(build_wide);
}

int drop_noting(void **state)
{
	let_go();
	free(large);
	large = NULL;
	return drop(state);
}

struct catalog *open_version(void)
{
	struct catalog *c = built_open(built);
	const struct catalog_entry *e =
		catalog_entry(c, catalog_lookup(c, CATALOG_ROOT, "large", 5));
	struct catalog_content *content = (void *)(uintptr_t)catalog_content_of(c, e);

	content->digest.bytes[0] ^= 1;
	return c;
}
