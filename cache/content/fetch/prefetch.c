/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Each frame with a missing piece is watched in the table of flights, which fetches it and lands
 * what it holds; so readers and several prefetches share what is under way. A watch settles its
 * frame's wants: pieces that another content than theirs lands for (chunks that files share) are
 * landed by it. A content is done when its last want is settled.
 */
#include "cache/content/fetch/prefetch.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/content/content_file.h"
#include "cache/content/fetch/wants.h"

#include <errno.h>

#define FRAMES_PER_RUN 128
#define BYTES_PER_RUN  (4 * 1024 * 1024)

/* Asked for at once: enough for 1 Gbit/s at 150 ms. */
#define BYTES_UNDER_WAY (20 * 1024 * 1024)

/* Contents of many chunks stay open from their first frame to their last, so that not every
 * frame opens them again; no more than this many. */
#define FILES_HELD_MAX 256

/* How long a cancellation may go unnoticed. */
#define LOOK_EVERY_NS (100 * NS_PER_MS)

struct content_progress {
	atomic_uint left; /* wants that are not settled */
	atomic_int error;
	bool is_counted;		     /* as done */
	_Atomic(struct content_file *) file; /* a reference, or NULL */
};

struct frame_watch {
	struct flight_watch watch; /* first */
	struct prefetch *run;
	const struct wanted_frame *wanted;
	bool is_under_way; /* run->lock */
};

struct prefetch {
	const struct prefetch_config *config;
	struct content_store *store;
	const struct catalog *catalog;
	struct prefetch_progress *progress;
	struct wants wants;
	struct frame_watch *frames;
	struct content_progress *contents; /* by index in the catalog */
	atomic_uint files_held;
	atomic_uint landed; /* frames of this round */

	struct mutex lock; /* guards what follows; clang 14 cannot say so for members */
	struct condition changed;
	uint64_t bytes_under_way;
	size_t frames_under_way;
	bool is_unreachable; /* in this round */
	int fatal;
};

static uint64_t stored_bytes(const struct prefetch *p, const struct wanted_frame *w)
{
	return p->catalog->frames[w->frame].stored_bytes;
}

static bool is_disk_full(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

static bool is_cancelled(const struct prefetch *p)
{
	return p->config->is_cancelled && atomic_load(p->config->is_cancelled);
}

static void let_go(struct prefetch *p, struct content_progress *content)
{
	struct content_file *file = atomic_exchange(&content->file, NULL);

	if (!file)
		return;
	atomic_fetch_sub(&p->files_held, 1);
	content_close(file);
}

static void settle(struct prefetch *p, const struct want *want, int error)
{
	struct content_progress *content = &p->contents[want->content];

	if (error < 0)
		atomic_store(&content->error, error);
	if (atomic_fetch_sub(&content->left, 1) != 1)
		return;
	let_go(p, content);
	if (atomic_load(&content->error) < 0)
		return;
	content->is_counted = true;
	atomic_fetch_add(&p->progress->contents_done, 1);
}

/* Sees to it that a want whose frame is here has landed. `error`: something in it has not. */
static int land_want(
	struct prefetch *p, const struct want *want, const uint8_t *data, int error)
{
	const struct catalog *c = p->catalog;
	const struct catalog_chunk *k = &c->chunks[c->pieces[want->piece].chunk];
	const struct catalog_content *content = &c->contents[want->content];

	if (k->content == want->content && k->piece == want->piece)
		return error == 0 || want_is_met(p->store, c, want) ? 0 : error;
	return content_land_piece(p->store, c, content,
		want->piece - content->first_piece, data + k->offset, NULL);
}

static void note_error(struct prefetch *p, bool has_come, int error)
{
	mutex_lock(&p->lock);
	if (has_come && is_disk_full(error))
		p->fatal = -ENOSPC;
	else if (error == -EHOSTUNREACH)
		p->is_unreachable = true;
	else if (error == -ECANCELED)
		p->fatal = error;
	mutex_unlock(&p->lock);
}

static void on_landed(struct flight_watch *watch, const uint8_t *data, int error)
{
	struct frame_watch *f = (struct frame_watch *)watch;
	struct prefetch *p = f->run;

	if (data) {
		atomic_fetch_add(&p->landed, 1);
		if (watch->is_first)
			atomic_fetch_add(
				&p->progress->bytes_fetched, stored_bytes(p, f->wanted));
	} else {
		note_error(p, false, error);
	}
	for (uint32_t i = 0; i < f->wanted->count; i++) {
		const struct want *want = &p->wants.items[f->wanted->first + i];
		int r = data ? land_want(p, want, data, error) : error;

		if (data && r < 0)
			note_error(p, true, r);
		settle(p, want, r);
	}
	mutex_lock(&p->lock);
	p->bytes_under_way -= stored_bytes(p, f->wanted);
	p->frames_under_way--;
	f->is_under_way = false;
	condition_signal(&p->changed);
	mutex_unlock(&p->lock);
}

/* Contents of many pieces are held from here on. */
static void hold_files(struct prefetch *p, const struct wanted_frame *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		uint32_t index = p->wants.items[w->first + i].content;
		const struct catalog_content *content = &p->catalog->contents[index];
		struct content_file *file;

		if (content_is_single(p->catalog, content) ||
			atomic_load(&p->contents[index].file) ||
			atomic_load(&p->files_held) >= FILES_HELD_MAX ||
			content_open_record(p->store, p->catalog, content, &file) < 0)
			continue;
		atomic_fetch_add(&p->files_held, 1);
		atomic_store(&p->contents[index].file, file);
	}
}

/* Whether somebody else has brought all of it since the wants were collected. */
static bool is_frame_here(const struct prefetch *p, const struct wanted_frame *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (!want_is_met(p->store, p->catalog, &p->wants.items[w->first + i]))
			return false;
	return true;
}

static void settle_frame(struct prefetch *p, const struct wanted_frame *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		settle(p, &p->wants.items[w->first + i], 0);
}

/* Whether the run may go on, once there is room for more. */
static bool wait_room(struct prefetch *p, uint64_t bytes_max)
{
	bool may_go_on;

	mutex_lock(&p->lock);
	for (;;) {
		may_go_on = !is_cancelled(p) && p->fatal == 0 && !p->is_unreachable;
		if (!may_go_on || p->bytes_under_way <= bytes_max)
			break;
		(void)condition_wait_until(
			&p->changed, &p->lock, clock_mono_ns() + LOOK_EVERY_NS);
	}
	mutex_unlock(&p->lock);
	return may_go_on;
}

/* How many of the wanted frames from `first` on lie side by side, within a request's bounds,
 * and are still not here. */
static size_t run_length(const struct prefetch *p, size_t first)
{
	const struct wanted_frame *w = p->wants.frames;
	uint64_t bytes = stored_bytes(p, &w[first]);
	size_t n = 1;

	for (; n < FRAMES_PER_RUN && first + n < p->wants.frame_count; n++) {
		const struct catalog_frame *a =
			&p->catalog->frames[w[first].frame + n - 1];
		const struct catalog_frame *b = a + 1;

		bytes += stored_bytes(p, &w[first + n]);
		if (w[first + n].frame != w[first].frame + n || a->pack != b->pack ||
			a->offset + a->stored_bytes != b->offset ||
			bytes > BYTES_PER_RUN || is_frame_here(p, &w[first + n]))
			break;
	}
	return n;
}

static void ask_for(struct prefetch *p, size_t first, size_t count)
{
	struct flight_watch *watches[FRAMES_PER_RUN];
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		struct frame_watch *f = &p->frames[first + i];

		hold_files(p, f->wanted);
		watches[i] = &f->watch;
		bytes += stored_bytes(p, f->wanted);
	}
	mutex_lock(&p->lock);
	for (size_t i = 0; i < count; i++)
		p->frames[first + i].is_under_way = true;
	p->bytes_under_way += bytes;
	p->frames_under_way += count;
	mutex_unlock(&p->lock);
	flight_watch_frames(
		p->store, p->catalog, p->wants.frames[first].frame, watches, count);
}

/* What has not landed goes on without us. */
static void abandon(struct prefetch *p)
{
	for (size_t i = 0; i < p->wants.frame_count; i++) {
		struct frame_watch *f = &p->frames[i];

		mutex_lock(&p->lock);
		bool is_under_way = f->is_under_way;

		mutex_unlock(&p->lock);
		if (!is_under_way || !flight_unwatch(p->store, p->catalog,
					     f->wanted->frame, &f->watch))
			continue;
		mutex_lock(&p->lock);
		p->frames_under_way--;
		mutex_unlock(&p->lock);
	}
}

static void wait_end(struct prefetch *p)
{
	bool is_abandoned = false;

	mutex_lock(&p->lock);
	while (p->frames_under_way) {
		(void)condition_wait_until(
			&p->changed, &p->lock, clock_mono_ns() + LOOK_EVERY_NS);
		if (is_abandoned || (!is_cancelled(p) && p->fatal == 0))
			continue;
		mutex_unlock(&p->lock);
		abandon(p);
		is_abandoned = true;
		mutex_lock(&p->lock);
	}
	mutex_unlock(&p->lock);
}

static void fetch_round(struct prefetch *p)
{
	for (size_t i = 0; i < p->wants.frame_count;) {
		if (!wait_room(p, BYTES_UNDER_WAY - BYTES_PER_RUN))
			break;
		if (is_frame_here(p, &p->wants.frames[i])) {
			settle_frame(p, &p->wants.frames[i++]);
			continue;
		}
		size_t n = run_length(p, i);

		ask_for(p, i, n);
		i += n;
	}
	wait_end(p);
}

static void end_round(struct prefetch *p)
{
	for (uint32_t i = 0; i < p->wants.count; i++)
		let_go(p, &p->contents[p->wants.items[i].content]);
	wants_release(&p->wants);
	free(p->frames);
	p->frames = NULL;
}

/* Collects what is missing now. */
static int begin_round(struct prefetch *p)
{
	const struct prefetch_config *config = p->config;
	int r = wants_collect(
		p->store, p->catalog, config->contents, config->count, &p->wants);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < p->catalog->content_count; i++) {
		atomic_store(&p->contents[i].left, 0);
		atomic_store(&p->contents[i].error, 0);
	}
	p->frames = mem_calloc((size_t)p->wants.frame_count + 1, sizeof(*p->frames));
	if (!p->frames) {
		wants_release(&p->wants);
		return -ENOMEM;
	}
	for (size_t i = 0; i < p->wants.frame_count; i++)
		p->frames[i] = (struct frame_watch){.watch = {.landed = on_landed},
			.run = p,
			.wanted = &p->wants.frames[i]};
	for (uint32_t i = 0; i < p->wants.count; i++)
		atomic_fetch_add(&p->contents[p->wants.items[i].content].left, 1);
	mutex_lock(&p->lock);
	p->is_unreachable = false;
	mutex_unlock(&p->lock);
	atomic_store(&p->landed, 0);
	return 0;
}

static uint32_t content_at(const struct prefetch_config *config, size_t i)
{
	return config->contents ? config->contents[i] : (uint32_t)i;
}

static size_t content_count(const struct prefetch_config *config)
{
	return config->contents ? config->count : config->catalog->content_count;
}

/* Those without a want are here. */
static void count_present(struct prefetch *p)
{
	for (size_t i = 0; i < content_count(p->config); i++) {
		struct content_progress *content = &p->contents[content_at(p->config, i)];

		if (content->is_counted || atomic_load(&content->left))
			continue;
		content->is_counted = true;
		atomic_fetch_add(&p->progress->contents_done, 1);
	}
}

/* `fallback`: why what was not asked for was not. */
static void report_failures(struct prefetch *p, int fallback)
{
	for (size_t i = 0; i < content_count(p->config); i++) {
		uint32_t index = content_at(p->config, i);
		int error = atomic_load(&p->contents[index].error);

		if (p->contents[index].is_counted)
			continue;
		atomic_fetch_add(&p->progress->contents_failed, 1);
		if (p->config->on_failed)
			p->config->on_failed(
				p->config->arg, index, error ? error : fallback);
	}
}

/* Whether it may share chunks with contents that landed without it: it has several, or another
 * content lands for its only one. */
static bool may_share(const struct catalog *c, uint32_t index)
{
	const struct catalog_content *content = &c->contents[index];

	return content->piece_count > 1 ||
	       (content->piece_count == 1 &&
		       c->chunks[c->pieces[content->first_piece].chunk].content != index);
}

/* Before anything is fetched: what the old version, or whoever else, holds. */
static int copy_chunks(struct prefetch *p)
{
	for (size_t i = 0; i < p->config->sibling_count; i++)
		reuse_offer(&p->store->reuse, p->config->siblings[i]);
	reuse_offer(&p->store->reuse, p->catalog);
	for (size_t i = 0; i < content_count(p->config); i++) {
		uint32_t index = content_at(p->config, i);
		AUTO_FREE uint32_t *pieces = NULL;

		if (!may_share(p->catalog, index))
			continue;
		if (is_cancelled(p))
			return -ECANCELED;
		ssize_t count = wants_of_content(
			p->store, p->catalog, &p->catalog->contents[index], &pieces);

		if (count < 0)
			return (int)count;
		if (count)
			atomic_fetch_add(&p->progress->bytes_reused,
				reuse_pieces(p->store, p->catalog,
					&p->catalog->contents[index], pieces,
					(size_t)count));
	}
	return 0;
}

/* One try at all that is missing. Returns 1 when another may bring more, 0 at the end. */
static int run_round(struct prefetch *p, bool *has_landed)
{
	int r = begin_round(p);

	if (r < 0)
		return r;
	count_present(p);
	if (p->store->config.source)
		fetch_round(p);
	else
		p->is_unreachable = p->wants.count > 0;
	end_round(p);
	if (atomic_load(&p->landed))
		*has_landed = true;
	if (is_cancelled(p))
		return -ECANCELED;
	if (p->fatal)
		return p->fatal;
	return p->is_unreachable && atomic_load(&p->landed);
}

/* Sources come and go: tries again as long as each try brings something. */
static int run_rounds(struct prefetch *p)
{
	bool has_landed = false;
	int r;

	while ((r = run_round(p, &has_landed)) == 1)
		continue;
	if (r < 0)
		return r;
	report_failures(p, -EHOSTUNREACH);
	return p->is_unreachable && !has_landed ? -EHOSTUNREACH : 0;
}

int prefetch_run(const struct prefetch_config *config)
{
	struct prefetch p = {.config = config,
		.store = config->store,
		.catalog = config->catalog,
		.progress = config->progress};

	p.contents = mem_calloc(
		(size_t)config->catalog->content_count + 1, sizeof(*p.contents));
	if (!p.contents)
		return -ENOMEM;
	mutex_init(&p.lock);
	condition_init(&p.changed);
	int r = copy_chunks(&p);

	if (r == 0)
		r = run_rounds(&p);

	condition_release(&p.changed);
	mutex_release(&p.lock);
	free(p.contents);
	return r;
}

uint64_t prefetch_missing_bytes(struct content_store *store,
	const struct catalog *catalog, const uint32_t *contents, size_t count)
{
	struct wants wants;
	uint64_t bytes = 0;

	if (wants_collect(store, catalog, contents, count, &wants) < 0)
		return 0;
	for (size_t i = 0; i < wants.frame_count; i++)
		bytes += catalog->frames[wants.frames[i].frame].stored_bytes;
	wants_release(&wants);
	return bytes;
}
