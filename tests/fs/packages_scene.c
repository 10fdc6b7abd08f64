/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/fs/packages_scene.h"

#include "cache/base/threads/clock.h"

#include <errno.h>
#include <stdio.h>

#define CHUNK (64 * 1024)

struct fake_source *fake;
struct view *view;
struct built_catalog *packages[PACKAGES_MOST];
struct built_catalog *root;
size_t package_count;
uint32_t frame_bytes;
struct frame_request *asked[PACKAGES_MOST];
size_t asked_count;
bool is_held;
void (*on_asked)(void);
int64_t now_ns;

static struct mutex asked_lock; /* of both, where two threads ask */

static void note_frames(struct source *source, struct frame_request *rq)
{
	(void)source;
	mutex_lock(&asked_lock);
	assert_true(asked_count < PACKAGES_MOST);
	asked[asked_count++] = rq;
	mutex_unlock(&asked_lock);
	if (on_asked)
		on_asked();
}

static void fetch_catalog(struct source *source, struct catalog_request *rq)
{
	(void)source;
	source_fetch_catalog(fake_source_of(fake), rq);
}

static bool is_background_free(struct source *source)
{
	(void)source;
	return !is_held;
}

static const struct source_ops noting_ops = {.fetch_frames = note_frames,
	.fetch_catalog = fetch_catalog,
	.is_background_free = is_background_free};
static struct source noting = {.ops = &noting_ops};

int packages_make(void **state)
{
	(void)state;
	fake = fake_source_new();
	cache_make(&noting);
	package_count = 0;
	frame_bytes = FRAME_MAX_BYTES;
	is_held = false;
	on_asked = NULL;
	now_ns = NS_PER_SEC;
	clock_fake(now_ns);
	mutex_init(&asked_lock);
	return 0;
}

void let_go(void)
{
	for (size_t i = 0; i < asked_count; i++)
		asked[i]->done(asked[i], -ECANCELED);
	asked_count = 0;
}

int packages_drop(void **state)
{
	(void)state;
	clock_fake(0);
	let_go();
	fake_source_release(fake);
	(void)fake_source_wait_idle(fake);
	content_store_let_go(contents);
	view_free(view);
	view = NULL;
	cache_drop();
	fake_source_free(fake);
	for (size_t i = 0; i < package_count; i++)
		built_free(packages[i]);
	built_free(root);
	root = NULL;
	mutex_release(&asked_lock);
	return 0;
}

void path_of(size_t i, char path[8])
{
	(void)snprintf(path, 8, "p%02zu", i);
}

struct built_catalog *build_package(size_t i, uint64_t bytes, unsigned int seed)
{
	static uint8_t data[8 * MIB];
	char path[8];

	assert_true(bytes <= sizeof(data));
	path_of(i, path);
	struct catalog_builder *b = builder_new(path);

	if (bytes) {
		built_fill(data, bytes, seed);
		builder_frame_bytes(b, frame_bytes);
		builder_file(b, BUILDER_TOP, "file", data, bytes,
			frame_bytes < CHUNK ? frame_bytes : CHUNK);
	}
	return builder_finish(b);
}

struct built_catalog *build_root(void)
{
	struct catalog_builder *b = builder_new("");
	char path[8];

	for (size_t i = 0; i < package_count; i++) {
		path_of(i, path);
		builder_nested(b, BUILDER_TOP, path, packages[i]);
	}
	return builder_finish(b);
}

void add_packages(size_t count, uint64_t bytes)
{
	assert_true(package_count + count <= PACKAGES_MOST);
	for (size_t n = 0; n < count; n++) {
		packages[package_count] = build_package(
			package_count, bytes, (unsigned int)package_count + 1);
		package_count++;
	}
}

void show(size_t here)
{
	root = build_root();
	built_keep(root, catalogs);
	for (size_t i = 0; i < package_count; i++) {
		fake_source_serve(fake, packages[i]);
		if (i < here)
			built_keep(packages[i], catalogs);
	}
	const struct view_config config = {.catalogs = catalogs,
		.source = &noting,
		.root = root->ref,
		.fetch_deadline_ns = 120 * NS_PER_SEC};

	assert_int_equal(view_new(&config, &view), 0);
	assert_int_equal(view_load(view), 0);
	fake_source_hold(fake);
}

void show_all(void)
{
	show(package_count);
}

uint64_t asked_bytes_of(const struct built_catalog *package)
{
	uint64_t bytes = 0;

	for (size_t n = 0; n < asked_count; n++) {
		if (!digest_equal(&asked[n]->pack, &package->pack))
			continue;
		for (size_t k = 0; k < asked[n]->frame_count; k++)
			bytes += asked[n]->frames[k].stored_bytes;
	}
	return bytes;
}

void expect_asked(size_t first, size_t end, uint64_t bytes)
{
	for (size_t i = 0; i < package_count; i++)
		assert_int_equal(
			asked_bytes_of(packages[i]), i >= first && i < end ? bytes : 0);
}
