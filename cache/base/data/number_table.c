/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/data/number_table.h"

#include "cache/base/memory.h"

#include <errno.h>

int number_table_init(struct number_table *t, size_t items)
{
	t->slot_count = 16;
	while (t->slot_count < items * 2)
		t->slot_count *= 2;
	t->slots = mem_calloc(t->slot_count, sizeof(*t->slots));
	return t->slots ? 0 : -ENOMEM;
}

void number_table_release(struct number_table *t)
{
	free(t->slots);
	t->slots = NULL;
}

uint32_t *number_table_find(const struct number_table *t, uint64_t hash,
	number_alike alike, const void *key, const void *context)
{
	size_t i = (size_t)hash & (t->slot_count - 1);

	while (t->slots[i] && !alike(t->slots[i] - 1, key, context))
		i = (i + 1) & (t->slot_count - 1);
	return &t->slots[i];
}
