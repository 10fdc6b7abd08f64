/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/catalog/catalog_check.h"
#include "cache/catalog/compose/catalog_compose.h"
#include "tests/cache/sample_catalog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Adds all that is below the top of `c`, which is there already. */
static int add_all(struct compose *compose, const struct catalog *c, uint32_t top,
	unsigned int flags)
{
	uint32_t *handles = calloc(c->entry_count, sizeof(*handles));
	int r = 0;

	assert_non_null(handles);
	handles[0] = top;
	for (uint32_t i = 1; r == 0 && i < c->entry_count; i++) {
		const struct catalog_entry *e = catalog_entry(c, i);

		r = compose_add(compose, handles[e->parent], c, i, flags, &handles[i]);
		if (r == 0 && catalog_entry_is_nested(e))
			r = compose_nest(compose, handles[i], &c->nested[e->first], 7);
	}
	free(handles);
	return r;
}

static int compose_all(const struct catalog *c, unsigned int flags, struct composed *out)
{
	struct compose *compose;
	uint32_t top;
	char path[64];

	*out = (struct composed){0};
	assert_in_range(c->path_length, 0, sizeof(path));
	memcpy(path, c->path, c->path_length);
	int r = compose_new(path, c->path_length, &compose);

	if (r < 0)
		return r;
	r = compose_add(compose, 0, c, CATALOG_ROOT, 0, &top);
	if (r == 0)
		r = add_all(compose, c, top, flags);
	if (r == 0)
		r = compose_finish(compose, out);
	compose_free(compose);
	return r;
}

static struct catalog *open_composed(struct composed *composed)
{
	struct digest digest;
	struct catalog *c = NULL;
	const char *reason = "";

	assert_int_equal(
		digest_of(composed->data, (size_t)composed->nested.raw_bytes, &digest),
		0);
	assert_true(digest_equal(&digest, &composed->nested.digest));
	if (catalog_open_memory(
		    composed->data, (size_t)composed->nested.raw_bytes, &c, &reason) < 0)
		fail_msg("not sound: %s", reason);
	composed->data = NULL;
	assert_true(catalog_is_composed(c));
	assert_int_equal(c->header->tree_entries, composed->nested.tree_entries);
	assert_int_equal(c->header->tree_bytes, composed->nested.tree_bytes);
	return c;
}

static uint32_t find(const struct catalog *c, const char *path)
{
	uint32_t at = CATALOG_ROOT;

	while (*path && at != CATALOG_NO_ENTRY) {
		size_t len = strcspn(path, "/");

		at = catalog_lookup(c, at, path, len);
		path += len + (path[len] == '/');
	}
	if (at == CATALOG_NO_ENTRY)
		fail_msg("there is no such entry");
	return at;
}

static const struct catalog_entry *entry(const struct catalog *c, const char *path)
{
	return catalog_entry(c, find(c, path));
}

static void assert_content_alike(const struct catalog *a, const struct catalog_content *x,
	const struct catalog *b, const struct catalog_content *y)
{
	assert_true(digest_equal(&x->digest, &y->digest));
	assert_int_equal(x->piece_count, y->piece_count);
	assert_int_equal(x->data_bytes, y->data_bytes);
	for (uint32_t i = 0; i < x->piece_count; i++) {
		const struct catalog_piece *p = &a->pieces[x->first_piece + i];
		const struct catalog_piece *q = &b->pieces[y->first_piece + i];
		const struct catalog_chunk *k = &a->chunks[p->chunk];
		const struct catalog_chunk *l = &b->chunks[q->chunk];
		const struct catalog_frame *f = &a->frames[k->frame];
		const struct catalog_frame *g = &b->frames[l->frame];

		assert_int_equal(p->position, q->position);
		assert_int_equal(k->offset, l->offset);
		assert_int_equal(k->length, l->length);
		assert_true(digest_equal(&k->digest, &l->digest));
		assert_int_equal(f->offset, g->offset);
		assert_int_equal(f->stored_bytes, g->stored_bytes);
		assert_int_equal(f->raw_bytes, g->raw_bytes);
		assert_int_equal(f->flags, g->flags);
		assert_true(digest_equal(
			&a->packs[f->pack].digest, &b->packs[g->pack].digest));
		assert_int_equal(a->packs[f->pack].bytes, b->packs[g->pack].bytes);
	}
}

static void assert_xattrs_alike(const struct catalog *a, const struct catalog_entry *x,
	const struct catalog *b, const struct catalog_entry *y)
{
	assert_int_equal(!x->xattrs, !y->xattrs);
	if (!x->xattrs)
		return;
	const struct catalog_xattr_set *s = &a->xattrs[x->xattrs - 1];
	const struct catalog_xattr_set *t = &b->xattrs[y->xattrs - 1];

	assert_int_equal(s->length, t->length);
	assert_memory_equal(
		a->xattr_data + s->offset, b->xattr_data + t->offset, s->length);
}

static void assert_entry_alike(const struct catalog *a, const struct catalog_entry *x,
	const struct catalog *b, const struct catalog_entry *y)
{
	assert_int_equal(x->mode, y->mode);
	assert_int_equal(x->uid, y->uid);
	assert_int_equal(x->gid, y->gid);
	assert_int_equal(x->nlink, y->nlink);
	assert_int_equal(x->size, y->size);
	assert_int_equal(x->mtime_sec, y->mtime_sec);
	assert_int_equal(x->mtime_nsec, y->mtime_nsec);
	assert_int_equal(x->ino, y->ino);
	assert_xattrs_alike(a, x, b, y);
	if (S_ISLNK(x->mode)) {
		assert_int_equal(x->count, y->count);
		assert_memory_equal(
			a->targets + x->first, b->targets + y->first, x->count);
	} else if (catalog_content_of(a, x)) {
		assert_content_alike(
			a, catalog_content_of(a, x), b, catalog_content_of(b, y));
	} else if (!S_ISDIR(x->mode)) {
		assert_int_equal(x->first, y->first);
		assert_int_equal(x->count, y->count);
	}
}

static void all_entries_of_a_catalog_give_the_same_catalog(void **state)
{
	struct built_catalog *built = sample_catalog();
	struct catalog *from = built_open(built);
	struct composed composed;

	(void)state;
	assert_int_equal(compose_all(from, 0, &composed), 0);
	struct catalog *c = open_composed(&composed);

	assert_int_equal(c->entry_count, from->entry_count);
	assert_int_equal(c->header->tree_entries, from->header->tree_entries);
	assert_int_equal(c->header->tree_bytes, from->header->tree_bytes);
	assert_int_equal(c->chunk_count, from->chunk_count);
	assert_int_equal(c->frame_count, from->frame_count);
	assert_int_equal(c->pack_count, from->pack_count);
	for (uint32_t i = 0; i < c->entry_count; i++) {
		const struct catalog_entry *x = catalog_entry(c, i);
		const struct catalog_entry *y = catalog_entry(from, i);

		assert_entry_alike(c, x, from, y);
		assert_int_equal(x->name_length, y->name_length);
		assert_memory_equal(
			catalog_name(c, x), catalog_name(from, y), x->name_length);
		assert_int_equal(x->parent, y->parent);
		assert_int_equal(x->link, y->link);
		assert_int_equal(x->flags, y->flags);
		assert_int_equal(c->folded[i], from->folded[i]);
	}
	assert_memory_equal(&c->nested[0], &from->nested[0], sizeof(c->nested[0]));
	assert_int_equal(c->local[0].revision, 7);
	catalog_close(c);
	catalog_close(from);
	built_free(built);
}

/* Two trees: of the old one some entries stay, as stale ones. */
static struct built_catalog *built_old(void)
{
	struct catalog_builder *b = builder_new("pkg");
	uint32_t dir = builder_dir(b, BUILDER_TOP, "dir");

	builder_file(b, BUILDER_TOP, "Alike", "alike", 5, 64);
	builder_file(b, BUILDER_TOP, "Gone", "gone", 4, 64);
	builder_file(b, dir, "alike", "alike", 5, 64);
	uint32_t linked = builder_file(b, BUILDER_TOP, "linked", "old link", 8, 64);

	builder_link(b, BUILDER_TOP, "linked-gone", linked);
	builder_link(b, dir, "linked-gone-too", linked);
	builder_xattr(b, dir, "user.a", "1", 1);
	return builder_finish(b);
}

static struct built_catalog *built_new(void)
{
	struct catalog_builder *b = builder_new("pkg");
	uint32_t dir = builder_dir(b, BUILDER_TOP, "dir");

	builder_file(b, BUILDER_TOP, "before", "something in another place", 26, 64);
	builder_file(b, BUILDER_TOP, "zz-alike", "alike", 5, 64);
	builder_file(b, BUILDER_TOP, "linked", "new", 3, 64);
	builder_xattr(b, dir, "user.a", "1", 1);
	return builder_finish(b);
}

static int add(struct compose *compose, uint32_t parent, const struct catalog *from,
	const char *path, unsigned int flags, uint32_t *out)
{
	return compose_add(compose, parent, from, find(from, path), flags, out);
}

/* What an incremental sync from built_old() to built_new() shows. */
static int compose_both(
	const struct catalog *old, const struct catalog *new, struct composed *out)
{
	struct compose *c;
	uint32_t top;
	uint32_t dir;
	uint32_t h;
	int r = compose_new("pkg", 3, &c);

	if (r < 0)
		return r;
	r = compose_add(c, 0, new, CATALOG_ROOT, 0, &top);
	if (r == 0)
		r = add(c, top, old, "Alike", COMPOSE_STALE, &h);
	if (r == 0)
		r = add(c, top, old, "Gone", COMPOSE_STALE, &h);
	if (r == 0)
		r = add(c, top, new, "before", 0, &h);
	if (r == 0)
		r = add(c, top, new, "dir", 0, &dir);
	if (r == 0)
		r = add(c, dir, old, "dir/alike", COMPOSE_STALE, &h);
	if (r == 0)
		r = add(c, dir, old, "dir/linked-gone-too", COMPOSE_STALE, &h);
	if (r == 0)
		r = add(c, top, new, "linked", 0, &h);
	if (r == 0)
		r = add(c, top, old, "linked-gone", COMPOSE_STALE, &h);
	/* thought better of */
	if (r == 0)
		r = add(c, top, new, "dir", 0, &dir);
	if (r == 0)
		r = add(c, dir, old, "Gone", 0, &h);
	if (r == 0) {
		compose_drop(c, dir);
		r = add(c, top, new, "zz-alike", 0, &h);
	}
	if (r == 0)
		r = compose_finish(c, out);
	compose_free(c);
	return r;
}

struct pair {
	struct built_catalog *built_old;
	struct built_catalog *built_new;
	struct catalog *old;
	struct catalog *new;
};

static struct pair open_pair(void)
{
	struct pair p = {.built_old = built_old(), .built_new = built_new()};

	p.old = built_open(p.built_old);
	p.new = built_open(p.built_new);
	return p;
}

static void close_pair(struct pair *p)
{
	catalog_close(p->old);
	catalog_close(p->new);
	built_free(p->built_old);
	built_free(p->built_new);
}

static void entries_of_two_catalogs_stand_together(void **state)
{
	struct pair p = open_pair();
	struct composed composed;

	(void)state;
	assert_int_equal(compose_both(p.old, p.new, &composed), 0);
	struct catalog *c = open_composed(&composed);

	assert_int_equal(c->path_length, 3);
	assert_memory_equal(c->path, "pkg", 3);
	assert_int_equal(c->entry_count, 10);
	assert_int_equal(c->header->tree_entries, 10);
	assert_int_equal(c->header->tree_bytes, 5 + 4 + 26 + 5 + 8 + 3 + 8 + 5);
	assert_true(catalog_entry_is_stale(entry(c, "Gone")));
	assert_false(catalog_entry_is_stale(entry(c, "before")));
	assert_false(catalog_entry_is_stale(entry(c, "dir")));
	assert_true(catalog_entry_is_stale(entry(c, "dir/alike")));
	assert_entry_alike(c, entry(c, "Gone"), p.old, entry(p.old, "Gone"));
	assert_entry_alike(c, entry(c, "before"), p.new, entry(p.new, "before"));
	assert_entry_alike(c, entry(c, "linked"), p.new, entry(p.new, "linked"));
	assert_int_not_equal(
		catalog_lookup_folded(c, CATALOG_ROOT, "gone", 4), CATALOG_NO_ENTRY);
	assert_int_equal(c->xattr_count, 1);
	catalog_close(c);
	close_pair(&p);
}

static void of_two_alike_contents_the_places_of_the_live_one_count(void **state)
{
	struct pair p = open_pair();
	struct composed composed;

	(void)state;
	assert_int_equal(compose_both(p.old, p.new, &composed), 0);
	struct catalog *c = open_composed(&composed);
	/* used first */
	const struct catalog_entry *stale = entry(c, "Alike");
	const struct catalog_entry *live = entry(c, "zz-alike");

	/* the old pack may be gone from the depot */
	assert_ptr_equal(catalog_content_of(c, stale), catalog_content_of(c, live));
	assert_content_alike(c, catalog_content_of(c, live), p.new,
		catalog_content_of(p.new, entry(p.new, "zz-alike")));
	assert_int_equal(c->content_count, 5);
	assert_int_equal(c->pack_count, 2);
	catalog_close(c);
	close_pair(&p);
}

static void stale_names_of_a_file_become_a_file_of_their_own(void **state)
{
	struct pair p = open_pair();
	struct composed composed;

	(void)state;
	assert_int_equal(compose_both(p.old, p.new, &composed), 0);
	struct catalog *c = open_composed(&composed);
	const struct catalog_entry *one = entry(c, "linked-gone");
	const struct catalog_entry *two = entry(c, "dir/linked-gone-too");

	assert_int_equal(one->nlink, 2);
	assert_int_equal(two->nlink, 2);
	assert_int_equal(one->link, find(c, "linked-gone"));
	assert_int_equal(two->link, one->link);
	assert_int_equal(two->ino, one->ino);
	assert_int_equal(one->ino, hash64("pkg/linked-gone", 15, 0));
	assert_int_equal(entry(c, "linked")->link, find(c, "linked"));
	assert_int_equal(entry(c, "linked")->ino, entry(p.new, "linked")->ino);
	/* composed of once more, they stay what they are */
	struct composed again;

	assert_int_equal(compose_all(c, COMPOSE_STALE, &again), 0);
	struct catalog *d = open_composed(&again);

	assert_int_equal(entry(d, "linked-gone")->ino, one->ino);
	assert_int_equal(entry(d, "linked-gone")->nlink, 2);
	catalog_close(d);
	catalog_close(c);
	close_pair(&p);
}

static void a_directory_counts_its_subdirectories(void **state)
{
	struct pair p = open_pair();
	struct composed composed;
	struct compose *compose;
	uint32_t top;
	uint32_t dir;

	(void)state;
	assert_int_equal(compose_new("pkg", 3, &compose), 0);
	assert_int_equal(compose_add(compose, 0, p.new, CATALOG_ROOT, 0, &top), 0);
	assert_int_equal(add(compose, top, p.new, "dir", 0, &dir), 0);
	compose_adjust_nlink(compose, dir, 3);
	compose_adjust_nlink(compose, dir, -1);
	assert_int_equal(compose_finish(compose, &composed), 0);
	compose_free(compose);
	struct catalog *c = open_composed(&composed);

	assert_int_equal(entry(c, "dir")->nlink, entry(p.new, "dir")->nlink + 2);
	assert_int_equal(entry(c, "")->nlink, entry(p.new, "")->nlink);
	catalog_close(c);
	close_pair(&p);
}

static void the_same_entries_give_the_same_bytes(void **state)
{
	struct pair p = open_pair();
	struct composed one;
	struct composed two;

	(void)state;
	assert_int_equal(compose_both(p.old, p.new, &one), 0);
	assert_int_equal(compose_both(p.old, p.new, &two), 0);
	assert_true(digest_equal(&one.nested.digest, &two.nested.digest));
	/* from other copies of the catalogs, too */
	composed_release(&two);
	struct pair q = open_pair();

	assert_int_equal(compose_both(q.old, q.new, &two), 0);
	assert_true(digest_equal(&one.nested.digest, &two.nested.digest));
	composed_release(&one);
	composed_release(&two);
	close_pair(&p);
	close_pair(&q);
}

static void what_two_catalogs_tell_of_one_place_stays_apart(void **state)
{
	struct built_catalog *built = built_new();
	struct built_catalog *liar = built_new();
	struct catalog_header *h = (void *)liar->data;
	struct catalog_entry *entries =
		(void *)(liar->data + h->sections[CATALOG_ENTRIES].offset);
	struct catalog_content *contents =
		(void *)(liar->data + h->sections[CATALOG_CONTENTS].offset);
	struct catalog_chunk *chunks =
		(void *)(liar->data + h->sections[CATALOG_CHUNKS].offset);
	struct catalog_frame *frames =
		(void *)(liar->data + h->sections[CATALOG_FRAMES].offset);

	(void)state;
	/* other digests at the same places, in a frame of another length */
	for (uint32_t i = 0; i < h->sections[CATALOG_CHUNKS].count; i++)
		chunks[i].digest.bytes[5] ^= 1;
	for (uint32_t i = 0; i < h->sections[CATALOG_CONTENTS].count; i++)
		contents[i].digest.bytes[5] ^= 1;
	frames[0].raw_bytes++;
	frames[0].flags = 0;
	h = (void *)built->data;
	frames = (void *)(built->data + h->sections[CATALOG_FRAMES].offset);
	frames[0].flags = 0;
	entries[0].mtime_sec++;
	struct catalog *a = built_open(built);
	struct catalog *b = built_open(liar);
	struct compose *compose;
	struct composed composed;
	uint32_t top;
	uint32_t dir;

	assert_int_equal(compose_new("", 0, &compose), 0);
	assert_int_equal(compose_add(compose, 0, a, CATALOG_ROOT, 0, &top), 0);
	assert_int_equal(add(compose, top, a, "dir", 0, &dir), 0);
	assert_int_equal(add_all(compose, a, dir, 0), 0);
	assert_int_equal(add(compose, top, b, "linked", 0, &dir), 0);
	assert_int_equal(add(compose, top, b, "zz-alike", 0, &dir), 0);
	assert_int_equal(compose_finish(compose, &composed), 0);
	compose_free(compose);
	struct catalog *c = open_composed(&composed);

	assert_int_equal(c->frame_count, 2);
	assert_int_equal(c->pack_count, 1);
	assert_content_alike(c, catalog_content_of(c, entry(c, "linked")), b,
		catalog_content_of(b, entry(b, "linked")));
	assert_content_alike(c, catalog_content_of(c, entry(c, "dir/linked")), a,
		catalog_content_of(a, entry(a, "linked")));
	catalog_close(c);
	catalog_close(a);
	catalog_close(b);
	built_free(built);
	built_free(liar);
}

static void names_out_of_order_are_refused(void **state)
{
	struct pair p = open_pair();
	struct composed composed;
	struct compose *compose;
	char text[512];
	uint32_t top;
	uint32_t h;

	(void)state;
	assert_int_equal(compose_new("pkg", 3, &compose), 0);
	assert_int_equal(compose_add(compose, 0, p.new, CATALOG_ROOT, 0, &top), 0);
	assert_int_equal(add(compose, top, p.new, "linked", 0, &h), 0);
	assert_int_equal(add(compose, top, p.new, "before", 0, &h), 0);
	assert_int_equal(compose_finish(compose, &composed), -EBADMSG);
	log_last_error(text, sizeof(text));
	assert_non_null(strstr(text, "a directory is not in order"));
	compose_free(compose);
	close_pair(&p);
}

static void without_memory_it_fails_and_leaks_nothing(void **state)
{
	struct pair p = open_pair();
	struct composed composed;
	int r = -ENOMEM;
	long n = 0;

	(void)state;
	for (; r == -ENOMEM; n++) {
		mem_fail_after(n);
		r = compose_both(p.old, p.new, &composed);
		mem_fail_after(-1);
	}
	assert_int_equal(r, 0);
	assert_in_range(n, 15, 200);
	composed_release(&composed);
	close_pair(&p);
}

/* Whatever passes the check must compose to something that passes it. Sound ones. */
static bool compose_if_sound(const void *data, size_t len, const struct catalog *other)
{
	void *copy = malloc(len ? len : 1);
	struct composed composed;
	struct catalog *c;

	assert_non_null(copy);
	memcpy(copy, data, len);
	if (catalog_open_memory(copy, len, &c, NULL) < 0) {
		free(copy);
		return false;
	}
	for (unsigned int flags = 0; c->path_length < 64 && flags <= COMPOSE_STALE;
		flags++) {
		assert_int_equal(compose_all(c, flags, &composed), 0);
		composed_release(&composed);
	}
	/* below each other, in both orders: a name is smaller than one longer by a byte */
	for (unsigned int i = 0; i < 2; i++) {
		struct compose *compose;
		uint32_t top;
		uint32_t dir;

		assert_int_equal(compose_new("", 0, &compose), 0);
		assert_int_equal(compose_add(compose, 0, i ? c : other, 0, 0, &top), 0);
		assert_int_equal(
			compose_add(compose, top, other, find(other, "a"), 0, &dir), 0);
		assert_int_equal(add_all(compose, i ? other : c, dir, 0), 0);
		assert_int_equal(compose_add(compose, top, other, find(other, "pack"),
					 COMPOSE_STALE, &dir),
			0);
		assert_int_equal(add_all(compose, i ? c : other, dir, COMPOSE_STALE), 0);
		assert_int_equal(compose_finish(compose, &composed), 0);
		composed_release(&composed);
		compose_free(compose);
	}
	catalog_close(c);
	return true;
}

static void what_the_fuzzers_know_composes(void **state)
{
	struct built_catalog *built = sample_catalog();
	struct catalog *other = built_open(built);
	DIR *dir = opendir(CATALOG_CORPUS);
	unsigned int sound = 0;

	(void)state;
	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));) {
		AUTO_BUFFER struct buffer data = BUFFER_INIT(1 << 24);

		if (d->d_name[0] == '.')
			continue;
		assert_int_equal(io_read_file(dirfd(dir), d->d_name, &data), 0);
		if (data.len)
			sound += compose_if_sound(data.data, data.len, other);
	}
	closedir(dir);
	assert_true(sound >= 1);
	catalog_close(other);
	built_free(built);
}

static void a_catalog_with_lies_that_pass_the_check_composes(void **state)
{
	struct built_catalog *built = sample_catalog();
	struct catalog *other = built_open(built);
	uint8_t *copy = malloc(built->len);
	uint64_t x = 1;
	unsigned int sound = 0;

	(void)state;
	assert_non_null(copy);
	for (unsigned int i = 0; i < 30000; i++) {
		memcpy(copy, built->data, built->len);
		for (unsigned int k = 0; k <= i % 3; k++) {
			x = x * UINT64_C(6364136223846793005) +
			    UINT64_C(1442695040888963407);
			size_t at = (size_t)(x >> 33) % built->len;

			/* mostly small numbers: they are what passes */
			copy[at] = i & 4 ? (uint8_t)(x >> 20) : (uint8_t)((x >> 20) & 3);
		}
		sound += compose_if_sound(copy, built->len, other);
	}
	assert_true(sound > 1000);
	free(copy);
	catalog_close(other);
	built_free(built);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_entries_of_a_catalog_give_the_same_catalog),
		cmocka_unit_test(entries_of_two_catalogs_stand_together),
		cmocka_unit_test(of_two_alike_contents_the_places_of_the_live_one_count),
		cmocka_unit_test(stale_names_of_a_file_become_a_file_of_their_own),
		cmocka_unit_test(a_directory_counts_its_subdirectories),
		cmocka_unit_test(the_same_entries_give_the_same_bytes),
		cmocka_unit_test(what_two_catalogs_tell_of_one_place_stays_apart),
		cmocka_unit_test(names_out_of_order_are_refused),
		cmocka_unit_test(without_memory_it_fails_and_leaks_nothing),
		cmocka_unit_test(what_the_fuzzers_know_composes),
		cmocka_unit_test(a_catalog_with_lies_that_pass_the_check_composes),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
