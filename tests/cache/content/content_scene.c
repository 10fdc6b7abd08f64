/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/content/content_scene.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

struct scratch scratch;
struct checkpoint *checkpoint;
struct object_store *objects;
struct content_store *store;
struct fake_source *fake;
struct built_catalog *built;
struct catalog *catalog;
uint8_t *big;

/*
 *	/small0 .. /small9   one frame
 *	/big                 a hundred chunks, twelve to a frame
 *	/sparse              holes around one chunk
 *	/hole                nothing but a hole
 */
static struct built_catalog *build_usual(void)
{
	struct catalog_builder *b = builder_new("");
	char name[16];
	char text[32];

	for (int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "small%d", i);
		int n = snprintf(text, sizeof(text), "content of %d", i);

		builder_file(b, BUILDER_TOP, name, text, (size_t)n, 64);
	}
	builder_frame_bytes(b, 1);
	builder_sparse(b, BUILDER_TOP, "sparse", 100000, 50000, "data", 4, 64);
	builder_frame_bytes(b, FRAME_MAX_BYTES);
	builder_sparse(b, BUILDER_TOP, "hole", 70000, 0, "", 0, 64);
	builder_file(b, BUILDER_TOP, "big", big, BIG_SIZE, BIG_CHUNK);
	return builder_finish(b);
}

void open_store(struct source *source)
{
	assert_int_equal(checkpoint_open(scratch.fd, &checkpoint), 0);
	assert_int_equal(object_store_open(scratch.fd, checkpoint, &objects), 0);
	struct content_config config = {.cache_dirfd = scratch.fd,
		.checkpoint = checkpoint,
		.objects = objects,
		.source = source,
		.fetch_deadline_ns = 120 * NS_PER_SEC};

	assert_int_equal(content_store_new(&config, &store), 0);
}

void close_store(void)
{
	assert_true(fake_source_wait_idle(fake));
	content_store_free(store);
	object_store_free(objects);
	checkpoint_free(checkpoint);
}

int make_of(struct built_catalog *(*build)(void))
{
	scratch_make(&scratch);
	big = malloc(BIG_SIZE);
	assert_non_null(big);
	built_fill(big, BIG_SIZE, 5);
	built = build();
	catalog = built_open(built);
	fake = fake_source_new();
	fake_source_serve(fake, built);
	open_store(fake_source_of(fake));
	return 0;
}

int make(void **state)
{
	(void)state;
	return make_of(build_usual);
}

int drop(void **state)
{
	(void)state;
	close_store();
	fake_source_free(fake);
	catalog_close(catalog);
	built_free(built);
	free(big);
	scratch_remove(&scratch);
	return 0;
}

const struct catalog_content *content_named(const char *name)
{
	uint32_t i = catalog_lookup(catalog, CATALOG_ROOT, name, strlen(name));

	assert_int_not_equal(i, CATALOG_NO_ENTRY);
	return catalog_content_of(catalog, catalog_entry(catalog, i));
}

struct content_file *open_named(const char *name)
{
	struct content_file *file;

	assert_int_equal(content_open(store, catalog, content_named(name), &file), 0);
	return file;
}

void take_span(struct content_span *span, size_t len, uint8_t *out)
{
	if (span->fd >= 0)
		assert_int_equal(io_pread_exact(span->fd, out, len, span->offset), 0);
	else
		memcpy(out, span->memory, len);
	content_span_release(span);
}

/* Reads as a FUSE read does: asks again each time it was woken. */
ssize_t read_at(struct content_file *file, uint64_t offset, size_t len, uint8_t *out)
{
	for (int rounds = 0; rounds < 20; rounds++) {
		struct content_span span;
		struct test_waiter w;

		test_waiter_init(&w);
		ssize_t n = content_read(file, offset, len, &span, &w.waiter);

		if (n == -EINPROGRESS) {
			int r = test_waiter_wait(&w);

			test_waiter_release(&w);
			if (r < 0)
				return r;
			continue;
		}
		test_waiter_release(&w);
		if (n > 0)
			take_span(&span, (size_t)n, out);
		return n;
	}
	fail_msg("woken again and again, and never served");
	return -1;
}

void expect_small(int i)
{
	uint8_t out[64];
	char name[16];
	char text[32];

	(void)snprintf(name, sizeof(name), "small%d", i);
	int n = snprintf(text, sizeof(text), "content of %d", i);
	struct content_file *file = open_named(name);

	assert_int_equal(read_at(file, 0, sizeof(out), out), n);
	assert_memory_equal(out, text, (size_t)n);
	content_close(file);
}

void expect_big(struct content_file *file, size_t offset, size_t len)
{
	uint8_t *out = malloc(len);

	assert_non_null(out);
	assert_int_equal(read_at(file, offset, len, out), len);
	assert_memory_equal(out, big + offset, len);
	free(out);
}

void expect_object(
	const struct catalog_content *content, const uint8_t *wanted, size_t len)
{
	uint8_t *found = malloc(len);
	int fd = object_store_get(objects, &content->digest, content->size);

	assert_non_null(found);
	assert_true(fd >= 0);
	assert_int_equal(content->size, len);
	assert_int_equal(io_pread_exact(fd, found, len, 0), 0);
	assert_memory_equal(found, wanted, len);
	close(fd);
	free(found);
}

enum content_state state_of(const char *name)
{
	struct content_info info;

	content_state(store, catalog, content_named(name), &info);
	return info.state;
}

uint32_t frame_of(const char *name, uint32_t piece)
{
	const struct catalog_piece *p =
		&catalog->pieces[content_named(name)->first_piece + piece];

	return catalog->chunks[p->chunk].frame;
}
