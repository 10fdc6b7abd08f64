/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Finds the number of a thing that was numbered before: open addressing over hashes; what the
 * numbers mean, and whether two things are alike, only the caller knows.
 *
 *	r = number_table_init(&table, at_most);
 *	uint32_t *slot = number_table_find(&table, hash, alike, key, context);
 *	if (!*slot) { ... *slot = 1 + number; }
 *	number_table_release(&table);
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct number_table {
	uint32_t *slots; /* 1 + number */
	size_t slot_count;
};

/* Room for `items` numbers, which is all that it will ever take. Returns 0 or -ENOMEM. */
int number_table_init(struct number_table *t, size_t items) WARN_UNUSED;
void number_table_release(struct number_table *t);

/* Whether the thing of this number is the one that `key` describes. */
typedef bool (*number_alike)(uint32_t number, const void *key, const void *context);

/* The slot of the thing that is alike: 1 + its number; 0: there is none, it belongs here. */
uint32_t *number_table_find(const struct number_table *t, uint64_t hash,
	number_alike alike, const void *key, const void *context);
