/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/content/fetch/ahead.h"

/* The first miss takes this many frames more: with incompressible data it stays below what a
 * cold mount may transfer for its first file (docs/decisions). Of frames that compress well it takes
 * so many bytes: on a long line they come while the reader, who has seen the first frame, says
 * whether he goes on. */
#define WINDOW_MIN	 2
#define WINDOW_MIN_BYTES (256 * 1024)
#define WINDOW_MIN_MOST	 16

/* Each window is so much larger than the one before, and is asked for when an eighth of that one
 * is read: on a long line the ramp costs more than what a seek throws away (docs/performance.md). */
#define WINDOW_GROWTH 16
#define WINDOW_READ   8

/* So many changes from file to file in a stream are a storm. One frame holds dozens of small files, so
 * it is seen before the first frame is through. */
#define STORM_CONTENTS 8

/* Nobody has touched any yet. */
#define NO_CONTENT UINT32_MAX

/* A touch this far behind the newest still belongs to the stream: parallel readers of
 * neighbouring files overtake each other. */
#define BEHIND_MAX 64

/* A read of more frames than that is of pieces from here and there. */
#define READ_MAX 16

void ahead_init(struct ahead_table *table)
{
	mutex_init(&table->lock);
}

void ahead_release(struct ahead_table *table)
{
	for (size_t i = 0; i < AHEAD_STREAMS; i++)
		catalog_unkeep(table->streams[i].catalog);
	mutex_release(&table->lock);
}

/* One read of the kernel covers more frames than a young window has: it belongs to the stream that its
 * first one follows. */
static struct ahead_stream *find_stream(struct ahead_table *table,
	const struct catalog *catalog, uint32_t first, uint32_t last)
	REQUIRES(table->lock)
{
	for (size_t i = 0; i < AHEAD_STREAMS; i++) {
		struct ahead_stream *s = &table->streams[i];

		if (s->catalog == catalog && last + BEHIND_MAX >= s->position &&
			first <= s->end)
			return s;
	}
	return NULL;
}

static struct ahead_stream *begin_stream(struct ahead_table *table,
	const struct catalog *catalog, uint32_t frame, uint32_t content,
	const struct catalog **out_left) REQUIRES(table->lock)
{
	struct ahead_stream *oldest = &table->streams[0];

	for (size_t i = 0; i < AHEAD_STREAMS; i++) {
		struct ahead_stream *s = &table->streams[i];

		if (!s->catalog) {
			oldest = s;
			atomic_fetch_add(&table->active, 1);
			break;
		}
		if (s->last_use < oldest->last_use)
			oldest = s;
	}
	*out_left = oldest->catalog;
	catalog_keep(catalog);
	*oldest = (struct ahead_stream){.catalog = catalog,
		.position = frame,
		.end = frame + 1,
		.marker = frame,
		.content = content,
		.contents = content != NO_CONTENT};
	return oldest;
}

static void end_stream(struct ahead_table *table, struct ahead_stream *s)
	REQUIRES(table->lock)
{
	catalog_unkeep(s->catalog);
	s->catalog = NULL;
	atomic_fetch_sub(&table->active, 1);
}

/* While there is one, who reads what is here takes the lock for nothing. */
static void end_stale(struct ahead_table *table, int64_t now_ns) REQUIRES(table->lock)
{
	for (size_t i = 0; i < AHEAD_STREAMS; i++) {
		struct ahead_stream *s = &table->streams[i];

		if (s->catalog && now_ns - s->last_ns > AHEAD_STALE_NS)
			end_stream(table, s);
	}
}

/* How many frames behind `frame` the first miss takes. */
static uint32_t first_window(const struct catalog *c, uint32_t frame)
{
	uint64_t bytes = 0;
	uint32_t window = 0;

	for (uint32_t i = frame + 1; i < c->frame_count && window < WINDOW_MIN_MOST;
		i++) {
		bytes += c->frames[i].stored_bytes;
		if (window >= WINDOW_MIN && bytes > WINDOW_MIN_BYTES)
			break;
		window++;
	}
	return window > WINDOW_MIN ? window : WINDOW_MIN;
}

static struct ahead_range advance(struct ahead_stream *s, uint32_t frame)
{
	uint32_t frames = s->catalog->frame_count;
	struct ahead_range range = {.first = s->end};

	s->window =
		s->window ? s->window * WINDOW_GROWTH : first_window(s->catalog, frame);
	if (s->window > AHEAD_FRAMES)
		s->window = AHEAD_FRAMES;
	uint64_t end = (uint64_t)frame + 1 + s->window;

	if (end > frames)
		end = frames;
	if (end > s->end) {
		range.count = (uint32_t)end - s->end;
		s->end = (uint32_t)end;
	}
	s->marker = frame + 1 + (s->end - frame) / WINDOW_READ;
	return range;
}

/* Whether it is the first time that all of the catalog is asked for by one who goes through it. */
static bool becomes_through(struct ahead_stream *s)
{
	const struct catalog *c = s->catalog;
	uint32_t enough =
		c->content_count < STORM_CONTENTS ? c->content_count : STORM_CONTENTS;

	if (s->is_through || s->end < c->frame_count || s->contents < enough)
		return false;
	s->is_through = true;
	return true;
}

struct ahead_range ahead_touch(struct ahead_table *table, const struct catalog *catalog,
	uint32_t first, uint32_t frame, uint32_t content, bool is_miss)
{
	struct ahead_range range = {0};
	const struct catalog *left = NULL;

	if (!is_miss && atomic_load_explicit(&table->active, memory_order_relaxed) == 0)
		return range;
	if (first > frame || frame - first > READ_MAX)
		first = frame;
	mutex_lock(&table->lock);
	int64_t now_ns = clock_mono_ns();

	end_stale(table, now_ns);
	struct ahead_stream *s = find_stream(table, catalog, first, frame);

	if (!s && is_miss)
		s = begin_stream(table, catalog, frame, content, &left);
	if (s) {
		s->last_use = ++table->uses;
		s->last_ns = now_ns;
		if (frame > s->position)
			s->position = frame;
		if (frame > s->end)
			s->end = frame; /* who reads them asks for those before */
		if (content != s->content) {
			s->content = content;
			s->contents++;
		}
		bool is_storm = s->contents > STORM_CONTENTS && s->window < AHEAD_FRAMES;

		if (is_storm)
			s->window = AHEAD_FRAMES;
		if (frame >= s->marker || is_storm)
			range = advance(s, frame);
		range.is_through = becomes_through(s);
		/* the caller has a reference */
		if (s->is_through && s->position + 1 >= s->end)
			end_stream(table, s);
	}
	mutex_unlock(&table->lock);
	catalog_unkeep(left);
	return range;
}

void ahead_expect(struct ahead_table *table, const struct catalog *catalog, uint32_t end)
{
	const struct catalog *left = NULL;

	mutex_lock(&table->lock);
	if (!find_stream(table, catalog, 0, 0)) {
		struct ahead_stream *s =
			begin_stream(table, catalog, 0, NO_CONTENT, &left);

		s->last_use = ++table->uses;
		s->last_ns = clock_mono_ns();
		s->end = end;
		s->window = AHEAD_FRAMES;
		s->marker = end / WINDOW_READ;
	}
	mutex_unlock(&table->lock);
	catalog_unkeep(left);
}

void ahead_let_go(struct ahead_table *table)
{
	mutex_lock(&table->lock);
	for (size_t i = 0; i < AHEAD_STREAMS; i++) {
		struct ahead_stream *s = &table->streams[i];

		if (s->catalog && catalog_is_only_kept(s->catalog))
			end_stream(table, s);
	}
	mutex_unlock(&table->lock);
}
