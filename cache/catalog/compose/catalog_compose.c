/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The publisher's sync/master/catalog/catalog_writer.h makes the same form from a scanned tree.
 * What both have in common is in catalog_layout.h; the rest walks other structures: here all
 * is numbered already, by other catalogs.
 */
#include "cache/catalog/compose/catalog_compose.h"

#include "cache/base/data/buffer.h"
#include "cache/base/data/number_table.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/catalog/catalog_check.h"
#include "cache/catalog/compose/catalog_layout.h"
#include "cache/catalog/compose/content_pool.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_MAX_BYTES (UINT64_C(64) << 20)

struct node {
	const struct catalog *from;
	uint32_t index; /* in `from` */
	uint32_t parent;
	uint32_t nested; /* 1 + index into compose.nested; 0: none */
	unsigned int flags;
	int64_t more_links;
};

struct nested {
	struct catalog_nested values;
	uint64_t revision;
};

struct compose {
	char *path;
	size_t path_length;
	struct node *nodes; /* parents before children, those of one parent by name */
	size_t node_count;
	size_t node_capacity;
	struct nested *nested;
	size_t nested_count;
	size_t nested_capacity;
};

/* The names of one file among those that were added. */
struct link_group {
	uint32_t first; /* entry */
	uint32_t count;
	uint64_t first_ino; /* of the first one's path */
	bool has_ino_of_its_own;
};

/* What compose_finish() builds. */
struct assembly {
	const struct compose *c;
	uint32_t *starts; /* by handle: its children's range in `children` */
	uint32_t *children;
	uint32_t *order; /* handles, breadth first */
	struct catalog_entry *entries;
	struct buffer names;
	struct buffer targets;
	struct buffer xattr_sets;
	struct buffer xattr_data;
	uint32_t xattr_count;
	struct number_table xattr_table;
	struct link_group *links;
	uint32_t link_count;
	struct number_table link_table;
	struct content_pool pool;
	struct catalog_nested *nested;
	struct catalog_local *local;
	uint32_t nested_count;
	uint64_t tree_entries;
	uint64_t tree_bytes;
};

int compose_new(const char *path, size_t len, struct compose **out)
{
	AUTO_FREE struct compose *c = mem_calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->path = mem_dup(path, len);
	if (!c->path)
		return -ENOMEM;
	c->path_length = len;
	*out = TAKE_PTR(c);
	return 0;
}

void compose_free(struct compose *c)
{
	if (!c)
		return;
	free(c->path);
	free(c->nodes);
	free(c->nested);
	free(c);
}

int compose_add(struct compose *c, uint32_t parent, const struct catalog *from,
	uint32_t index, unsigned int flags, uint32_t *out_handle)
{
	if (c->node_count >= UINT32_MAX - 2)
		return -E2BIG;
	int r = mem_grow(
		(void **)&c->nodes, &c->node_capacity, c->node_count, sizeof(*c->nodes));

	if (r < 0)
		return r;
	c->nodes[c->node_count] = (struct node){
		.from = from, .index = index, .parent = parent, .flags = flags};
	*out_handle = (uint32_t)c->node_count++;
	return 0;
}

int compose_nest(struct compose *c, uint32_t handle, const struct catalog_nested *nested,
	uint64_t revision)
{
	int r = mem_grow((void **)&c->nested, &c->nested_capacity, c->nested_count,
		sizeof(*c->nested));

	if (r < 0)
		return r;
	c->nested[c->nested_count++] = (struct nested){*nested, revision};
	c->nodes[handle].nested = (uint32_t)c->nested_count;
	return 0;
}

void compose_adjust_nlink(struct compose *c, uint32_t handle, int64_t more)
{
	c->nodes[handle].more_links += more;
}

void compose_revive(struct compose *c, uint32_t handle)
{
	c->nodes[handle].flags &= ~(unsigned int)COMPOSE_STALE;
}

uint32_t compose_last(const struct compose *c)
{
	return (uint32_t)c->node_count - 1;
}

/* What was nested on the dropped ones stays behind, unused, until the end. */
void compose_drop(struct compose *c, uint32_t handle)
{
	c->node_count = handle;
}

static const struct catalog_entry *source_of(const struct node *n)
{
	return catalog_entry(n->from, n->index);
}

static void assembly_release(struct assembly *a)
{
	free(a->starts);
	free(a->children);
	free(a->order);
	free(a->entries);
	buffer_release(&a->names);
	buffer_release(&a->targets);
	buffer_release(&a->xattr_sets);
	buffer_release(&a->xattr_data);
	number_table_release(&a->xattr_table);
	free(a->links);
	number_table_release(&a->link_table);
	content_pool_release(&a->pool);
	free(a->nested);
	free(a->local);
}

static int assembly_init(struct assembly *a)
{
	size_t n = a->c->node_count;

	a->starts = mem_calloc(n + 1, sizeof(*a->starts));
	a->children = mem_alloc(n * sizeof(*a->children));
	a->order = mem_alloc(n * sizeof(*a->order));
	a->entries = mem_calloc(n, sizeof(*a->entries));
	a->links = mem_alloc(n * sizeof(*a->links));
	a->nested = mem_calloc(a->c->nested_count, sizeof(*a->nested));
	a->local = mem_calloc(a->c->nested_count, sizeof(*a->local));
	if (!a->starts || !a->children || !a->order || !a->entries || !a->links ||
		!a->nested || !a->local)
		return -ENOMEM;
	if (number_table_init(&a->xattr_table, n) < 0 ||
		number_table_init(&a->link_table, n) < 0)
		return -ENOMEM;
	return content_pool_init(&a->pool, n);
}

/* Brings the handles into the format's order; sets parents and ranges. */
static void number_nodes(struct assembly *a)
{
	const struct compose *c = a->c;
	uint32_t n = (uint32_t)c->node_count;
	uint32_t done = 1;

	for (uint32_t i = 1; i < n; i++)
		a->starts[c->nodes[i].parent + 1]++;
	for (uint32_t i = 0; i < n; i++)
		a->starts[i + 1] += a->starts[i];
	/* stable, so each directory's children keep their order; `order` counts meanwhile */
	memset(a->order, 0, n * sizeof(*a->order));
	for (uint32_t i = 1; i < n; i++) {
		uint32_t parent = c->nodes[i].parent;

		a->children[a->starts[parent] + a->order[parent]++] = i;
	}
	a->order[0] = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t handle = a->order[i];
		uint32_t count = a->starts[handle + 1] - a->starts[handle];

		a->entries[i].first = count ? done : 0;
		a->entries[i].count = count;
		for (uint32_t k = 0; k < count; k++) {
			a->order[done] = a->children[a->starts[handle] + k];
			a->entries[done++].parent = i;
		}
	}
}

/* The path from the tree's root, written from its end. */
static int path_of(const struct compose *c, uint32_t handle, struct buffer *out)
{
	size_t total = c->path_length;

	for (uint32_t i = handle; i; i = c->nodes[i].parent)
		total += source_of(&c->nodes[i])->name_length + (size_t)1;
	out->len = 0;
	int r = buffer_add_zero(out, total);

	if (r < 0)
		return r;
	size_t end = total;

	for (uint32_t i = handle; i; i = c->nodes[i].parent) {
		const struct node *n = &c->nodes[i];
		const struct catalog_entry *e = source_of(n);

		end -= e->name_length;
		memcpy(out->data + end, catalog_name(n->from, e), e->name_length);
		out->data[--end] = '/';
	}
	memcpy(out->data, c->path, c->path_length);
	/* below the root no slash comes first */
	if (!c->path_length && out->len) {
		memmove(out->data, out->data + 1, out->len - 1);
		out->len--;
	}
	return 0;
}

static int ino_of_path(const struct compose *c, uint32_t handle, uint64_t *out)
{
	struct buffer path AUTO_BUFFER = BUFFER_INIT(PATH_MAX_BYTES);
	int r = path_of(c, handle, &path);

	if (r < 0)
		return r;
	*out = hash64(path.data, path.len, 0);
	if (!*out)
		*out = 1;
	return 0;
}

/* Names of one file come from one catalog and are stale or not together; of what two catalogs
 * call by the same number, nobody knows whether it is one. */
static bool is_link(uint32_t number, const void *key, const void *context)
{
	const struct assembly *a = context;
	const struct node *x = &a->c->nodes[a->order[a->links[number].first]];
	const struct node *y = key;

	return x->from == y->from && source_of(x)->link == source_of(y)->link &&
	       x->flags == y->flags;
}

static int add_link(struct assembly *a, uint32_t index, const struct node *n)
{
	const struct catalog_entry *e = source_of(n);
	uint64_t hash = hash64(&e->link, sizeof(e->link), n->flags);
	uint32_t *slot = number_table_find(&a->link_table, hash, is_link, n, a);
	uint64_t ino = 0;

	if (n->flags & COMPOSE_STALE) {
		int r = ino_of_path(a->c, a->order[index], &ino);

		if (r < 0)
			return r;
	}
	if (!*slot) {
		a->links[a->link_count] =
			(struct link_group){.first = index, .first_ino = ino};
		*slot = ++a->link_count;
	}
	struct link_group *group = &a->links[*slot - 1];

	group->count++;
	group->has_ino_of_its_own |= ino == e->ino;
	a->entries[index].link = group->first;
	return 0;
}

/* The master may have another file of that inode number now: the first of its names is left. */
static void settle_stale_links(struct assembly *a)
{
	for (uint32_t i = 0; i < a->c->node_count; i++) {
		struct catalog_entry *e = &a->entries[i];
		const struct node *n = &a->c->nodes[a->order[i]];

		if (!(n->flags & COMPOSE_STALE) || S_ISDIR(e->mode) || e->nlink < 2)
			continue;
		uint32_t *slot = number_table_find(&a->link_table,
			hash64(&source_of(n)->link, sizeof(uint32_t), n->flags), is_link,
			n, a);
		const struct link_group *group = &a->links[*slot - 1];

		e->nlink = group->count;
		if (!group->has_ino_of_its_own)
			e->ino = group->first_ino;
	}
}

static bool is_xattr_set(uint32_t number, const void *key, const void *context)
{
	const struct assembly *a = context;
	const struct catalog_xattr_set *set =
		(const struct catalog_xattr_set *)(const void *)a->xattr_sets.data +
		number;
	const struct buffer *bytes = key;

	return set->length == bytes->len &&
	       memcmp(a->xattr_data.data + set->offset, bytes->data, bytes->len) == 0;
}

static int add_xattrs(struct assembly *a, struct catalog_entry *e, const struct node *n)
{
	if (e->xattrs == CATALOG_NO_XATTRS)
		return 0;
	const struct catalog_xattr_set *from = &n->from->xattrs[e->xattrs - 1];
	const uint8_t *data = n->from->xattr_data + from->offset;
	struct buffer key = {.data = (uint8_t *)(uintptr_t)data, .len = from->length};
	uint32_t *slot = number_table_find(
		&a->xattr_table, hash64(data, key.len, 0), is_xattr_set, &key, a);

	if (!*slot) {
		struct catalog_xattr_set set = {
			(uint32_t)a->xattr_data.len, from->length};
		int r = buffer_add(&a->xattr_sets, &set, sizeof(set));

		if (r == 0)
			r = buffer_add(&a->xattr_data, data, from->length);
		if (r < 0)
			return r;
		*slot = ++a->xattr_count;
	}
	e->xattrs = *slot;
	return 0;
}

static void add_nested(struct assembly *a, uint32_t index, const struct nested *nested)
{
	const struct catalog_nested *values = &nested->values;

	a->nested[a->nested_count] = *values;
	a->nested[a->nested_count].entry = index;
	a->local[a->nested_count].revision = nested->revision;
	/* the directory itself is counted here already */
	a->tree_entries += values->tree_entries ? values->tree_entries - 1 : 0;
	a->tree_bytes += values->tree_bytes;
	a->entries[index].flags |= CATALOG_ENTRY_NESTED;
	a->entries[index].first = a->nested_count++;
	a->entries[index].count = 0;
}

static int set_by_type(struct assembly *a, uint32_t index, const struct node *n)
{
	const struct catalog_entry *from = source_of(n);
	struct catalog_entry *e = &a->entries[index];

	switch (e->mode & S_IFMT) {
	case S_IFDIR:
		if (n->nested)
			add_nested(a, index, &a->c->nested[n->nested - 1]);
		/* 1: of a file system that does not count subdirectories */
		if (e->nlink > 1)
			e->nlink += (uint32_t)n->more_links;
		return 0;
	case S_IFREG:
		a->tree_bytes += e->size;
		if (e->size)
			e->first = content_pool_add(&a->pool, n->from,
				&n->from->contents[from->first],
				n->flags & COMPOSE_STALE);
		return 0;
	case S_IFLNK:
		e->first = (uint32_t)a->targets.len;
		e->count = from->count;
		return buffer_add(
			&a->targets, n->from->targets + from->first, from->count);
	default:
		e->first = from->first;
		e->count = from->count;
		return 0;
	}
}

static int add_entry(struct assembly *a, uint32_t index)
{
	const struct node *n = &a->c->nodes[a->order[index]];
	const struct catalog_entry *from = source_of(n);
	struct catalog_entry *e = &a->entries[index];
	struct catalog_entry filled = *from;

	filled.name = (uint32_t)a->names.len;
	filled.name_length = index == CATALOG_ROOT ? 0 : from->name_length;
	filled.flags = n->flags & COMPOSE_STALE ? CATALOG_ENTRY_STALE : 0;
	filled.parent = e->parent;
	filled.first = S_ISDIR(from->mode) ? e->first : 0;
	filled.count = S_ISDIR(from->mode) ? e->count : 0;
	filled.link = index;
	memset(filled.reserved, 0, sizeof(filled.reserved));
	*e = filled;
	int r = buffer_add(&a->names, catalog_name(n->from, from), e->name_length);

	if (r == 0)
		r = add_xattrs(a, e, n);
	if (r == 0)
		r = set_by_type(a, index, n);
	if (r == 0 && !S_ISDIR(e->mode) && e->nlink > 1)
		r = add_link(a, index, n);
	return r;
}

static int assemble(struct assembly *a)
{
	int r = assembly_init(a);

	if (r < 0)
		return r;
	number_nodes(a);
	for (uint32_t i = 0; r == 0 && i < a->c->node_count; i++)
		r = add_entry(a, i);
	if (r < 0)
		return r;
	settle_stale_links(a);
	a->tree_entries += a->c->node_count;
	return content_pool_settle(&a->pool);
}

static void lay_out(const struct assembly *a, struct catalog_layout *l)
{
	catalog_layout_init(l, CATALOG_SECTIONS);
	catalog_layout_place(l, CATALOG_ENTRIES, a->c->node_count);
	catalog_layout_place(l, CATALOG_NAMES, a->names.len);
	catalog_layout_place(l, CATALOG_FOLDED, a->c->node_count);
	catalog_layout_place(l, CATALOG_TARGETS, a->targets.len);
	catalog_layout_place(l, CATALOG_XATTRS, a->xattr_count);
	catalog_layout_place(l, CATALOG_XATTR_DATA, a->xattr_data.len);
	catalog_layout_place(l, CATALOG_CONTENTS, a->pool.content_count);
	catalog_layout_place(l, CATALOG_PIECES, a->pool.piece_count);
	catalog_layout_place(l, CATALOG_CHUNKS, a->pool.chunk_count);
	catalog_layout_place(l, CATALOG_FRAMES, a->pool.frame_count);
	catalog_layout_place(l, CATALOG_PACKS, a->pool.pack_count);
	catalog_layout_place(l, CATALOG_NESTED, a->nested_count);
	catalog_layout_place(l, CATALOG_PATH, a->c->path_length);
	catalog_layout_place(l, CATALOG_LOCAL, a->nested_count);
	l->header.flags = CATALOG_COMPOSED;
	l->header.tree_entries = a->tree_entries;
	l->header.tree_bytes = a->tree_bytes;
}

static int write_sections(
	const struct assembly *a, const struct catalog_layout *l, uint8_t **out_base)
{
	uint8_t *base;
	int r = catalog_layout_make(l, &base);

	if (r < 0)
		return r;
	catalog_layout_put(l, base, CATALOG_ENTRIES, a->entries);
	catalog_layout_put(l, base, CATALOG_NAMES, a->names.data);
	catalog_layout_put(l, base, CATALOG_TARGETS, a->targets.data);
	catalog_layout_put(l, base, CATALOG_XATTRS, a->xattr_sets.data);
	catalog_layout_put(l, base, CATALOG_XATTR_DATA, a->xattr_data.data);
	catalog_layout_put(l, base, CATALOG_FRAMES, a->pool.frames);
	catalog_layout_put(l, base, CATALOG_PACKS, a->pool.packs);
	catalog_layout_put(l, base, CATALOG_NESTED, a->nested);
	catalog_layout_put(l, base, CATALOG_PATH, a->c->path);
	catalog_layout_put(l, base, CATALOG_LOCAL, a->local);
	content_pool_write(&a->pool, catalog_layout_section(l, base, CATALOG_CONTENTS),
		catalog_layout_section(l, base, CATALOG_PIECES),
		catalog_layout_section(l, base, CATALOG_CHUNKS));
	r = catalog_layout_fold(l, base);
	if (r < 0) {
		free(base);
		return r;
	}
	*out_base = base;
	return 0;
}

/* Nothing is shown that no reader would accept. */
static int prove_sound(const struct compose *c, const uint8_t *base, size_t len)
{
	struct catalog as_read;
	const char *reason = "";
	int r = catalog_check(&as_read, base, len, &reason);

	if (r < 0)
		log_error("a catalog cannot be composed for '%.*s' (%s): nothing is "
			  "changed; this program must be mended",
			(int)c->path_length, c->path, reason);
	return r;
}

int compose_finish(struct compose *c, struct composed *out)
{
	struct assembly a CLEANUP(assembly_release) = {.c = c,
		.names = BUFFER_INIT(CATALOG_SECTION_MAX),
		.targets = BUFFER_INIT(CATALOG_SECTION_MAX),
		.xattr_sets = BUFFER_INIT(CATALOG_SECTION_MAX),
		.xattr_data = BUFFER_INIT(CATALOG_SECTION_MAX)};
	struct catalog_layout l;
	struct digest digest;
	AUTO_FREE uint8_t *base = NULL;
	int r = assemble(&a);

	if (r < 0)
		return r == -EFBIG ? -E2BIG : r;
	lay_out(&a, &l);
	r = write_sections(&a, &l, &base);
	if (r == 0)
		r = prove_sound(c, base, l.header.total_bytes);
	if (r == 0)
		r = digest_of(base, l.header.total_bytes, &digest);
	if (r < 0)
		return r;
	out->nested = (struct catalog_nested){.digest = digest,
		.stored_bytes = l.header.total_bytes,
		.raw_bytes = l.header.total_bytes,
		.tree_entries = a.tree_entries,
		.tree_bytes = a.tree_bytes};
	out->data = TAKE_PTR(base);
	return 0;
}

void composed_release(struct composed *composed)
{
	free(composed->data);
	composed->data = NULL;
}
