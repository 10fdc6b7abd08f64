/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A flight is one frame on its way and the list of those who wait for a piece in it. It stands
 * in the table from the moment it is asked for until its frame has landed for everybody on the
 * list, so that a later miss joins instead of asking again. A batch is one request to the
 * source: flights whose frames follow each other in one pack.
 */
#include "cache/content/fetch/flight.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/content/content_file.h"
#include "cache/content/content_verify.h"

#include <errno.h>

#define FRAMES_PER_BATCH 128

/* So many frames of the read-ahead go with the demand that they follow: one connection, one round
 * trip. */
#define AHEAD_RIDES 16

/*
 * What is read ahead follows a small request of the same catalog instead of going beside it: the
 * connection of that one is warm when it ends, where a second one would begin with a handshake and
 * TCP's slow start. At 150 ms and 20 Mbit/s that costs half a second (docs/performance.md).
 */
#define LEAD_BYTES  (512 * 1024)
#define LEAD_MAX_NS NS_PER_SEC

/*
 * Much that does not compress is a large file, and the first of it comes in so many requests at once: a
 * connection begins with ten segments and doubles that each round trip, so eight are at a
 * line's speed three round trips before one. They leave two places for readers.
 */
#define SPLIT_MIN_BYTES (6 * 1024 * 1024)
#define SPLIT_REQUESTS	6

struct interest {
	struct content_file *file; /* a reference */
	uint32_t piece;
};

struct flight {
	struct flight *next;	       /* in its bucket */
	const struct catalog *catalog; /* the batch's */
	uint32_t frame;
	struct batch *batch; /* there as long as the flight is in the table */
	bool is_in_table;
	struct interest *interests;
	size_t interest_count;
	size_t interest_capacity;
	struct flight_watch *watches;
};

struct batch {
	struct frame_request rq; /* first: the source gives it back */
	struct content_store *store;
	const struct catalog *catalog; /* of all its flights; a reference */
	struct batch *next;
	uint64_t stored_bytes;
	uint64_t enough_bytes; /* from so many on no other flight joins */
	int64_t sent_ns;

	/* the table's lock, all three */
	struct batch *next_lead; /* in its list, while others may follow */
	struct batch *lead;	 /* this one is sent when that one is over */
	struct batch *followers; /* through `next` */

	size_t flight_count;
	struct flight *flights[FRAMES_PER_BATCH];
};

void flight_table_init(struct flight_table *table)
{
	mutex_init(&table->lock);
}

void flight_table_release(struct flight_table *table)
{
	mutex_release(&table->lock);
}

static struct flight **bucket_of(struct flight_table *table, const struct catalog *c,
	uint32_t frame) REQUIRES(table->lock)
{
	const struct catalog_frame *f = &c->frames[frame];
	uint64_t key = digest_key(&c->packs[f->pack].digest) + f->offset;

	return &table->buckets[hash64(&key, sizeof(key), 0) % FLIGHT_BUCKETS];
}

/* By catalog and index, not by pack and offset: who waits indexes this catalog's pieces. */
static struct flight *find_flight(struct flight_table *table, const struct catalog *c,
	uint32_t frame) REQUIRES(table->lock)
{
	struct flight *f = *bucket_of(table, c, frame);

	while (f && (f->catalog != c || f->frame != frame))
		f = f->next;
	return f;
}

/* The flight of another catalog that brings the same bytes for a reader of it; NULL: none. (Nobody knows when the
 * background's come, and a reader who joined one would have all of its request come.) */
static struct flight *find_same_bytes(struct flight_table *table, const struct catalog *c,
	uint32_t frame) REQUIRES(table->lock)
{
	const struct catalog_frame *a = &c->frames[frame];
	const struct digest *pack = &c->packs[a->pack].digest;

	for (struct flight *f = *bucket_of(table, c, frame); f; f = f->next) {
		const struct catalog_frame *b = &f->catalog->frames[f->frame];

		if (f->catalog != c && f->batch->rq.class != FETCH_BACKGROUND &&
			a->offset == b->offset && a->stored_bytes == b->stored_bytes &&
			a->raw_bytes == b->raw_bytes && a->flags == b->flags &&
			digest_equal(&f->catalog->packs[b->pack].digest, pack))
			return f;
	}
	return NULL;
}

/* Whether what is read ahead is on its way: what two catalogs share lands for both. */
static bool are_bytes_coming(struct flight_table *table, const struct catalog *c,
	uint32_t frame) REQUIRES(table->lock)
{
	return find_flight(table, c, frame) || find_same_bytes(table, c, frame);
}

static void remove_flight(struct flight_table *table, struct flight *f)
	REQUIRES(table->lock)
{
	struct flight **at = bucket_of(table, f->catalog, f->frame);

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	f->is_in_table = false;
}

/* Those who wait for a flight, taken off it. */
struct crowd {
	struct interest *interests;
	size_t count;
	struct flight_watch *watches;
};

static void take_interests_locked(struct flight *f, struct crowd *out)
{
	*out = (struct crowd){.interests = f->interests, .count = f->interest_count};
	f->interests = NULL;
	f->interest_count = 0;
	f->interest_capacity = 0;
}

/* Everybody; when nobody is left to take, or with `is_over`, the flight ends: a later miss starts
 * afresh. */
static bool take_crowd(
	struct flight_table *table, struct flight *f, bool is_over, struct crowd *out)
{
	mutex_lock(&table->lock);
	take_interests_locked(f, out);
	out->watches = f->watches;
	f->watches = NULL;
	bool is_empty = out->count == 0 && !out->watches;

	if (f->is_in_table && (is_empty || is_over))
		remove_flight(table, f);
	mutex_unlock(&table->lock);
	return !is_empty;
}

static const struct catalog_chunk *chunk_of(
	const struct content_file *file, uint32_t piece)
{
	const struct catalog *c = file->catalog;

	return &c->chunks[c->pieces[file->content->first_piece + piece].chunk];
}

/* What else the frame holds: pieces of other files, and small files whole. Returns 0 or why some
 * of it is not on disk. */
static int land_neighbours(struct content_store *store, const struct catalog *c,
	uint32_t frame, const uint8_t *data)
{
	const struct catalog_frame *f = &c->frames[frame];
	int error = 0;

	for (uint32_t i = 0; i < f->chunk_count; i++) {
		const struct catalog_chunk *k = &c->chunks[f->first_chunk + i];
		const struct catalog_content *content = &c->contents[k->content];
		int r = content_land_piece(store, c, content,
			k->piece - content->first_piece, data + k->offset, NULL);

		if (r < 0)
			error = r;
	}
	return error;
}

/* For a reader who waited for another catalog's flight, and for whom what came is no good: only a request
 * by his own catalog tells the source that served it wrong bytes, so that the next one is asked. */
static void ask_alone(struct content_file *file, uint32_t piece);

/* Lands the frame, which is sound for `c`, for those who wait for a piece in it. */
static void land_interests(
	struct crowd *crowd, const struct catalog *c, const uint8_t *data)
{
	for (size_t i = 0; i < crowd->count; i++) {
		struct content_file *file = crowd->interests[i].file;
		uint32_t piece = crowd->interests[i].piece;
		const struct catalog_chunk *k = chunk_of(file, piece);

		if (file->catalog == c || content_is_chunk_sound(k, data))
			(void)content_file_land(file, piece, data + k->offset, NULL);
		else
			ask_alone(file, piece);
		content_close(file);
	}
	free(crowd->interests);
}

static void call_watches(struct flight_watch *list, const uint8_t *data, int error)
{
	while (list) {
		struct flight_watch *next = list->next;

		list->landed(list, data, error);
		list = next;
	}
}

static bool has_small_files(const struct catalog *c, uint32_t frame)
{
	const struct catalog_frame *f = &c->frames[frame];

	for (uint32_t i = 0; f->chunk_count > 1 && i < f->chunk_count; i++)
		if (content_is_single(
			    c, &c->contents[c->chunks[f->first_chunk + i].content]))
			return true;
	return false;
}

static void keep_recent(struct content_store *store, const struct catalog *c,
	uint32_t frame, const uint8_t *data)
{
	recent_put(&store->recent, c, frame, data);
	if (store->recent_came)
		store->recent_came(store->recent_arg);
}

static int deliver_frame(struct frame_request *rq, size_t index, const uint8_t *data)
{
	struct batch *batch = (struct batch *)rq;
	struct content_store *store = batch->store;
	struct flight *f = batch->flights[index];
	struct crowd crowd;

	if (!content_is_frame_sound(f->catalog, f->frame, data))
		return -EBADMSG;
	if (batch->rq.class != FETCH_BACKGROUND && has_small_files(f->catalog, f->frame))
		keep_recent(store, f->catalog, f->frame, data);
	/* first who waits; the flight stays in the table while the neighbours land, so that
	 * a reader of one of them joins it instead of asking again */
	mutex_lock(&store->flights.lock);
	take_interests_locked(f, &crowd);
	mutex_unlock(&store->flights.lock);
	land_interests(&crowd, f->catalog, data);
	int error = land_neighbours(store, f->catalog, f->frame, data);

	while (take_crowd(&store->flights, f, false, &crowd)) {
		land_interests(&crowd, f->catalog, data);
		call_watches(crowd.watches, data, error);
	}
	return 0;
}

static void batch_free(struct batch *batch)
{
	catalog_unref(batch->catalog);
	free(batch);
}

static void fail_crowd(struct crowd *crowd, const struct catalog *c, int error)
{
	for (size_t i = 0; i < crowd->count; i++) {
		struct content_file *file = crowd->interests[i].file;
		uint32_t piece = crowd->interests[i].piece;

		/* what is wrong for `c` may be right for him */
		if (file->catalog != c && error == -EBADMSG)
			ask_alone(file, piece);
		else
			content_file_fail(file, piece, error);
		content_close(file);
	}
	free(crowd->interests);
	call_watches(crowd->watches, NULL, error);
}

/* Ends what a batch is to others. Returns those that waited for it. */
static struct batch *take_followers(struct flight_table *table, struct batch *batch)
{
	mutex_lock(&table->lock);
	struct batch **at = &table->leads;

	while (*at && *at != batch)
		at = &(*at)->next_lead;
	if (*at)
		*at = batch->next_lead;
	struct batch *followers = batch->followers;

	for (struct batch *b = followers; b; b = b->next)
		b->lead = NULL;
	mutex_unlock(&table->lock);
	return followers;
}

static void send_batches(struct content_store *store, struct batch *batches);

static void batch_done(struct frame_request *rq, int error)
{
	struct batch *batch = (struct batch *)rq;

	send_batches(batch->store, take_followers(&batch->store->flights, batch));
	for (size_t i = 0; i < batch->flight_count; i++) {
		struct crowd crowd;

		(void)take_crowd(&batch->store->flights, batch->flights[i], true, &crowd);
		fail_crowd(&crowd, batch->catalog, error ? error : -EIO);
		free(batch->flights[i]);
	}
	batch_free(batch);
}

/* Whether `frame` can ride in `batch`: the next one of the same pack. (A batch that another
 * catalog's reader sends on its way is among his own.) */
static bool extends(const struct batch *batch, const struct catalog *c, uint32_t frame)
{
	if (!batch || batch->catalog != c || batch->flight_count == 0 ||
		batch->flight_count == FRAMES_PER_BATCH ||
		batch->stored_bytes >= batch->enough_bytes)
		return false;
	const struct flight *last = batch->flights[batch->flight_count - 1];
	const struct catalog_frame *a = &c->frames[last->frame];
	const struct catalog_frame *b = &c->frames[frame];

	return frame == last->frame + 1 && a->pack == b->pack &&
	       a->offset + a->stored_bytes == b->offset;
}

static struct batch *batch_new(struct content_store *store, const struct catalog *c,
	uint32_t frame, enum fetch_class class)
{
	struct batch *batch = mem_calloc(1, sizeof(*batch));

	if (!batch)
		return NULL;
	const struct catalog_pack *pack = &c->packs[c->frames[frame].pack];

	batch->store = store;
	catalog_ref(c);
	batch->catalog = c;
	batch->enough_bytes = UINT64_MAX;
	batch->rq = (struct frame_request){
		.pack = pack->digest,
		.pack_bytes = pack->bytes,
		.frames = &c->frames[frame],
		.class = class,
		.deadline_ns = clock_mono_ns() + store->config.fetch_deadline_ns,
		.deliver = deliver_frame,
		.done = batch_done,
	};
	return batch;
}

/* Starts a flight in the newest batch, or in a new one that it begins. */
static int start_flight(struct content_store *store, const struct catalog *c,
	uint32_t frame, enum fetch_class class, struct batch **batches,
	struct flight **out) REQUIRES(store->flights.lock)
{
	if (!extends(*batches, c, frame)) {
		struct batch *batch = batch_new(store, c, frame, class);

		if (!batch)
			return -ENOMEM;
		batch->next = *batches;
		*batches = batch;
	}
	struct flight *f = mem_calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->catalog = c;
	f->frame = frame;
	f->is_in_table = true;
	struct flight **bucket = bucket_of(&store->flights, c, frame);

	f->next = *bucket;
	*bucket = f;
	struct batch *batch = *batches;

	f->batch = batch;
	batch->flights[batch->flight_count++] = f;
	batch->rq.frame_count = batch->flight_count;
	batch->stored_bytes += c->frames[frame].stored_bytes;
	*out = f;
	return 0;
}

/* A reader wants what waits for a request that does not end: it goes at once. */
static void stop_following(struct batch *batch, struct batch **batches)
{
	struct batch **at = &batch->lead->followers;

	if (clock_mono_ns() - batch->lead->sent_ns < LEAD_MAX_NS)
		return;
	while (*at != batch)
		at = &(*at)->next;
	*at = batch->next;
	batch->lead = NULL;
	batch->next = *batches;
	*batches = batch;
}

/* Puts one piece on the list of its frame's flight, starting the flight if there is none. One
 * that nobody waited for until now is to hurry. */
static int join_flight(struct content_store *store, struct content_file *file,
	uint32_t piece, bool may_share, struct batch **batches, bool *out_hurry)
	REQUIRES(store->flights.lock)
{
	const struct catalog *c = file->catalog;
	uint32_t frame = chunk_of(file, piece)->frame;
	struct flight *f = find_flight(&store->flights, c, frame);
	int r = 0;

	if (!f && may_share)
		f = find_same_bytes(&store->flights, c, frame);
	if (!f)
		r = start_flight(store, c, frame, FETCH_DEMAND, batches, &f);
	else if (f->batch->rq.class != FETCH_DEMAND &&
		 !atomic_exchange(&f->batch->rq.is_awaited, true))
		*out_hurry = true;
	if (r == 0 && f->batch->lead)
		stop_following(f->batch, batches);
	if (r == 0)
		r = mem_grow((void **)&f->interests, &f->interest_capacity,
			f->interest_count, sizeof(*f->interests));
	if (r < 0)
		return r;
	f->interests[f->interest_count++] =
		(struct interest){.file = file, .piece = piece};
	return 0;
}

static struct batch *find_lead(struct flight_table *table, const struct batch *batch)
	REQUIRES(table->lock)
{
	struct batch *lead = table->leads;
	int64_t now_ns = clock_mono_ns();

	if (batch->rq.class != FETCH_READ_AHEAD || atomic_load(&batch->rq.is_awaited))
		return NULL;
	while (lead && (lead->catalog != batch->catalog ||
			       now_ns - lead->sent_ns >= LEAD_MAX_NS))
		lead = lead->next_lead;
	return lead;
}

/* False: it waits for another one, which sends it. */
static bool may_go(struct flight_table *table, struct batch *batch)
{
	batch->sent_ns = clock_mono_ns();
	mutex_lock(&table->lock);
	struct batch *lead = find_lead(table, batch);

	if (lead) {
		batch->lead = lead;
		batch->next = lead->followers;
		lead->followers = batch;
	} else if (batch->rq.class != FETCH_BACKGROUND &&
		   batch->stored_bytes <= LEAD_BYTES) {
		batch->next_lead = table->leads;
		table->leads = batch;
	}
	mutex_unlock(&table->lock);
	return !lead;
}

/* They were put in front of each other; what is read first is to go first. */
static struct batch *in_order(struct batch *batches)
{
	struct batch *first = NULL;

	while (batches) {
		struct batch *next = batches->next;

		batches->next = first;
		first = batches;
		batches = next;
	}
	return first;
}

static void send_batches(struct content_store *store, struct batch *batches)
{
	batches = in_order(batches);
	while (batches) {
		struct batch *next = batches->next;

		if (batches->flight_count == 0)
			batch_free(batches);
		else if (may_go(&store->flights, batches))
			source_fetch_frames(store->config.source, &batches->rq);
		batches = next;
	}
}

/* Whether a frame's content seems to be here, or can be copied from what is here: its first chunk
 * speaks for all. */
static bool is_frame_local(
	struct content_store *store, const struct catalog *c, uint32_t frame)
{
	const struct catalog_frame *f = &c->frames[frame];

	if (f->chunk_count == 0)
		return true;
	const struct catalog_chunk *k = &c->chunks[f->first_chunk];
	const struct catalog_content *content = &c->contents[k->content];

	return object_store_has(
		       store->config.objects, &content->digest, content->size, NULL) ||
	       content_has_piece(store, c, content, k->piece - content->first_piece) ||
	       reuse_has(store, c, k);
}

/* What a request for some of this is to have at most. */
static uint64_t share_of(const struct catalog *c, struct ahead_range range)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < range.count; i++)
		bytes += c->frames[range.first + i].stored_bytes;
	return bytes < SPLIT_MIN_BYTES ? UINT64_MAX : bytes / SPLIT_REQUESTS;
}

/* Returns the bytes to ask for: none if it is here or on its way. */
static uint64_t start_frame_ahead(struct content_store *store, const struct catalog *c,
	uint32_t frame, uint64_t share, struct batch **batches)
{
	uint64_t bytes = 0;
	struct flight *f;

	if (is_frame_local(store, c, frame))
		return 0;
	mutex_lock(&store->flights.lock);
	if (!are_bytes_coming(&store->flights, c, frame) &&
		start_flight(store, c, frame, FETCH_READ_AHEAD, batches, &f) == 0) {
		f->batch->enough_bytes = share;
		bytes = c->frames[frame].stored_bytes;
	}
	mutex_unlock(&store->flights.lock);
	return bytes;
}

static void start_ahead(struct content_store *store, const struct catalog *c,
	struct ahead_range range, struct batch **batches)
{
	uint64_t share = share_of(c, range);

	for (uint32_t frame = range.first; frame < range.first + range.count; frame++)
		(void)start_frame_ahead(store, c, frame, share, batches);
}

static void request(struct content_file *file, const uint32_t *pieces, size_t count,
	bool may_share, struct ahead_range ahead)
{
	struct content_store *store = file->store;
	const struct catalog *c = file->catalog;
	struct batch *batches = NULL;
	size_t joined = 0;
	bool must_hurry = false;
	int r = 0;

	for (size_t i = 0; i < count; i++)
		content_ref(file);
	mutex_lock(&store->flights.lock);
	while (joined < count && r == 0) {
		r = join_flight(
			store, file, pieces[joined], may_share, &batches, &must_hurry);
		if (r == 0)
			joined++;
	}
	mutex_unlock(&store->flights.lock);
	/* what could not be queued fails here; what was, is on its way */
	for (size_t i = joined; i < count; i++) {
		content_file_fail(file, pieces[i], r);
		content_close(file);
	}
	/* a demand's request stays small: all of it must come in time */
	if (ahead.count <= AHEAD_RIDES)
		start_ahead(store, c, ahead, &batches);
	send_batches(store, batches);
	if (ahead.count > AHEAD_RIDES)
		flight_request_ahead(store, c, ahead.first, ahead.count);
	if (must_hurry)
		source_hurry(store->config.source);
}

static void ask_alone(struct content_file *file, uint32_t piece)
{
	request(file, &piece, 1, false, (struct ahead_range){0});
}

void flight_request(struct content_file *file, const uint32_t *pieces, size_t count,
	struct ahead_range ahead)
{
	request(file, pieces, count, true, ahead);
}

void flight_request_ahead(struct content_store *store, const struct catalog *c,
	uint32_t first, uint32_t count)
{
	struct batch *batches = NULL;

	start_ahead(
		store, c, (struct ahead_range){.first = first, .count = count}, &batches);
	send_batches(store, batches);
}

uint64_t flight_request_first(struct content_store *store, const struct catalog *c,
	uint64_t most_bytes, uint32_t *out_end)
{
	struct ahead_range range = {
		.count = c->frame_count < AHEAD_FRAMES ? c->frame_count : AHEAD_FRAMES};
	uint64_t share = share_of(c, range);
	struct batch *batches = NULL;
	uint32_t frame = 0;
	uint64_t bytes = 0;

	while (frame < range.count && bytes < most_bytes)
		bytes += start_frame_ahead(store, c, frame++, share, &batches);
	send_batches(store, batches);
	*out_end = frame;
	return bytes;
}

void flight_watch_frames(struct content_store *store, const struct catalog *c,
	uint32_t first, struct flight_watch *const *watches, size_t count)
{
	struct batch *batches = NULL;
	size_t queued = 0;
	int r = 0;

	mutex_lock(&store->flights.lock);
	while (queued < count && r == 0) {
		uint32_t frame = first + (uint32_t)queued;
		struct flight *f = find_flight(&store->flights, c, frame);

		watches[queued]->is_first = !f;
		if (!f)
			r = start_flight(store, c, frame, FETCH_BACKGROUND, &batches, &f);
		if (r < 0)
			break;
		watches[queued]->next = f->watches;
		f->watches = watches[queued];
		queued++;
	}
	mutex_unlock(&store->flights.lock);
	for (size_t i = queued; i < count; i++)
		watches[i]->landed(watches[i], NULL, r);
	send_batches(store, batches);
}

bool flight_unwatch(struct content_store *store, const struct catalog *c, uint32_t frame,
	struct flight_watch *watch)
{
	bool was_there = false;

	mutex_lock(&store->flights.lock);
	struct flight *f = find_flight(&store->flights, c, frame);

	for (struct flight_watch **at = f ? &f->watches : NULL; at && *at;
		at = &(*at)->next) {
		if (*at != watch)
			continue;
		*at = watch->next;
		was_there = true;
		break;
	}
	mutex_unlock(&store->flights.lock);
	return was_there;
}
