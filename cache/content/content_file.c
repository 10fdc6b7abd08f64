/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/content/content_file.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"

#include <errno.h>

#define WARN_EVERY_NS (60 * NS_PER_SEC)

/* A reader of what is in memory alone asks the disk again so often, for so much at once: he waits
 * for it. */
#define RETRY_EVERY_NS NS_PER_SEC
#define RETRY_PIECES   64

/* Pieces kept in memory for one open file when the disk takes none: several reads' worth. Fewer
 * than one read covers (66 of 16 KiB in 1 MiB) would drive each other out for ever. */
#define LOOSE_MAX 256

bool content_is_single(const struct catalog *c, const struct catalog_content *content)
{
	if (content->piece_count != 1)
		return false;
	const struct catalog_piece *piece = &c->pieces[content->first_piece];

	return piece->position == 0 && c->chunks[piece->chunk].length == content->size;
}

void content_warn_not_cached(struct content_store *store, int error)
{
	struct usage *usage = object_store_usage(store->config.objects);
	bool is_full = error == -ENOSPC || error == -EDQUOT;
	int64_t now_ns = clock_mono_ns();
	int64_t before = atomic_load(&store->warned_ns);
	char text[USAGE_TEXT_SIZE];

	if (is_full)
		usage_call_for_room(usage);
	if (before && now_ns - before < WARN_EVERY_NS)
		return;
	if (!atomic_compare_exchange_strong(&store->warned_ns, &before, now_ns))
		return;
	enum usage_bound bound =
		is_full ? usage_bound_of(usage, FRAME_MAX_BYTES) : USAGE_UNBOUND;

	usage_describe(usage, bound, text);
	log_warn("what is fetched cannot be kept in the cache: %s%s; reads go on, "
		 "each from the source",
		*text ? text : log_strerror(error),
		bound == USAGE_LIMIT ? ", and letting go takes its time" : "");
}

static bool has_piece(struct content_file *file, uint32_t piece) REQUIRES(file->lock)
{
	if (file->partial && partial_has(file->partial, piece))
		return true;
	for (const struct loose_piece *l = file->loose; l; l = l->next)
		if (l->piece == piece)
			return true;
	return false;
}

bool content_file_fits(const struct content_file *file, const struct catalog *c,
	const struct catalog_content *content)
{
	const struct catalog_content *own = file->content;

	if (file->catalog == c && own == content)
		return true;
	if (own->piece_count != content->piece_count || own->size != content->size)
		return false;
	for (uint32_t i = 0; i < content->piece_count; i++) {
		const struct catalog_piece *a =
			&file->catalog->pieces[own->first_piece + i];
		const struct catalog_piece *b = &c->pieces[content->first_piece + i];

		if (a->position != b->position ||
			file->catalog->chunks[a->chunk].length !=
				c->chunks[b->chunk].length)
			return false;
	}
	return true;
}

bool content_has_piece(struct content_store *store, const struct catalog *c,
	const struct catalog_content *content, uint32_t piece)
{
	struct content_file *file = content_find(store, &content->digest);
	bool has = false;

	if (!file && (content_is_single(c, content) ||
			     content_open_record(store, c, content, &file) < 0))
		return false;
	if (content_file_fits(file, c, content)) {
		mutex_lock(&file->lock);
		has = content_file_attach(file) == 0 &&
		      (atomic_load(&file->object_fd) >= 0 || has_piece(file, piece));
		mutex_unlock(&file->lock);
	}
	content_close(file);
	return has;
}

/* The whole content in one piece: straight to an object. Who reads it opens it. */
static int land_object(struct content_file *file, const uint8_t *data)
	REQUIRES(file->lock)
{
	const struct catalog_content *content = file->content;

	return object_store_put(file->store->config.objects, &content->digest, data,
		(size_t)content->size);
}

static int land_partial(struct content_file *file, uint32_t piece, uint64_t position,
	const uint8_t *data, size_t len, const struct piece_origin *origin)
	REQUIRES(file->lock)
{
	struct content_store *store = file->store;
	struct usage *usage = object_store_usage(store->config.objects);
	int r;

	if (!usage_admits(usage, len))
		return -ENOSPC;
	if (!file->partial) {
		r = partial_open(store->partial_dirfd, store->config.checkpoint,
			file->catalog, file->content, PARTIAL_CREATE, &file->partial);
		if (r < 0)
			return r;
	}
	r = partial_land(file->partial, piece, position, data, len, origin);
	usage_move(usage, USAGE_PARTIALS, partial_grown(file->partial));
	if (r < 0 || !partial_is_complete(file->partial))
		return r;
	int fd;

	r = partial_finish(file->partial, store->config.objects, &fd);
	if (r < 0) {
		/* every piece is there and is read from where it lies */
		content_warn_not_cached(store, r);
		return 0;
	}
	usage_move(usage, USAGE_PARTIALS, -partial_disk_bytes(file->partial));
	partial_free(file->partial);
	file->partial = NULL;
	atomic_store(&file->object_fd, fd);
	return 0;
}

static int land_loose(struct content_file *file, uint32_t piece, const uint8_t *data)
	REQUIRES(file->lock)
{
	const struct catalog_piece *p =
		&file->catalog->pieces[file->content->first_piece + piece];
	uint32_t len = file->catalog->chunks[p->chunk].length;
	struct loose_piece *l = mem_alloc(sizeof(*l) + len);

	if (!l)
		return -ENOMEM;
	l->piece = piece;
	l->length = len;
	memcpy(l->data, data, len);
	l->next = file->loose;
	file->loose = l;
	/* the oldest go: whoever still wants one asks again */
	struct loose_piece **at = &file->loose;

	for (unsigned int kept = 0; *at && kept < LOOSE_MAX; kept++)
		at = &(*at)->next;
	for (struct loose_piece *old = *at, *next; old; old = next) {
		next = old->next;
		free(old);
	}
	*at = NULL;
	return 0;
}

static int land(struct content_file *file, uint32_t piece, const uint8_t *data,
	const struct piece_origin *origin) REQUIRES(file->lock)
{
	const struct catalog_piece *p =
		&file->catalog->pieces[file->content->first_piece + piece];

	return content_is_single(file->catalog, file->content)
		       ? land_object(file, data)
		       : land_partial(file, piece, p->position, data,
				 file->catalog->chunks[p->chunk].length, origin);
}

void content_file_land_loose(struct content_file *file)
{
	int64_t now_ns = clock_mono_ns();
	int r = 0;

	if (now_ns < file->loose_retry_ns)
		return;
	file->loose_retry_ns = now_ns + RETRY_EVERY_NS;
	for (int i = 0; i < RETRY_PIECES && file->loose && r == 0; i++) {
		struct loose_piece *l = file->loose;

		r = land(file, l->piece, l->data, NULL);
		if (r == 0) {
			file->loose = l->next;
			free(l);
		}
	}
	if (r < 0)
		content_warn_not_cached(file->store, r);
}

/* Takes those off the list who are served (or failed) by this piece. */
static struct waiter *take_waiters(struct content_file *file, uint32_t piece, bool failed)
	REQUIRES(file->lock)
{
	struct waiter *taken = NULL;
	struct waiter **at = &file->waiters;

	while (*at) {
		struct waiter *w = *at;
		bool concerned = w->first <= piece && piece < w->end;

		if (concerned && (failed || --w->missing == 0)) {
			*at = w->next;
			w->next = taken;
			taken = w;
		} else {
			at = &w->next;
		}
	}
	return taken;
}

/* A complete content serves everybody, whichever piece they counted on. */
static struct waiter *take_all(struct content_file *file) REQUIRES(file->lock)
{
	struct waiter *all = file->waiters;

	file->waiters = NULL;
	return all;
}

int content_file_land(struct content_file *file, uint32_t piece, const uint8_t *data,
	const struct piece_origin *origin)
{
	struct waiter *served = NULL;
	int error = 0;
	int r = 0;

	mutex_lock(&file->lock);
	if (!content_is_single(file->catalog, file->content))
		r = content_file_attach(file);
	if (r == 0 && atomic_load(&file->object_fd) < 0 && !has_piece(file, piece)) {
		r = land(file, piece, data, origin);
		if (r < 0) {
			content_warn_not_cached(file->store, r);
			error = land_loose(file, piece, data);
		}
		served = take_waiters(file, piece, error != 0);
	}
	if (!served && atomic_load(&file->object_fd) >= 0)
		served = take_all(file);
	mutex_unlock(&file->lock);
	waiter_wake_all(served, error);
	return r;
}

int content_land_piece(struct content_store *store, const struct catalog *c,
	const struct catalog_content *content, uint32_t piece, const uint8_t *data,
	const struct piece_origin *origin)
{
	struct content_file *file = content_find(store, &content->digest);
	int r = 0;

	/* removed while somebody has it open: it lands for those who come */
	if (file && atomic_load(&file->object_fd) >= 0 &&
		!object_store_has(
			store->config.objects, &content->digest, content->size, NULL)) {
		content_detach(file);
		content_close(file);
		file = NULL;
	}
	if (!file && content_is_single(c, content)) {
		r = object_store_put(store->config.objects, &content->digest, data,
			(size_t)content->size);
		if (r < 0)
			content_warn_not_cached(store, r);
		return r;
	}
	if (!file)
		r = content_open_record(store, c, content, &file);
	if (r < 0)
		return r;
	r = content_file_fits(file, c, content)
		    ? content_file_land(file, piece, data, origin)
		    : -EBUSY;
	content_close(file);
	return r;
}

void content_file_fail(struct content_file *file, uint32_t piece, int error)
{
	struct waiter *taken = NULL;

	mutex_lock(&file->lock);
	if (atomic_load(&file->object_fd) >= 0) {
		taken = take_all(file);
		error = 0;
	} else if (!has_piece(file, piece)) {
		taken = take_waiters(file, piece, true);
	}
	mutex_unlock(&file->lock);
	waiter_wake_all(taken, error);
}
