/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/judge.h"

#include "cache/base/memory.h"
#include "cache/below.h"
#include "cache/reference_set.h"

#include <errno.h>

struct judge {
	struct judge_config config;
	/* between begin() and end() */
	struct reference_set *references;
	struct reference_set *pinned[JUDGE_ROOTS_MAX]; /* one for each root */
};

int judge_new(const struct judge_config *config, struct judge **out)
{
	struct judge *judge = mem_calloc(1, sizeof(*judge));

	if (!judge)
		return -ENOMEM;
	judge->config = *config;
	*out = judge;
	return 0;
}

static void end(void *arg)
{
	struct judge *judge = arg;

	reference_set_free(judge->references);
	judge->references = NULL;
	for (size_t i = 0; i < JUDGE_ROOTS_MAX; i++) {
		reference_set_free(judge->pinned[i]);
		judge->pinned[i] = NULL;
	}
}

void judge_free(struct judge *judge)
{
	if (!judge)
		return;
	end(judge);
	free(judge);
}

struct pin_walk {
	struct catalog_store *catalogs;
	struct reference_set *set;
};

static int get_catalog(void *arg, const struct catalog_ref *ref, struct catalog **out)
{
	const struct pin_walk *walk = arg;

	return catalog_store_get(walk->catalogs, ref, out);
}

static int add_contents(
	void *arg, struct catalog *catalog, const uint32_t *contents, size_t count)
{
	const struct pin_walk *walk = arg;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = reference_set_add_content(walk->set,
			&catalog->contents[contents[i]].digest, REFERENCE_LIVE);
	return r;
}

int judge_pinned_contents(struct catalog_store *catalogs, struct pins *pins,
	const struct catalog_ref *root, struct reference_set **out)
{
	struct pin_walk walk = {.catalogs = catalogs};
	struct below below = {
		.root = *root, .get = get_catalog, .visit = add_contents, .arg = &walk};
	char **paths;
	size_t count;
	int r = pins_copy(pins, &paths, &count);

	if (r < 0)
		return r;
	r = reference_set_new(&walk.set);
	for (size_t i = 0; i < count && r == 0; i++) {
		r = below_walk(&below, paths[i]);
		/* a pin may be of what is not there now, or not entered yet */
		if (r == -ENOENT || r == -ENOTDIR || r == -EAGAIN)
			r = 0;
	}
	pins_free_copy(paths, count);
	if (r < 0) {
		reference_set_free(walk.set);
		return r;
	}
	*out = walk.set;
	return 0;
}

static int begin(void *arg)
{
	struct judge *judge = arg;
	const struct judge_config *config = &judge->config;
	struct catalog_ref roots[JUDGE_ROOTS_MAX];
	size_t count = config->roots(config->arg, roots);
	int r = reference_set_new(&judge->references);

	for (size_t i = 0; i < count && r == 0; i++) {
		r = reference_set_add_view(
			judge->references, config->catalogs, &roots[i], NULL);
		if (r == 0 && config->pins && !pins_are_none(config->pins))
			r = judge_pinned_contents(config->catalogs, config->pins,
				&roots[i], &judge->pinned[i]);
	}
	if (r < 0)
		end(judge);
	return r;
}

static bool is_pinned(const struct judge *judge, const struct digest *digest)
{
	for (size_t i = 0; i < JUDGE_ROOTS_MAX; i++)
		if (judge->pinned[i] &&
			reference_set_content(judge->pinned[i], digest) != REFERENCE_NONE)
			return true;
	return false;
}

/* A catalog that was never entered names nothing yet; nor then is anything of it here. One that
 * got lost makes what it names look like nobody's: it goes first, and is fetched again if it
 * is wanted. */
static enum eviction_class class_of(enum reference reference)
{
	if (reference == REFERENCE_LIVE)
		return EVICTION_LIVE;
	return reference == REFERENCE_STALE ? EVICTION_STALE : EVICTION_UNREFERENCED;
}

static void judge_item(void *arg, struct eviction_item *item)
{
	const struct judge *judge = arg;

	if (item->kind == USAGE_CATALOGS) {
		item->class =
			class_of(reference_set_catalog(judge->references, &item->digest));
		/* the view cannot do without */
		item->is_kept = item->class != EVICTION_UNREFERENCED;
		return;
	}
	item->class = class_of(reference_set_content(judge->references, &item->digest));
	item->is_kept = is_pinned(judge, &item->digest);
	/* a partial is written in place: its room would not even come free */
	if (item->kind == USAGE_PARTIALS && !item->is_kept)
		item->is_kept = content_is_open(judge->config.contents, &item->digest);
}

struct eviction_judge judge_for_eviction(struct judge *judge)
{
	return (struct eviction_judge){
		.arg = judge, .begin = begin, .judge = judge_item, .end = end};
}
