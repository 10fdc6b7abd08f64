/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Listings without a kernel: this program brings its own struct fuse_req and the functions of
 * libfuse by which a listing is answered, which the linker takes before the library's.
 */
#include "tests/cache/support.h"
#include "tests/cache/view/walked_view.h"

#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "fs/session/session_state.h"
#include "tests/support/catalog_builder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LISTING_BYTES 4096

struct fuse_req {
	unsigned int answers;
	int error; /* of the answer */
	int reply; /* what writing it comes to */
};

static struct scratch scratch;
static struct catalog_store *catalogs;
static struct built_catalog *nested;
static struct built_catalog *before;
static struct built_catalog *after;
static struct built_catalog *other;
static struct session session;
static uint64_t pack;

int fuse_reply_err(fuse_req_t req, int err)
{
	req->answers++;
	req->error = err;
	return req->reply;
}

int fuse_reply_buf(fuse_req_t req, const char *buf, size_t size)
{
	(void)buf;
	(void)size;
	req->answers++;
	return req->reply;
}

void *fuse_req_userdata(fuse_req_t req)
{
	(void)req;
	return &session;
}

/*
 *	/gone     a file, not in `after`
 *	/pack/    nested, its catalog is here; not in `other`
 */
static int make(void **state)
{
	struct catalog_builder *b = builder_new("pack");

	(void)state;
	scratch_make(&scratch);
	assert_int_equal(catalog_store_open(scratch.fd, &catalogs), 0);
	builder_file(b, BUILDER_TOP, "inside", "i", 1, 64);
	nested = builder_finish(b);
	b = builder_new("");
	builder_file(b, BUILDER_TOP, "gone", "g", 1, 64);
	builder_nested(b, BUILDER_TOP, "pack", nested);
	before = builder_finish(b);
	b = builder_new("");
	builder_nested(b, BUILDER_TOP, "pack", nested);
	after = builder_finish(b);
	b = builder_new("");
	builder_file(b, BUILDER_TOP, "gone", "g", 1, 64);
	other = builder_finish(b);
	built_keep(nested, catalogs);
	built_keep(before, catalogs);
	built_keep(after, catalogs);
	built_keep(other, catalogs);
	struct view_config config = {.catalogs = catalogs,
		.root = before->ref,
		.fetch_deadline_ns = 120 * NS_PER_SEC};

	session = (struct session){0};
	session.config.timeout_ns = 120 * NS_PER_SEC;
	assert_int_equal(view_new(&config, &session.config.view), 0);
	assert_int_equal(view_load(session.config.view), 0);
	assert_int_equal(parked_list_init(&session.parked), 0);
	assert_int_equal(notify_init(&session.notify, session.config.view, NULL), 0);
	AUTO_EPOCH epoch = epoch_enter();

	pack = walk(session.config.view, "pack").id;
	return 0;
}

static int drop(void **state)
{
	(void)state;
	parked_list_end(&session.parked);
	parked_list_release(&session.parked);
	notify_release(&session.notify);
	view_free(session.config.view);
	catalog_store_free(catalogs);
	built_free(other);
	built_free(after);
	built_free(before);
	built_free(nested);
	scratch_remove(&scratch);
	return 0;
}

/* What is left on the stack is no pointer to anything. */
static __attribute__((noinline)) void soil_stack(void)
{
	volatile uint8_t bytes[64 * 1024];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = 0xa5;
}

static struct fuse_req list(uint64_t node, bool is_plus, int reply)
{
	struct fuse_req req = {.reply = reply};

	soil_stack();
	if (is_plus)
		ops_dir_readdirplus(&req, node, LISTING_BYTES, 0, NULL);
	else
		ops_dir_readdir(&req, node, LISTING_BYTES, 0, NULL);
	assert_int_equal(req.answers, 1);
	return req;
}

static void a_listing_of_what_is_not_there_fails(void **state)
{
	(void)state;
	assert_int_equal(list(UINT64_C(77) << 32, false, 0).error, ESTALE);
	assert_int_equal(list(UINT64_C(77) << 32, true, 0).error, ESTALE);
}

static void a_catalog_that_cannot_be_opened_fails_its_listing(void **state)
{
	char hex[DIGEST_HEX_SIZE];
	char path[128];

	(void)state;
	digest_to_hex(&nested->ref.digest, hex);
	(void)snprintf(path, sizeof(path), "catalog/%.2s/%s", hex, hex);
	assert_int_equal(unlinkat(scratch.fd, path, 0), 0);
	assert_int_equal(symlinkat("elsewhere", scratch.fd, path), 0);
	assert_int_equal(list(pack, false, 0).error, EIO);
	assert_int_equal(list(pack, true, 0).error, EIO);
	assert_int_equal(unlinkat(scratch.fd, path, 0), 0);
	built_keep(nested, catalogs);
	assert_int_equal(list(pack, true, 0).error, 0);
}

/* Slots that live only because they are remembered, once a flip has taken /gone away. */
static uint32_t superseded_after_flip(void)
{
	struct view_changes *changes;
	struct view_usage usage;

	assert_int_equal(view_flip(session.config.view, &after->ref, 2, &changes), 0);
	view_changes_free(changes);
	view_reap(session.config.view);
	view_usage(session.config.view, &usage);
	return usage.superseded;
}

static void what_the_kernel_was_told_of_is_remembered(void **state)
{
	(void)state;
	(void)list(VIEW_ROOT, true, 0);
	assert_int_equal(superseded_after_flip(), 1);
}

static void what_did_not_reach_the_kernel_is_not_remembered(void **state)
{
	(void)state;
	(void)list(VIEW_ROOT, true, -ENOENT);
	assert_int_equal(superseded_after_flip(), 0);
}

/* Names that the kernel may know of below what is superseded, and was not told to forget yet. */
static size_t names_to_forget(void)
{
	struct view_changes *changes;

	assert_int_equal(view_list_superseded(session.config.view, &changes), 0);
	size_t count = changes->count;

	view_changes_free(changes);
	return count;
}

static void expect_name_to_forget_after_listing(bool is_plus)
{
	{
		AUTO_EPOCH epoch = epoch_enter();
		struct view_node node = walk(session.config.view, "pack");

		view_remember(&node);
	}
	struct view_changes *changes;

	assert_int_equal(view_flip(session.config.view, &other->ref, 2, &changes), 0);
	view_changes_free(changes);
	(void)names_to_forget();
	assert_int_equal(names_to_forget(), 0);
	assert_int_equal(list(pack, is_plus, 0).error, 0);
	assert_int_equal(names_to_forget(), 1);
	assert_int_equal(names_to_forget(), 0);
}

static void a_name_that_was_listed_is_forgotten_with_its_directory(void **state)
{
	(void)state;
	expect_name_to_forget_after_listing(false);
}

static void so_is_one_that_was_listed_with_its_attributes(void **state)
{
	(void)state;
	expect_name_to_forget_after_listing(true);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		T(a_listing_of_what_is_not_there_fails),
		T(a_catalog_that_cannot_be_opened_fails_its_listing),
		T(what_the_kernel_was_told_of_is_remembered),
		T(what_did_not_reach_the_kernel_is_not_remembered),
		T(a_name_that_was_listed_is_forgotten_with_its_directory),
		T(so_is_one_that_was_listed_with_its_attributes),
	};

	log_detach_stderr();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
