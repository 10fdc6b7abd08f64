/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/catalog/catalog_graph.h"

#include "cache/base/memory.h"
#include "sync/master/ingest/chunks/chunk_table.h"

#include <errno.h>

struct catalog_graph {
	const struct depot *depot;
	struct chunk_table *seen; /* used as a set of digests */
	struct catalog_ref *todo;
	size_t count;
	size_t capacity;
};

int catalog_graph_new(const struct depot *depot, struct catalog_graph **out)
{
	AUTO_FREE struct catalog_graph *g = mem_calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->depot = depot;
	int r = chunk_table_new(&g->seen);

	if (r < 0)
		return r;
	*out = TAKE_PTR(g);
	return 0;
}

void catalog_graph_free(struct catalog_graph *g)
{
	if (!g)
		return;
	chunk_table_free(g->seen);
	free(g->todo);
	free(g);
}

int catalog_graph_is_new(struct catalog_graph *g, const struct digest *digest)
{
	bool is_new;

	if (!chunk_table_claim(g->seen, digest, 0, &is_new))
		return -ENOMEM;
	return is_new;
}

static int push(struct catalog_graph *g, const struct catalog_ref *ref)
{
	int r = catalog_graph_is_new(g, &ref->digest);

	if (r <= 0)
		return r;
	r = mem_grow((void **)&g->todo, &g->capacity, g->count, sizeof(*g->todo));
	if (r == 0)
		g->todo[g->count++] = *ref;
	return r;
}

int catalog_graph_visit(struct catalog_graph *g, const struct catalog_ref *root,
	catalog_visit visit, void *context)
{
	int r = push(g, root);

	while (r == 0 && g->count) {
		const struct catalog_ref ref = g->todo[--g->count];
		struct catalog *c;

		r = depot_catalog(g->depot, &ref, &c);
		if (r == -ENOMEM)
			return r;
		/* what lies below a damaged one is out of reach; 'check' tells */
		if (r < 0) {
			r = 0;
			continue;
		}
		r = visit(context, c);
		for (uint32_t i = 0; r == 0 && i < c->nested_count; i++) {
			const struct catalog_ref next = {.digest = c->nested[i].digest,
				.stored_bytes = c->nested[i].stored_bytes,
				.raw_bytes = c->nested[i].raw_bytes};

			r = push(g, &next);
		}
		catalog_close(c);
	}
	return r;
}
