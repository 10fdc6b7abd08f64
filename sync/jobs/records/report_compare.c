/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/records/report_compare.h"

#include "cache/base/memory.h"

#include <string.h>
#include <sys/stat.h>

struct pair {
	uint32_t view;
	uint32_t head;
};

struct stack {
	struct pair *pairs;
	size_t count;
	size_t capacity;
};

static int push(struct stack *stack, uint32_t view, uint32_t head)
{
	int r = mem_grow((void **)&stack->pairs, &stack->capacity, stack->count,
		sizeof(*stack->pairs));

	if (r == 0)
		stack->pairs[stack->count++] = (struct pair){view, head};
	return r;
}

static bool has_same_name(const struct catalog *a, const struct catalog_entry *x,
	const struct catalog *b, const struct catalog_entry *y)
{
	return x->name_length == y->name_length &&
	       memcmp(catalog_name(a, x), catalog_name(b, y), x->name_length) == 0;
}

static bool has_same_xattrs(const struct catalog *a, const struct catalog_entry *x,
	const struct catalog *b, const struct catalog_entry *y)
{
	if (x->xattrs == CATALOG_NO_XATTRS || y->xattrs == CATALOG_NO_XATTRS)
		return x->xattrs == y->xattrs;
	const struct catalog_xattr_set *s = &a->xattrs[x->xattrs - 1];
	const struct catalog_xattr_set *t = &b->xattrs[y->xattrs - 1];

	return s->length == t->length &&
	       memcmp(a->xattr_data + s->offset, b->xattr_data + t->offset, s->length) ==
		       0;
}

/* What hangs on an entry that is no directory. */
static bool has_same_data(const struct catalog *a, const struct catalog_entry *x,
	const struct catalog *b, const struct catalog_entry *y)
{
	if (S_ISREG(x->mode))
		return x->size == y->size &&
		       (x->size == 0 || digest_equal(&a->contents[x->first].digest,
						&b->contents[y->first].digest));
	if (S_ISLNK(x->mode))
		return x->count == y->count &&
		       memcmp(a->targets + x->first, b->targets + y->first, x->count) ==
			       0;
	return x->first == y->first && x->count == y->count;
}

/* The number of links of a directory counts what is below, stale or not. */
static bool is_same_entry(const struct catalog *a, const struct catalog_entry *x,
	const struct catalog *b, const struct catalog_entry *y)
{
	return x->mode == y->mode && x->uid == y->uid && x->gid == y->gid &&
	       x->mtime_sec == y->mtime_sec && x->mtime_nsec == y->mtime_nsec &&
	       has_same_xattrs(a, x, b, y) &&
	       (S_ISDIR(x->mode) || has_same_data(a, x, b, y));
}

/* 1 if the directories' entries are the same, 0 if not, or -ENOMEM; pushes what is below. */
static int compare_directory(const struct catalog *view, const struct catalog *head,
	struct pair pair, struct stack *stack)
{
	const struct catalog_entry *a = catalog_entry(view, pair.view);
	const struct catalog_entry *b = catalog_entry(head, pair.head);
	uint32_t i = a->first;
	uint32_t k = b->first;

	for (;; i++, k++) {
		while (i < a->first + a->count &&
			catalog_entry_is_stale(catalog_entry(view, i)))
			i++;
		if (i == a->first + a->count || k == b->first + b->count)
			return i == a->first + a->count && k == b->first + b->count;
		const struct catalog_entry *x = catalog_entry(view, i);
		const struct catalog_entry *y = catalog_entry(head, k);

		if (!has_same_name(view, x, head, y) || !is_same_entry(view, x, head, y))
			return 0;
		if (!S_ISDIR(x->mode))
			continue;
		if (catalog_entry_is_nested(x) != catalog_entry_is_nested(y))
			return 0;
		if (!catalog_entry_is_nested(x)) {
			int r = push(stack, i, k);

			if (r < 0)
				return r;
		}
	}
}

int report_compare(const struct catalog *view, const struct catalog *head, bool *out_same)
{
	struct stack stack = {0};
	int r = push(&stack, CATALOG_ROOT, CATALOG_ROOT);

	if (r == 0)
		r = 1;
	while (r == 1 && stack.count)
		r = compare_directory(view, head, stack.pairs[--stack.count], &stack);
	free(stack.pairs);
	if (r < 0)
		return r;
	*out_same = r == 1;
	return 0;
}
