/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Records and catalogs: everything signed, and everything named by what is signed. */
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "sync/jobs/policy/policy.h"
#include "sync/master/check/check_state.h"
#include "sync/master/ingest/parallel.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int add_catalog(
	struct check *c, struct catalog_graph *graph, const struct catalog_ref *ref)
{
	mutex_lock(&c->lock);
	int r = catalog_graph_is_new(graph, &ref->digest);

	if (r > 0) {
		r = mem_grow((void **)&c->catalogs, &c->catalog_capacity,
			c->catalog_count, sizeof(*c->catalogs));
		if (r == 0)
			c->catalogs[c->catalog_count++] = *ref;
	}
	mutex_unlock(&c->lock);
	return r;
}

/* What mirrors will take up must be there, and be what they can read. */
static int check_policy(struct check *c, const struct head *head)
{
	AUTO_POLICY struct policy policy = {0};
	struct buffer text AUTO_BUFFER = BUFFER_INIT(POLICY_MAX_BYTES);
	char reason[TEXT_REASON_SIZE] = "";
	char object[DEPOT_OBJECT_SIZE];

	if (!head->policy.bytes)
		return 0;
	int r = mem_grow((void **)&c->policies, &c->policy_capacity, c->policy_count,
		sizeof(*c->policies));

	if (r < 0)
		return r;
	c->policies[c->policy_count++] = head->policy.digest;
	c->report.policies++;
	depot_object_name("policy", &head->policy.digest, object);
	r = depot_policy(c->depot, &head->policy, &text);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		check_fault_add(c, object,
			"channel %s names it: %s; restore it from a copy, or set the "
			"channel's policy again",
			head->channel, r == -ENOENT ? "it is missing" : log_strerror(r));
		return 0;
	}
	r = policy_parse((const char *)text.data, text.len, &policy, reason);
	if (r == -EINVAL)
		check_fault_add(c, object, "%s; set the policy of channel %s again",
			reason, head->channel);
	return r == -ENOMEM ? r : 0;
}

static int check_channels(struct check *c, uint64_t latest)
{
	char **names;
	size_t count;
	int r = depot_channels(c->depot, &names, &count);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct head head;
		struct revision revision;
		struct digest digest;
		char object[96];

		(void)snprintf(object, sizeof(object), "channel/%s", names[i]);
		c->report.channels++;
		int found = depot_head(c->depot, &c->trust, names[i], &head);

		if (found < 0) {
			check_fault_add(c, object, "%s; publish to this channel again",
				log_strerror(found));
			continue;
		}
		r = check_policy(c, &head);
		found = head.revision <= latest
				? depot_revision(c->depot, &c->trust, head.revision,
					  &revision, &digest)
				: -ENOENT;
		if (found < 0)
			check_fault_add(c, object,
				"it points at revision %" PRIu64 ", which is missing or "
				"damaged; publish to this channel again",
				head.revision);
		else if (!digest_equal(&head.root.digest, &revision.root.digest) ||
			 head.root.stored_bytes != revision.root.stored_bytes ||
			 head.root.raw_bytes != revision.root.raw_bytes)
			check_fault_add(c, object,
				"it names another root than revision %" PRIu64
				"; publish "
				"to this channel again",
				head.revision);
	}
	depot_channels_free(names, count);
	return r;
}

int check_records(struct check *c, struct catalog_graph *graph)
{
	struct digest before = {0};
	bool has_before = false;
	uint64_t latest;
	int r = depot_latest_number(c->depot, &c->trust, &latest);

	for (uint64_t n = 1; r == 0 && n <= latest; n++) {
		struct revision revision;
		struct digest digest;
		char object[48];

		(void)snprintf(object, sizeof(object), "revision/%" PRIu64, n);
		int found = depot_revision(c->depot, &c->trust, n, &revision, &digest);

		if (found == -ENOMEM)
			return found;
		if (found < 0) {
			/* retention drops the oldest ones, never one from the middle */
			if (found != -ENOENT || has_before)
				check_fault_add(c, object, "%s; restore it from a copy",
					found == -ENOENT ? "it is missing"
							 : log_strerror(found));
			has_before = false;
			continue;
		}
		if (has_before && !digest_equal(&revision.previous, &before))
			check_fault_add(c, object,
				"it does not follow revision %" PRIu64
				"; one of them was replaced: restore both from a copy",
				n - 1);
		before = digest;
		has_before = true;
		c->report.revisions++;
		r = add_catalog(c, graph, &revision.root);
	}
	return r == 0 ? check_channels(c, latest) : r;
}

static int add_packs(struct check *c, const struct catalog *catalog)
{
	int r = 0;

	mutex_lock(&c->lock);
	for (uint32_t i = 0; r == 0 && i < catalog->pack_count; i++) {
		r = mem_grow((void **)&c->packs, &c->pack_capacity, c->pack_count,
			sizeof(*c->packs));
		if (r == 0)
			c->packs[c->pack_count++] =
				(struct checked_pack){.digest = catalog->packs[i].digest,
					.bytes = catalog->packs[i].bytes};
	}
	mutex_unlock(&c->lock);
	return r;
}

/* What a catalog says of one nested in it must be what that one says of itself. */
static void compare_nested(
	struct check *c, const struct catalog_nested *n, const char *object)
{
	const struct catalog_ref ref = {.digest = n->digest,
		.stored_bytes = n->stored_bytes,
		.raw_bytes = n->raw_bytes};

	if (depot_has_object(c->depot, "catalog", &ref.digest, ref.stored_bytes) ==
		-EBADMSG) {
		char name[DEPOT_OBJECT_SIZE];

		depot_object_name("catalog", &ref.digest, name);
		check_fault_add(c, name,
			"it has not the size that %s gives it; restore it "
			"from a copy",
			object);
	}
}

struct catalog_pass {
	struct check *check;
	struct catalog_graph *graph;
	size_t first;
};

static int check_catalog(void *context, size_t index)
{
	const struct catalog_pass *pass = context;
	struct check *c = pass->check;
	struct catalog *catalog;
	char object[DEPOT_OBJECT_SIZE];

	mutex_lock(&c->lock);
	const struct catalog_ref ref = c->catalogs[pass->first + index];

	mutex_unlock(&c->lock);
	depot_object_name("catalog", &ref.digest, object);
	int r = depot_catalog(c->depot, &ref, &catalog);

	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		check_fault_add(c, object,
			"%s; restore it from a copy, or remove it and "
			".publisher/state.db and publish again",
			r == -ENOENT ? "it is missing" : log_strerror(r));
		return 0;
	}
	r = add_packs(c, catalog);
	for (uint32_t i = 0; r == 0 && i < catalog->nested_count; i++) {
		const struct catalog_ref next = {.digest = catalog->nested[i].digest,
			.stored_bytes = catalog->nested[i].stored_bytes,
			.raw_bytes = catalog->nested[i].raw_bytes};

		compare_nested(c, &catalog->nested[i], object);
		r = add_catalog(c, pass->graph, &next);
	}
	catalog_close(catalog);
	return r;
}

static int compare_packs(const void *a, const void *b)
{
	return memcmp(a, b, DIGEST_SIZE);
}

int check_catalogs(struct check *c, struct catalog_graph *graph)
{
	struct catalog_pass pass = {.check = c, .graph = graph};
	size_t kept = 0;

	/* level by level: each pass finds the next one's catalogs */
	while (pass.first < c->catalog_count) {
		size_t count = c->catalog_count - pass.first;
		int r = parallel_for(count, c->threads, check_catalog, &pass);

		if (r < 0)
			return r;
		pass.first += count;
	}
	c->report.catalogs = c->catalog_count;
	struct checked_pack *packs = c->packs;

	if (!packs)
		return 0;
	qsort(packs, c->pack_count, sizeof(*packs), compare_packs);
	for (size_t i = 0; i < c->pack_count; i++) {
		struct checked_pack *last = kept ? &packs[kept - 1] : NULL;

		if (!last || !digest_equal(&last->digest, &packs[i].digest)) {
			packs[kept++] = packs[i];
		} else if (last->bytes != packs[i].bytes) {
			char object[DEPOT_OBJECT_SIZE];

			depot_object_name("pack", &last->digest, object);
			check_fault_add(
				c, object, "two catalogs disagree about its size");
		}
	}
	c->pack_count = kept;
	return 0;
}
