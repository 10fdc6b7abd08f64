/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/catalog/catalog.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/catalog/casefold.h"
#include "cache/catalog/catalog_check.h"
#include "cache/catalog/catalog_trim.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int attach(
	struct catalog *c, const void *data, size_t len, const char **out_reason)
{
	const char *reason = NULL;
	int r = catalog_check(c, data, len, &reason);

	if (r < 0 && out_reason)
		*out_reason = reason;
	return r;
}

int catalog_open_fd(int fd, struct catalog **out, const char **out_reason)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(struct catalog_header) ||
		(uint64_t)st.st_size > CATALOG_MAX_BYTES) {
		if (out_reason)
			*out_reason = "its size is out of bounds";
		return -EBADMSG;
	}
	AUTO_FREE struct catalog *c = mem_calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	size_t len = (size_t)st.st_size;
	void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	int r = attach(c, map, len, out_reason);

	if (r < 0) {
		munmap(map, len);
		return r;
	}
	*out = TAKE_PTR(c);
	return 0;
}

int catalog_open_memory(
	void *data, size_t len, struct catalog **out, const char **out_reason)
{
	AUTO_FREE struct catalog *c = mem_calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	int r = attach(c, data, len, out_reason);

	if (r < 0)
		return r;
	c->is_owned_memory = true;
	*out = TAKE_PTR(c);
	return 0;
}

void catalog_ref(const struct catalog *catalog)
{
	struct catalog *c = (void *)(uintptr_t)catalog;

	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void catalog_unref(const struct catalog *catalog)
{
	catalog_close((void *)(uintptr_t)catalog);
}

void catalog_keep(const struct catalog *catalog)
{
	struct catalog *c = (void *)(uintptr_t)catalog;

	catalog_ref(c);
	atomic_fetch_add_explicit(&c->kept, 1, memory_order_relaxed);
}

void catalog_unkeep(const struct catalog *catalog)
{
	struct catalog *c = (void *)(uintptr_t)catalog;

	if (c)
		atomic_fetch_sub_explicit(&c->kept, 1, memory_order_relaxed);
	catalog_unref(c);
}

/* The two are not read at once: who is wrong by it lets go of something that would be useful still, or
 * the next time. */
bool catalog_is_only_kept(const struct catalog *c)
{
	return atomic_load_explicit(&c->kept, memory_order_relaxed) ==
	       atomic_load_explicit(&c->refs, memory_order_relaxed) + 1;
}

void catalog_close(struct catalog *catalog)
{
	if (!catalog ||
		atomic_fetch_sub_explicit(&catalog->refs, 1, memory_order_acq_rel) > 0)
		return;
	void *base = (void *)(uintptr_t)catalog->header;

	catalog_trim_remove(catalog);
	if (catalog->is_owned_memory)
		free(base);
	else
		munmap(base, catalog->map_bytes);
	free(catalog);
}

/* From its end: each name, and the slash before it. */
static bool has_path_of(
	const struct catalog *child, const struct catalog *parent, uint32_t entry)
{
	size_t at = child->path_length;

	for (uint32_t i = entry; i != CATALOG_ROOT; i = parent->entries[i].parent) {
		const struct catalog_entry *e = &parent->entries[i];

		if (at < e->name_length)
			return false;
		at -= e->name_length;
		if (memcmp(child->path + at, catalog_name(parent, e), e->name_length) !=
			0)
			return false;
		if (at && child->path[--at] != '/')
			return false;
	}
	return at == parent->path_length && memcmp(child->path, parent->path, at) == 0;
}

const char *catalog_misfit(
	const struct catalog *child, const struct catalog *parent, uint32_t nth)
{
	const struct catalog_nested *n = &parent->nested[nth];

	if (!has_path_of(child, parent, n->entry))
		return "it is of another path than where it hangs";
	if (child->header->tree_entries != n->tree_entries ||
		child->header->tree_bytes != n->tree_bytes)
		return "its totals are not those that the one above it says";
	return NULL;
}

int catalog_must_fit(
	const struct catalog *child, const struct catalog *parent, uint32_t nth)
{
	const char *reason = catalog_misfit(child, parent, nth);
	char path[PATH_MAX] = "";

	if (!reason)
		return 0;
	if (catalog_path_of(parent, parent->nested[nth].entry, path, sizeof(path)) < 0)
		(void)snprintf(path, sizeof(path), "...");
	return log_error_errno(-EUCLEAN,
		"the catalog of '%s' is signed for but not sound (%s): the publisher's "
		"program must be mended",
		path, reason);
}

const struct catalog_content *catalog_content_of(
	const struct catalog *c, const struct catalog_entry *e)
{
	if (!S_ISREG(e->mode) || e->size == 0)
		return NULL;
	return &c->contents[e->first];
}

int catalog_compare_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

uint32_t catalog_lower_bound(const struct catalog *c, uint32_t dir, const char *name,
	size_t len, bool is_behind)
{
	uint32_t low = c->entries[dir].first;
	uint32_t high = low + c->entries[dir].count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const struct catalog_entry *e = &c->entries[mid];
		int order = catalog_compare_names(
			c->names + e->name, e->name_length, name, len);

		if (order < 0 || (order == 0 && is_behind))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint32_t catalog_lookup(
	const struct catalog *c, uint32_t dir, const char *name, size_t len)
{
	uint32_t low = c->entries[dir].first;
	uint32_t high = low + c->entries[dir].count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const struct catalog_entry *e = &c->entries[mid];
		int order = catalog_compare_names(
			name, len, c->names + e->name, e->name_length);

		if (order == 0)
			return mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return CATALOG_NO_ENTRY;
}

/* The entry behind `i` and all that is below it, or CATALOG_ROOT: there is none. */
static uint32_t next_beside(const struct catalog *c, uint32_t i)
{
	while (i != CATALOG_ROOT) {
		const struct catalog_entry *above = &c->entries[c->entries[i].parent];

		if (i + 1 < above->first + above->count)
			return i + 1;
		i = c->entries[i].parent;
	}
	return CATALOG_ROOT;
}

uint32_t catalog_next_nested(const struct catalog *c, uint32_t i)
{
	for (i = next_beside(c, i); i != CATALOG_ROOT;) {
		const struct catalog_entry *e = &c->entries[i];

		if (catalog_entry_is_nested(e))
			return i;
		i = S_ISDIR(e->mode) && e->count ? e->first : next_beside(c, i);
	}
	return CATALOG_NO_ENTRY;
}

uint32_t catalog_lookup_folded(
	const struct catalog *c, uint32_t dir, const char *name, size_t len)
{
	uint32_t exact = catalog_lookup(c, dir, name, len);

	if (exact != CATALOG_NO_ENTRY)
		return exact;
	uint32_t low = c->entries[dir].first;
	uint32_t end = low + c->entries[dir].count;
	uint32_t high = end;

	/* the first of the range that is not below the name */
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const struct catalog_entry *e = &c->entries[c->folded[mid]];

		if (casefold_compare(c->names + e->name, e->name_length, name, len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == end)
		return CATALOG_NO_ENTRY;
	const struct catalog_entry *e = &c->entries[c->folded[low]];

	if (casefold_compare(c->names + e->name, e->name_length, name, len) != 0)
		return CATALOG_NO_ENTRY;
	return c->folded[low];
}

bool catalog_xattr_next(const struct catalog *c, const struct catalog_entry *e,
	size_t *cursor, const char **out_name, size_t *out_name_len,
	const uint8_t **out_value, size_t *out_len)
{
	if (e->xattrs == CATALOG_NO_XATTRS)
		return false;
	const struct catalog_xattr_set *set = &c->xattrs[e->xattrs - 1];

	if (*cursor >= set->length)
		return false;
	const uint8_t *p = c->xattr_data + set->offset + *cursor;
	uint16_t name_len;
	uint32_t value_len;

	memcpy(&name_len, p, sizeof(name_len));
	memcpy(&value_len, p + sizeof(name_len), sizeof(value_len));
	p += CATALOG_XATTR_HEAD;
	*out_name = (const char *)p;
	*out_name_len = name_len;
	*out_value = p + name_len;
	*out_len = value_len;
	*cursor += CATALOG_XATTR_HEAD + name_len + value_len;
	return true;
}

int catalog_xattr_get(const struct catalog *c, const struct catalog_entry *e,
	const char *name, const uint8_t **out_value, size_t *out_len)
{
	size_t wanted = strlen(name);
	size_t cursor = 0;
	const char *found;
	size_t found_len;
	const uint8_t *value;
	size_t value_len;

	while (catalog_xattr_next(
		c, e, &cursor, &found, &found_len, &value, &value_len)) {
		if (found_len != wanted || memcmp(found, name, wanted) != 0)
			continue;
		*out_value = value;
		*out_len = value_len;
		return 0;
	}
	return -ENODATA;
}

void catalog_pieces_in(const struct catalog *c, const struct catalog_content *content,
	uint64_t offset, uint64_t len, uint32_t *out_first, uint32_t *out_end)
{
	uint32_t low = content->first_piece;
	uint32_t end = low + content->piece_count;
	uint32_t high = end;

	/* the first piece that ends behind `offset` */
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const struct catalog_piece *p = &c->pieces[mid];

		if (p->position + c->chunks[p->chunk].length <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	*out_first = low;
	high = end;
	/* from there the first that begins at or behind the end of the range */
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (c->pieces[mid].position - offset < len ||
			c->pieces[mid].position < offset)
			low = mid + 1;
		else
			high = mid;
	}
	*out_end = low;
}

int catalog_path_of(const struct catalog *c, uint32_t i, char *out, size_t size)
{
	size_t total = c->path_length;

	for (uint32_t at = i; at != CATALOG_ROOT; at = c->entries[at].parent)
		total += (size_t)c->entries[at].name_length + 1;
	if (c->path_length == 0 && i != CATALOG_ROOT)
		total--; /* no slash before the first component */
	if (total >= size)
		return -ENAMETOOLONG;
	out[total] = '\0';
	size_t end = total;

	for (uint32_t at = i; at != CATALOG_ROOT; at = c->entries[at].parent) {
		const struct catalog_entry *e = &c->entries[at];

		end -= e->name_length;
		memcpy(out + end, c->names + e->name, e->name_length);
		if (end)
			out[--end] = '/';
	}
	memcpy(out, c->path, c->path_length);
	return (int)total;
}
