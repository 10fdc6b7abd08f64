/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/bounds/sweep.h"

#include "cache/base/disk/dir.h"
#include "cache/content/content.h"
#include "cache/objects/object_scan.h"
#include "cache/objects/partial_files.h"

#include <errno.h>

struct sweep {
	const struct sweep_config *config;
	struct sweep_counts *counts;
};

/* What removing it has come to: one that somebody else removed is fine. */
static int note(struct sweep *s, int r, enum usage_kind kind, const struct digest *digest,
	uint64_t bytes)
{
	uint64_t *const counts[USAGE_KINDS] = {[USAGE_OBJECTS] = &s->counts->objects,
		[USAGE_PARTIALS] = &s->counts->partials,
		[USAGE_CATALOGS] = &s->counts->catalogs};

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	(*counts[kind])++;
	s->counts->bytes += bytes;
	if (s->config->on_removed)
		s->config->on_removed(s->config->arg, kind, digest, bytes);
	return 0;
}

static bool is_named(const struct sweep *s, const struct digest *digest)
{
	return reference_set_content(s->config->references, digest) != REFERENCE_NONE;
}

static int sweep_object(void *arg, const struct object_info *object)
{
	struct sweep *s = arg;
	uint64_t bytes = 0;

	if (is_named(s, &object->digest))
		return 0;
	int r = object_store_remove(s->config->objects, &object->digest, &bytes);

	return note(s, r, USAGE_OBJECTS, &object->digest, bytes);
}

static int sweep_partial(void *arg, const struct digest_file *file)
{
	struct sweep *s = arg;
	uint64_t bytes = 0;

	/* who reads on in what is superseded is filling it */
	if (is_named(s, &file->digest) ||
		content_is_open(s->config->contents, &file->digest))
		return 0;
	int r = partial_file_remove(s->config->cache_dirfd,
		object_store_usage(s->config->objects), &file->digest, &bytes);

	return note(s, r, USAGE_PARTIALS, &file->digest, bytes);
}

static int sweep_catalog(void *arg, const struct digest_file *file)
{
	struct sweep *s = arg;
	uint64_t bytes = 0;

	if (reference_set_catalog(s->config->references, &file->digest) != REFERENCE_NONE)
		return 0;
	int r = catalog_store_remove(s->config->catalogs, &file->digest, &bytes);

	return note(s, r, USAGE_CATALOGS, &file->digest, bytes);
}

int sweep_run(const struct sweep_config *config, struct sweep_counts *out)
{
	struct sweep s = {.config = config, .counts = out};

	*out = (struct sweep_counts){0};
	if (reference_set_missing(config->references))
		return -ENODATA;
	int r = object_store_list(
		config->objects, config->is_cancelled, sweep_object, &s);

	if (r == 0)
		r = partial_files_list(config->cache_dirfd, sweep_partial, &s);
	/* last: until all that they name is gone, a sweep that is cut short can begin again */
	if (r == 0)
		r = catalog_store_list(config->catalogs, sweep_catalog, &s);
	return r;
}
