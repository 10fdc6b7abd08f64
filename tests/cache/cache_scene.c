/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/cache_scene.h"

#include "cache/base/threads/clock.h"

struct scratch scratch;
struct checkpoint *checkpoint;
struct object_store *objects;
struct catalog_store *catalogs;
struct content_store *contents;

void cache_make(struct source *source)
{
	scratch_make(&scratch);
	assert_int_equal(checkpoint_open(scratch.fd, &checkpoint), 0);
	assert_int_equal(object_store_open(scratch.fd, checkpoint, &objects), 0);
	assert_int_equal(catalog_store_open(scratch.fd, &catalogs), 0);
	const struct content_config config = {.cache_dirfd = scratch.fd,
		.checkpoint = checkpoint,
		.objects = objects,
		.source = source,
		.fetch_deadline_ns = 120 * NS_PER_SEC};

	assert_int_equal(content_store_new(&config, &contents), 0);
}

void cache_drop(void)
{
	content_store_free(contents);
	catalog_store_free(catalogs);
	object_store_free(objects);
	checkpoint_free(checkpoint);
	scratch_remove(&scratch);
}
