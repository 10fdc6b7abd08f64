/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/content/content.h"

#include "cache/base/disk/dir.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/content/content_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define PARTIAL_DIR "partial"

/* A read covers few pieces: a request of the kernel is at most 1 MiB, a piece seldom below
 * 16 KiB. More are asked for in several rounds. */
#define PIECES_PER_READ 128

/* A partial is written in place, and after a crash its times and its record may be older or newer
 * than its bytes: it goes, and is fetched again. */
static int remove_partial(void *arg, int dirfd, const char *name)
{
	(void)arg;
	return unlinkat(dirfd, name, 0) < 0 ? -errno : 0;
}

int content_store_new(const struct content_config *config, struct content_store **out)
{
	AUTO_FREE struct content_store *store = mem_calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	if (mkdirat(config->cache_dirfd, PARTIAL_DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	store->partial_dirfd = openat(
		config->cache_dirfd, PARTIAL_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->partial_dirfd < 0)
		return -errno;
	store->config = *config;
	int r = 0;

	if (checkpoint_is_after_crash(config->checkpoint))
		r = dir_each(store->partial_dirfd, ".", remove_partial, NULL);
	if (r < 0) {
		close(store->partial_dirfd);
		return r;
	}
	mutex_init(&store->lock);
	flight_table_init(&store->flights);
	ahead_init(&store->ahead);
	reuse_init(&store->reuse);
	recent_init(&store->recent);
	*out = TAKE_PTR(store);
	return 0;
}

static struct content_file *find_locked(
	struct content_store *store, const struct digest *digest) REQUIRES(store->lock)
{
	struct content_file *file = store->buckets[digest_key(digest) % CONTENT_BUCKETS];

	while (file && !digest_equal(&file->content->digest, digest))
		file = file->next;
	if (file)
		file->refs++;
	return file;
}

struct content_file *content_find(
	struct content_store *store, const struct digest *digest)
{
	mutex_lock(&store->lock);
	struct content_file *file = find_locked(store, digest);

	mutex_unlock(&store->lock);
	return file;
}

bool content_is_open(struct content_store *store, const struct digest *digest)
{
	struct content_file *file = content_find(store, digest);

	if (file)
		content_close(file);
	return file;
}

void content_ref(struct content_file *file)
{
	mutex_lock(&file->store->lock);
	file->refs++;
	mutex_unlock(&file->store->lock);
}

static void file_free(struct content_file *file)
{
	int fd = atomic_load(&file->object_fd);

	if (fd >= 0)
		close(fd);
	/* the last reference is gone: nobody else can hold the lock */
	mutex_lock(&file->lock);
	partial_free(file->partial);
	for (struct loose_piece *l = file->loose, *next; l; l = next) {
		next = l->next;
		free(l);
	}
	mutex_unlock(&file->lock);
	mutex_release(&file->lock);
	catalog_unref(file->catalog);
	free(file);
}

void content_store_free(struct content_store *store)
{
	if (!store)
		return;
	mutex_lock(&store->lock);
	for (size_t i = 0; i < CONTENT_BUCKETS; i++) {
		while (store->buckets[i]) {
			struct content_file *file = store->buckets[i];

			store->buckets[i] = file->next;
			file_free(file);
		}
	}
	mutex_unlock(&store->lock);
	close(store->partial_dirfd);
	flight_table_release(&store->flights);
	ahead_release(&store->ahead);
	reuse_release(&store->reuse);
	recent_release(&store->recent);
	mutex_release(&store->lock);
	free(store);
}

void content_store_let_go(struct content_store *store)
{
	ahead_let_go(&store->ahead);
	recent_let_go(&store->recent);
	reuse_let_go(&store->reuse);
}

static struct content_file *file_new(struct content_store *store,
	const struct catalog *catalog, const struct catalog_content *content)
{
	struct content_file *file = mem_calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	mutex_init(&file->lock);
	file->store = store;
	file->refs = 1;
	catalog_ref(catalog);
	file->catalog = catalog;
	file->content = content;
	file->object_fd = -1;
	return file;
}

/* Under the record's lock, so that there is one opener of its partial file. */
int content_file_attach(struct content_file *file)
{
	struct content_store *store = file->store;
	int r = 0;

	if (atomic_load(&file->is_attached))
		return 0;
	int fd = object_store_get(
		store->config.objects, &file->content->digest, file->content->size);

	if (fd >= 0)
		atomic_store(&file->object_fd, fd);
	else if (fd == -ENOENT && !content_is_single(file->catalog, file->content))
		r = partial_open(store->partial_dirfd, store->config.checkpoint,
			file->catalog, file->content, PARTIAL_PROBE, &file->partial);
	else
		r = fd;
	if (r < 0 && r != -ENOENT)
		return r;
	atomic_store(&file->is_attached, true);
	return 0;
}

/* Pieces of a content that a reader wants; none if first == end. */
struct wanted {
	uint32_t first;
	uint32_t end;
};

static uint32_t frame_of(
	const struct catalog *c, const struct catalog_content *content, uint32_t piece)
{
	return c->chunks[c->pieces[content->first_piece + piece].chunk].frame;
}

/* Tells the read-ahead where a reader is. Returns what it wants asked for. */
static struct ahead_range touch_frames(struct content_store *store,
	const struct catalog *c, const struct catalog_content *content,
	const struct wanted *wanted, bool is_miss)
{
	struct ahead_range range =
		ahead_touch(&store->ahead, c, frame_of(c, content, wanted->first),
			frame_of(c, content, wanted->end - 1),
			(uint32_t)(content - c->contents), is_miss);

	if (range.is_through) {
		/* the version that comes next may have the same chunks */
		reuse_offer(&store->reuse, c);
		if (store->through)
			store->through(store->through_arg, c);
	}
	return range;
}

int content_open_record(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, struct content_file **out)
{
	struct content_file *file = content_find(store, &content->digest);

	if (!file) {
		struct content_file *fresh = file_new(store, catalog, content);

		if (!fresh)
			return -ENOMEM;
		mutex_lock(&store->lock);
		file = find_locked(store, &content->digest);
		if (!file) {
			struct content_file **bucket =
				&store->buckets[digest_key(&content->digest) %
						CONTENT_BUCKETS];

			fresh->next = *bucket;
			*bucket = fresh;
		}
		mutex_unlock(&store->lock);
		if (file)
			file_free(fresh);
		else
			file = fresh;
	}
	*out = file;
	return 0;
}

void content_touch(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content)
{
	if (!content->piece_count || !store->config.source)
		return;
	struct ahead_range range =
		touch_frames(store, catalog, content, &(struct wanted){0, 1}, false);

	flight_request_ahead(store, catalog, range.first, range.count);
}

int content_open(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, struct content_file **out)
{
	int r = content_open_record(store, catalog, content, out);

	if (r < 0)
		return r;
	content_touch(store, catalog, content);
	if (content->piece_count > 1)
		reuse_offer(&store->reuse, catalog);
	return 0;
}

static void take_out(struct content_store *store, struct content_file *file)
	REQUIRES(store->lock)
{
	struct content_file **at =
		&store->buckets[digest_key(&file->content->digest) % CONTENT_BUCKETS];

	while (*at != file)
		at = &(*at)->next;
	*at = file->next;
}

void content_detach(struct content_file *file)
{
	struct content_store *store = file->store;

	mutex_lock(&store->lock);
	if (!file->is_detached)
		take_out(store, file);
	file->is_detached = true;
	mutex_unlock(&store->lock);
}

/* What only memory holds would go with the record: the disk is asked once more. */
static void save_loose(struct content_file *file)
{
	mutex_lock(&file->lock);
	if (file->loose && atomic_load(&file->object_fd) < 0)
		content_file_land_loose(file);
	mutex_unlock(&file->lock);
}

void content_close(struct content_file *file)
{
	struct content_store *store = file->store;
	bool is_last;

	mutex_lock(&store->lock);
	is_last = file->refs == 1;
	mutex_unlock(&store->lock);
	if (is_last)
		save_loose(file);
	mutex_lock(&store->lock);
	is_last = --file->refs == 0;
	if (is_last && !file->is_detached)
		take_out(store, file);
	mutex_unlock(&store->lock);
	if (is_last)
		file_free(file);
}

void content_span_release(struct content_span *span)
{
	free(span->memory);
	span->memory = NULL;
}

static const struct loose_piece *find_loose(
	const struct content_file *file, uint32_t piece) REQUIRES(file->lock)
{
	const struct loose_piece *l = file->loose;

	while (l && l->piece != piece)
		l = l->next;
	return l;
}

/* Lists up to PIECES_PER_READ pieces of [first, end) that are not here. */
static uint32_t list_missing(struct content_file *file, uint32_t first, uint32_t end,
	uint32_t *out_list, bool *out_is_loose) REQUIRES(file->lock)
{
	uint32_t missing = 0;

	*out_is_loose = false;
	for (uint32_t i = first; i < end && missing < PIECES_PER_READ; i++) {
		if (file->partial && partial_has(file->partial, i))
			continue;
		if (find_loose(file, i))
			*out_is_loose = true;
		else
			out_list[missing++] = i;
	}
	return missing;
}

/* Puts a range together in memory: holes, what is on disk, what only memory holds. */
static ssize_t assemble(struct content_file *file, uint64_t offset, size_t len,
	struct content_span *out) REQUIRES(file->lock)
{
	AUTO_FREE uint8_t *memory = mem_calloc(len, 1);

	if (!memory)
		return -ENOMEM;
	if (file->partial) {
		ssize_t n =
			io_pread(partial_fd(file->partial), memory, len, (off_t)offset);

		if (n < 0)
			return n;
	}
	for (const struct loose_piece *l = file->loose; l; l = l->next) {
		uint64_t at = file->catalog->pieces[file->content->first_piece + l->piece]
				      .position;
		uint64_t from = at > offset ? at : offset;
		uint64_t to =
			at + l->length < offset + len ? at + l->length : offset + len;

		if (from < to)
			memcpy(memory + (from - offset), l->data + (from - at),
				to - from);
	}
	out->fd = -1;
	out->memory = TAKE_PTR(memory);
	return (ssize_t)len;
}

static ssize_t read_fd(int fd, uint64_t offset, size_t len, struct content_span *out)
{
	out->fd = fd;
	out->offset = (off_t)offset;
	return (ssize_t)len;
}

static ssize_t read_incomplete(struct content_file *file, uint64_t offset, size_t len,
	struct content_span *out, struct waiter *w, uint32_t *missing,
	uint32_t *missing_count, struct wanted *wanted) REQUIRES(file->lock)
{
	uint32_t base = file->content->first_piece;
	uint32_t first;
	uint32_t end;
	bool is_loose;

	/* before anything is looked for: what lands is in memory no more */
	if (file->loose)
		content_file_land_loose(file);
	if (atomic_load(&file->object_fd) >= 0)
		return read_fd(atomic_load(&file->object_fd), offset, len, out);
	catalog_pieces_in(file->catalog, file->content, offset, len, &first, &end);
	*missing_count = list_missing(file, first - base, end - base, missing, &is_loose);
	*wanted = (struct wanted){first - base, end - base};
	if (*missing_count == 0) {
		if (is_loose || !file->partial)
			return assemble(file, offset, len, out);
		out->fd = partial_fd(file->partial);
		out->offset = (off_t)offset;
		return (ssize_t)len;
	}
	/* it may have landed since anybody looked (who waits already is woken by the frame
	 * that brings it, so it is left to finish) */
	if (!file->waiters && content_is_single(file->catalog, file->content)) {
		int fd = object_store_get(file->store->config.objects,
			&file->content->digest, file->content->size);

		if (fd >= 0) {
			atomic_store(&file->object_fd, fd);
			return read_fd(fd, offset, len, out);
		}
	}
	if (!file->store->config.source)
		return -EHOSTUNREACH;
	if (!w)
		return -EAGAIN;
	w->first = first - base;
	w->end = missing[*missing_count - 1] + 1;
	w->missing = *missing_count;
	w->next = file->waiters;
	file->waiters = w;
	return -EINPROGRESS;
}

/* Takes what other contents hold of a range before anybody is asked for it. */
static int copy_missing(struct content_file *file, uint64_t offset, size_t len)
{
	uint32_t missing[PIECES_PER_READ];
	uint32_t base = file->content->first_piece;
	uint32_t first;
	uint32_t end;
	bool is_loose;

	catalog_pieces_in(file->catalog, file->content, offset, len, &first, &end);
	mutex_lock(&file->lock);
	int r = content_file_attach(file);
	uint32_t count = r < 0 || atomic_load(&file->object_fd) >= 0
				 ? 0
				 : list_missing(file, first - base, end - base, missing,
					   &is_loose);

	mutex_unlock(&file->lock);
	if (count)
		(void)reuse_pieces(
			file->store, file->catalog, file->content, missing, count);
	return r;
}

/* A small file that has just come: from memory, whether it has landed yet or not. */
static ssize_t read_recent(
	struct content_file *file, uint64_t offset, size_t len, struct content_span *out)
{
	const struct catalog *c = file->catalog;

	if (!content_is_single(c, file->content))
		return -EAGAIN;
	uint8_t *memory = recent_take(&file->store->recent, c,
		&c->chunks[c->pieces[file->content->first_piece].chunk]);

	if (!memory)
		return -EAGAIN;
	if (offset)
		memmove(memory, memory + offset, len);
	out->memory = memory;
	return (ssize_t)len;
}

void content_on_recent(struct content_store *store, void (*came)(void *arg), void *arg)
{
	store->recent_came = came;
	store->recent_arg = arg;
}

void content_on_through(struct content_store *store,
	void (*through)(void *arg, const struct catalog *catalog), void *arg)
{
	store->through = through;
	store->through_arg = arg;
}

bool content_may_expect(struct content_store *store)
{
	return store->config.source && source_is_background_free(store->config.source);
}

bool content_expect(struct content_store *store, const struct catalog *catalog,
	uint64_t most_bytes, uint64_t *out_bytes)
{
	uint32_t end;

	*out_bytes = 0;
	if (!content_may_expect(store))
		return false;
	reuse_offer(&store->reuse, catalog);
	*out_bytes = flight_request_first(store, catalog, most_bytes, &end);
	/* also where nothing was missing: who comes is to be seen going through it */
	ahead_expect(&store->ahead, catalog, end);
	return end == catalog->frame_count;
}

bool content_has_recent(struct content_store *store)
{
	return !recent_is_empty(&store->recent);
}

int64_t content_expire_recent(struct content_store *store)
{
	return recent_expire(&store->recent);
}

bool content_copy_recent(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, uint8_t *out, size_t size)
{
	if (content->size > size || content->data_bytes < content->size)
		return false;
	for (uint32_t i = 0; i < content->piece_count; i++) {
		const struct catalog_piece *p =
			&catalog->pieces[content->first_piece + i];

		if (!recent_copy(&store->recent, catalog, &catalog->chunks[p->chunk],
			    out + p->position))
			return false;
	}
	return true;
}

/* What is not complete, or has not been looked for. `missing` is to be asked for when it returns
 * -EINPROGRESS; `wanted` is left as it is when all is complete. */
static ssize_t read_or_wait(struct content_file *file, uint64_t offset, size_t len,
	struct content_span *out, struct waiter *w, uint32_t *missing, uint32_t *count,
	struct wanted *wanted)
{
	ssize_t n = file->content->piece_count > 1 ? copy_missing(file, offset, len) : 0;

	if (n < 0)
		return n;
	mutex_lock(&file->lock);
	n = content_file_attach(file);
	int fd = atomic_load(&file->object_fd);

	if (n == 0)
		n = fd >= 0 ? read_fd(fd, offset, len, out)
			    : read_incomplete(
				      file, offset, len, out, w, missing, count, wanted);
	mutex_unlock(&file->lock);
	return n;
}

ssize_t content_read(struct content_file *file, uint64_t offset, size_t len,
	struct content_span *out, struct waiter *w)
{
	uint32_t missing[PIECES_PER_READ];
	uint32_t count = 0;
	struct wanted wanted = {0};
	struct ahead_range ahead = {0};

	*out = (struct content_span){.fd = -1};
	if (offset >= file->content->size)
		return 0;
	if (len > file->content->size - offset)
		len = (size_t)(file->content->size - offset);
	int fd = atomic_load(&file->object_fd);

	if (fd >= 0)
		return read_fd(fd, offset, len, out);
	ssize_t n = read_recent(file, offset, len, out);

	if (n >= 0)
		return n; /* its open has told the read-ahead where the reader is */
	/* once the waiter is queued it may be woken, answered and the file closed at any time */
	content_ref(file);
	n = read_or_wait(file, offset, len, out, w, missing, &count, &wanted);
	if (wanted.end > wanted.first && n != -EAGAIN && file->store->config.source)
		ahead = touch_frames(file->store, file->catalog, file->content, &wanted,
			n == -EINPROGRESS);
	if (n == -EINPROGRESS)
		flight_request(file, missing, count, ahead);
	else
		flight_request_ahead(
			file->store, file->catalog, ahead.first, ahead.count);
	content_close(file);
	return n;
}

/* Bytes of the pieces that a partial holds. */
static uint64_t landed_bytes(const struct catalog *c,
	const struct catalog_content *content, const struct partial *p)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < content->piece_count; i++)
		if (partial_has(p, i))
			bytes += c->chunks[c->pieces[content->first_piece + i].chunk]
					 .length;
	return bytes;
}

void content_state(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, struct content_info *out)
{
	struct object_times times;

	*out = (struct content_info){.state = CONTENT_CACHED};
	/* an empty file, or one single hole: nothing to fetch */
	if (!content || content->piece_count == 0)
		return;
	out->chunks = content->piece_count;
	if (object_store_has(
		    store->config.objects, &content->digest, content->size, &times)) {
		out->landed_ns = times.landed_ns;
		out->accessed_ns = times.accessed_ns;
		out->chunks_cached = content->piece_count;
		out->cached_bytes = content->data_bytes;
		return;
	}
	out->state = CONTENT_REMOTE;
	struct partial *p;

	if (partial_open(store->partial_dirfd, store->config.checkpoint, catalog, content,
		    PARTIAL_PROBE, &p) < 0)
		return;
	out->chunks_cached = partial_count(p);
	out->cached_bytes = landed_bytes(catalog, content, p);
	if (out->chunks_cached)
		out->state = CONTENT_PARTIAL;
	partial_free(p);
}

bool content_is_here(
	struct content_store *store, const struct digest *digest, uint64_t size)
{
	char name[DIGEST_HEX_SIZE];

	if (object_store_has(store->config.objects, digest, size, NULL))
		return true;
	digest_to_hex(digest, name);
	return faccessat(store->partial_dirfd, name, F_OK, 0) == 0;
}
