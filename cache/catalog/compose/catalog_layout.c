/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/catalog/compose/catalog_layout.h"

#include "cache/base/memory.h"
#include "cache/catalog/casefold.h"
#include "cache/catalog/catalog_check.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t aligned(uint64_t offset)
{
	return (offset + 7) & ~UINT64_C(7);
}

void catalog_layout_init(struct catalog_layout *l, uint32_t section_count)
{
	*l = (struct catalog_layout){.header = {.version = CATALOG_VERSION,
					     .section_count = section_count,
					     .total_bytes = sizeof(l->header)}};
	memcpy(l->header.magic, CATALOG_MAGIC, sizeof(l->header.magic));
}

void catalog_layout_place(
	struct catalog_layout *l, enum catalog_section s, uint64_t count)
{
	struct catalog_header *h = &l->header;

	h->sections[s] = (struct catalog_section_ref){h->total_bytes, count};
	h->total_bytes = aligned(h->total_bytes + count * catalog_item_size(s));
}

int catalog_layout_make(const struct catalog_layout *l, uint8_t **out_base)
{
	if (l->header.total_bytes > CATALOG_MAX_BYTES)
		return -E2BIG;
	uint8_t *base = mem_calloc(1, l->header.total_bytes);

	if (!base)
		return -ENOMEM;
	memcpy(base, &l->header, sizeof(l->header));
	*out_base = base;
	return 0;
}

void *catalog_layout_section(
	const struct catalog_layout *l, uint8_t *base, enum catalog_section s)
{
	return base + l->header.sections[s].offset;
}

void catalog_layout_put(const struct catalog_layout *l, uint8_t *base,
	enum catalog_section s, const void *items)
{
	size_t bytes = l->header.sections[s].count * catalog_item_size(s);

	if (bytes)
		memcpy(base + l->header.sections[s].offset, items, bytes);
}

struct folded {
	const char *name;
	uint32_t length;
	uint32_t index;
};

static int compare_folded(const void *a, const void *b)
{
	const struct folded *x = a;
	const struct folded *y = b;
	int r = casefold_compare(x->name, x->length, y->name, y->length);

	return r ? r : (x->index > y->index) - (x->index < y->index);
}

int catalog_layout_fold(const struct catalog_layout *l, uint8_t *base)
{
	const struct catalog_entry *entries =
		catalog_layout_section(l, base, CATALOG_ENTRIES);
	const char *names = catalog_layout_section(l, base, CATALOG_NAMES);
	uint32_t *out = catalog_layout_section(l, base, CATALOG_FOLDED);
	uint32_t entry_count = (uint32_t)l->header.sections[CATALOG_ENTRIES].count;
	AUTO_FREE struct folded *list = mem_alloc(entry_count * sizeof(*list));

	if (!list)
		return -ENOMEM;
	out[0] = 0;
	for (uint32_t i = 0; i < entry_count; i++) {
		const struct catalog_entry *dir = &entries[i];

		if (!S_ISDIR(dir->mode) || (dir->flags & CATALOG_ENTRY_NESTED) ||
			!dir->count)
			continue;
		for (uint32_t k = 0; k < dir->count; k++) {
			const struct catalog_entry *e = &entries[dir->first + k];

			list[k] = (struct folded){.name = names + e->name,
				.length = e->name_length,
				.index = dir->first + k};
		}
		qsort(list, dir->count, sizeof(*list), compare_folded);
		for (uint32_t k = 0; k < dir->count; k++)
			out[dir->first + k] = list[k].index;
	}
	return 0;
}
