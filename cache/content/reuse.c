/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An open hash table from a chunk's digest to the pieces that have it. An entry is small, so it
 * only knows where the piece stands in its catalog, and the catalog knows the rest. Contents of one
 * chunk are left out: who has the chunk has the content, and its object is found by name.
 */
#include "cache/content/reuse.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/content/content_file.h"
#include "cache/content/fetch/wants.h"

#include <errno.h>

#define SIZE_MIN 1024

/* Versions of a file that hold the same chunk: one of so many is here, or it is fetched. */
#define PLACES 8

struct place {
	const struct catalog *catalog; /* a reference */
	uint32_t content;
	uint32_t piece;
};

void reuse_init(struct reuse_table *table)
{
	mutex_init(&table->lock);
}

void reuse_release(struct reuse_table *table)
{
	for (size_t i = 0; i < table->catalog_count; i++)
		catalog_unkeep(table->catalogs[i]);
	free(table->entries);
	mutex_release(&table->lock);
}

static uint16_t tag_of(const struct digest *digest)
{
	return (uint16_t)(digest->bytes[30] << 8 | digest->bytes[31]);
}

static bool has_many_pieces(const struct catalog_content *content)
{
	return content->piece_count > 1;
}

static size_t count_pieces(const struct catalog *c)
{
	size_t count = 0;

	for (uint32_t i = 0; i < c->content_count; i++)
		if (has_many_pieces(&c->contents[i]))
			count += c->contents[i].piece_count;
	return count;
}

/* No more than PLACES of a kind: a disk image may have the same chunk of zeros a million times. */
static void put_entry(
	struct reuse_table *table, const struct digest *digest, struct reuse_entry entry)
{
	size_t at = digest_key(digest) & (table->size - 1);
	unsigned int alike = 0;

	while (table->entries[at].catalog) {
		alike += table->entries[at].tag == entry.tag;
		if (alike == PLACES)
			return;
		at = (at + 1) & (table->size - 1);
	}
	table->entries[at] = entry;
	table->used++;
}

static void index_catalog(struct reuse_table *table, size_t number)
{
	const struct catalog *c = table->catalogs[number];

	for (uint32_t i = 0; i < c->content_count; i++) {
		const struct catalog_content *content = &c->contents[i];

		if (!has_many_pieces(content))
			continue;
		for (uint32_t k = 0; k < content->piece_count; k++) {
			uint32_t piece = content->first_piece + k;
			const struct digest *digest =
				&c->chunks[c->pieces[piece].chunk].digest;

			put_entry(table, digest,
				(struct reuse_entry){.catalog = (uint16_t)(number + 1),
					.tag = tag_of(digest),
					.content = i,
					.piece = piece});
		}
	}
}

static void forget_oldest(struct reuse_table *table, size_t count)
{
	for (size_t i = 0; i < count; i++)
		catalog_unkeep(table->catalogs[i]);
	table->catalog_count -= count;
	for (size_t i = 0; i < table->catalog_count; i++)
		table->catalogs[i] = table->catalogs[i + count];
	table->indexed_count = 0;
	atomic_store_explicit(&table->newest, NULL, memory_order_relaxed);
}

/* Makes room for `pieces` in all and begins anew. */
static int begin_index(struct reuse_table *table, size_t pieces)
{
	size_t size = SIZE_MIN;

	while (size < pieces + pieces / 2)
		size *= 2;
	struct reuse_entry *entries = mem_calloc(size, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	free(table->entries);
	table->entries = entries;
	table->size = size;
	table->used = 0;
	table->indexed_count = 0;
	return 0;
}

/* Indexes what was offered since the last time. */
static int bring_up_to_date(struct reuse_table *table) REQUIRES(table->lock)
{
	size_t pieces;

	if (table->indexed_count == table->catalog_count)
		return 0;
	for (;;) {
		pieces = table->indexed_count ? table->used : 0;
		for (size_t i = table->indexed_count; i < table->catalog_count; i++)
			pieces += count_pieces(table->catalogs[i]);
		if (pieces <= REUSE_PIECES_MAX || table->catalog_count == 1)
			break;
		forget_oldest(table, (table->catalog_count + 1) / 2);
	}
	if (table->indexed_count == 0 || pieces + pieces / 2 > table->size) {
		/* twice what is needed now: the next ones find room */
		int r = begin_index(table, pieces * 2);

		if (r < 0)
			return r;
	}
	for (size_t i = table->indexed_count; i < table->catalog_count; i++)
		index_catalog(table, i);
	table->indexed_count = table->catalog_count;
	return 0;
}

void reuse_offer(struct reuse_table *table, const struct catalog *catalog)
{
	if (atomic_load_explicit(&table->newest, memory_order_relaxed) == catalog ||
		catalog->piece_count > REUSE_PIECES_MAX)
		return;
	mutex_lock(&table->lock);
	size_t i = 0;

	while (i < table->catalog_count && table->catalogs[i] != catalog)
		i++;
	if (i == table->catalog_count) {
		if (i == REUSE_CATALOGS_MAX)
			forget_oldest(table, REUSE_CATALOGS_MAX / 2);
		catalog_keep(catalog);
		table->catalogs[table->catalog_count++] = catalog;
	}
	atomic_store_explicit(&table->newest, catalog, memory_order_relaxed);
	mutex_unlock(&table->lock);
}

/* The index names what goes: without a hurry it is made anew, as large as what stays wants it. */
static void drop_index(struct reuse_table *table)
{
	free(table->entries);
	table->entries = NULL;
	table->size = 0;
	table->used = 0;
	table->indexed_count = 0;
	atomic_store_explicit(&table->newest, NULL, memory_order_relaxed);
}

void reuse_let_go(struct reuse_table *table)
{
	const struct catalog *gone[REUSE_CATALOGS_MAX];
	size_t gone_count = 0;
	size_t superseded = 0;
	size_t pieces = 0;
	size_t stay = 0;

	mutex_lock(&table->lock);
	/* the newest first: the version before is what the one that is shown shares most with */
	for (size_t i = table->catalog_count; i > 0; i--) {
		const struct catalog *c = table->catalogs[i - 1];

		if (catalog_is_only_kept(c)) {
			superseded++;
			pieces += count_pieces(c);
			if (superseded > REUSE_SUPERSEDED_MAX ||
				pieces > REUSE_SUPERSEDED_PIECES_MAX) {
				gone[gone_count++] = c;
				table->catalogs[i - 1] = NULL;
			}
		}
	}
	for (size_t i = 0; gone_count && i < table->catalog_count; i++)
		if (table->catalogs[i])
			table->catalogs[stay++] = table->catalogs[i];
	if (gone_count) {
		table->catalog_count = stay;
		drop_index(table);
	}
	mutex_unlock(&table->lock);
	for (size_t i = 0; i < gone_count; i++)
		catalog_unkeep(gone[i]);
}

/* Up to PLACES pieces of other contents than `own` with this chunk; drop_places() is the caller's. */
static size_t find_places(struct reuse_table *table, const struct catalog_chunk *chunk,
	const struct digest *own, struct place out[PLACES])
{
	size_t count = 0;

	mutex_lock(&table->lock);
	if (table->catalog_count && bring_up_to_date(table) == 0) {
		size_t at = digest_key(&chunk->digest) & (table->size - 1);

		for (; count < PLACES && table->entries[at].catalog;
			at = (at + 1) & (table->size - 1)) {
			const struct reuse_entry *e = &table->entries[at];
			const struct catalog *c = table->catalogs[e->catalog - 1];

			if (e->tag != tag_of(&chunk->digest) ||
				!digest_equal(
					&c->chunks[c->pieces[e->piece].chunk].digest,
					&chunk->digest) ||
				digest_equal(&c->contents[e->content].digest, own))
				continue;
			catalog_ref(c);
			out[count++] = (struct place){c, e->content, e->piece};
		}
	}
	mutex_unlock(&table->lock);
	return count;
}

static void drop_places(const struct place *places, size_t count)
{
	for (size_t i = 0; i < count; i++)
		catalog_unref(places[i].catalog);
}

/* The content that chunks are copied from, open for as long as they come from the same one. */
struct donor {
	struct digest digest;
	int fd; /* of the object; -1: none */
	struct partial *partial;
};

static void donor_close(struct donor *d)
{
	if (d->fd >= 0)
		close(d->fd);
	partial_free(d->partial);
	*d = (struct donor){.fd = -1};
}

static void donor_open(
	struct donor *d, struct content_store *store, const struct place *place)
{
	const struct catalog_content *content = &place->catalog->contents[place->content];

	if ((d->fd >= 0 || d->partial) && digest_equal(&d->digest, &content->digest))
		return;
	donor_close(d);
	d->digest = content->digest;
	d->fd = object_store_get(store->config.objects, &content->digest, content->size);
	if (d->fd < 0)
		d->fd = -1;
	if (d->fd < 0 && partial_open(store->partial_dirfd, store->config.checkpoint,
				 place->catalog, content, PARTIAL_PROBE, &d->partial) < 0)
		d->partial = NULL;
}

/* Where the donor has the piece's bytes, -ENOENT if it has them not. */
static int donor_fd(const struct donor *d, const struct place *place)
{
	const struct catalog_content *content = &place->catalog->contents[place->content];

	if (d->fd >= 0)
		return d->fd;
	return d->partial && partial_has(d->partial, place->piece - content->first_piece)
		       ? partial_fd(d->partial)
		       : -ENOENT;
}

/* Copies one chunk from this place, if it is there and sound. */
static int copy_from(struct content_store *store, struct donor *donor,
	const struct place *place, const struct catalog *catalog,
	const struct catalog_content *content, uint32_t piece, uint8_t *buffer)
{
	const struct catalog_chunk *chunk =
		&catalog->chunks[catalog->pieces[content->first_piece + piece].chunk];
	uint64_t position = place->catalog->pieces[place->piece].position;
	struct digest found;

	donor_open(donor, store, place);
	int fd = donor_fd(donor, place);

	if (fd < 0)
		return fd;
	int r = io_pread_exact(fd, buffer, chunk->length, (off_t)position);

	if (r == 0)
		r = digest_of(buffer, chunk->length, &found);
	if (r < 0)
		return r;
	if (!digest_equal(&found, &chunk->digest))
		return -EBADMSG;
	const struct piece_origin origin = {.fd = fd, .position = position};

	return content_land_piece(store, catalog, content, piece, buffer, &origin);
}

static bool is_place_here(struct content_store *store, const struct place *place)
{
	const struct want want = {place->content, place->piece};

	return want_is_met(store, place->catalog, &want);
}

bool reuse_has(struct content_store *store, const struct catalog *catalog,
	const struct catalog_chunk *chunk)
{
	struct place places[PLACES];
	bool has = false;

	const struct catalog_content *content = &catalog->contents[chunk->content];

	if (!has_many_pieces(content))
		return false;
	size_t count = find_places(&store->reuse, chunk, &content->digest, places);

	for (size_t i = 0; i < count && !has; i++)
		has = is_place_here(store, &places[i]);
	drop_places(places, count);
	return has;
}

uint64_t reuse_pieces(struct content_store *store, const struct catalog *catalog,
	const struct catalog_content *content, const uint32_t *pieces, size_t count)
{
	AUTO_FREE uint8_t *buffer = NULL;
	struct donor donor = {.fd = -1};
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		const struct catalog_chunk *chunk =
			&catalog->chunks[catalog->pieces[content->first_piece + pieces[i]]
						 .chunk];
		struct place places[PLACES];
		size_t found =
			find_places(&store->reuse, chunk, &content->digest, places);
		int r = -ENOENT;

		if (found && !buffer)
			buffer = mem_alloc(FRAME_MAX_BYTES);
		for (size_t k = 0; k < found && buffer && r < 0; k++)
			r = copy_from(store, &donor, &places[k], catalog, content,
				pieces[i], buffer);
		drop_places(places, found);
		if (r == 0)
			bytes += chunk->length;
	}
	donor_close(&donor);
	return bytes;
}
