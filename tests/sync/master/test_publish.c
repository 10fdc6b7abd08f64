/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/commands.h"
#include "sync/master/publish/publish.h"
#include "tests/sync/master/support.h"

#include "cache/base/cli.h"
#include "cache/base/disk/file_lock.h"
#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"
#include "cache/catalog/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DAY_NS (INT64_C(86400) * NS_PER_SEC)

static void in_tree(const struct bench *b, const char *name, char out[256])
{
	(void)snprintf(out, 256, "%s/%s", b->tree, name);
}

static void an_unchanged_tree_publishes_nothing(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;

	bench_begin(&b);
	bench_write(&b, "a/one", "1", 1);
	bench_settle();
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_REVISION);
	assert_int_equal(report.revision, 1);
	assert_int_equal(report.files_read, 1);
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_NOTHING);
	assert_int_equal(report.files_read, 0);
	assert_int_equal(bench_count(&b, "revision"), 1);
	bench_end(&b);
}

static void only_changed_files_are_read(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;

	bench_begin(&b);
	for (int i = 0; i < 100; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "d%d/f%d", i % 10, i);
		bench_fill(&b, name, 1000, (uint64_t)i);
	}
	bench_settle();
	bench_publish(&b, &report);
	assert_int_equal(report.files_read, 100);
	bench_fill(&b, "d3/f3", 1000, 1234);
	bench_fill(&b, "d3/new", 1000, 4321);
	bench_settle();
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_REVISION);
	assert_int_equal(report.files_read, 2);
	assert_int_equal(report.bytes_read, 2000);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

static void a_new_version_stores_only_its_new_chunks(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	char path[256];

	bench_begin(&b);
	bench_fill(&b, "big", 4000000, 1);
	bench_settle();
	bench_publish(&b, &report);
	assert_true(report.bytes_stored > 3900000);
	in_tree(&b, "big", path);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "change", 6, 2000000), 6);
	close(fd);
	bench_settle();
	bench_publish(&b, &report);
	assert_int_equal(report.bytes_read, 4000000);
	assert_in_range(report.bytes_stored, 1, 2 * 256 * 1024);
	/* the same content under another name costs nothing */
	bench_fill(&b, "again", 4000000, 1);
	bench_settle();
	bench_publish(&b, &report);
	assert_int_equal(report.bytes_stored, 0);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

static void unchanged_packages_keep_their_catalogs(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	char glob[] = "npm/*";
	char *globs[] = {glob};

	bench_begin(&b);
	bench_write(&b, "npm/a/f", "a", 1);
	bench_write(&b, "npm/b/f", "b", 1);
	bench_settle();
	struct publish_options o = bench_options(&b);

	o.globs = globs;
	o.glob_count = 1;
	assert_int_equal(publish(&o, &report), 0);
	assert_int_equal(report.packages, 3);
	bench_write(&b, "npm/b/f", "c", 1);
	bench_settle();
	/* the globs are remembered */
	bench_publish(&b, &report);
	assert_int_equal(report.packages, 3);
	assert_int_equal(report.changed_packages, 2);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

static void a_lost_state_costs_reading_and_nothing_else(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	char path[256];

	bench_begin(&b);
	bench_fill(&b, "a", 500000, 1);
	bench_write(&b, "b", "b", 1);
	bench_settle();
	bench_publish(&b, &report);
	(void)snprintf(path, sizeof(path), "%s/.publisher/state.db", b.depot);
	assert_int_equal(unlink(path), 0);
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_NOTHING);
	assert_int_equal(report.files_read, 2);
	assert_int_equal(report.bytes_stored, 0);
	bench_publish(&b, &report);
	assert_int_equal(report.files_read, 0);
	bench_end(&b);
}

static void a_new_channel_gets_a_head_only(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;

	bench_begin(&b);
	bench_write(&b, "a", "a", 1);
	bench_settle();
	bench_publish(&b, &report);
	struct publish_options o = bench_options(&b);

	o.channel = "test";
	assert_int_equal(publish(&o, &report), 0);
	assert_int_equal(report.outcome, PUBLISH_HEAD);
	assert_int_equal(bench_count(&b, "revision"), 1);
	assert_int_equal(bench_count(&b, "channel"), 2);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

static void a_head_past_half_its_life_is_renewed(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;

	bench_begin(&b);
	bench_write(&b, "a", "a", 1);
	bench_settle();
	bench_publish(&b, &report);
	int64_t now_ns = clock_real_ns();

	clock_fake(now_ns + 100 * DAY_NS);
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_NOTHING);
	clock_fake(now_ns + 200 * DAY_NS);
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_RENEWED);
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_NOTHING);
	clock_fake(0);
	bench_end(&b);
}

static void holes_are_not_stored(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	char path[256];

	bench_begin(&b);
	bench_write(&b, "holes", "begin", 5);
	bench_write(&b, "nothing", "", 0);
	in_tree(&b, "holes", path);
	assert_int_equal(truncate(path, 50 * 1024 * 1024), 0);
	in_tree(&b, "nothing", path);
	assert_int_equal(truncate(path, 1024 * 1024), 0);
	bench_settle();
	bench_publish(&b, &report);
	assert_in_range(report.bytes_stored, 1, 8192);
	struct catalog *c = bench_root(&b);
	const struct catalog_content *holes = catalog_content_of(
		c, catalog_entry(c, catalog_lookup(c, CATALOG_ROOT, "holes", 5)));
	const struct catalog_content *nothing = catalog_content_of(
		c, catalog_entry(c, catalog_lookup(c, CATALOG_ROOT, "nothing", 7)));

	assert_int_equal(holes->size, 50 * 1024 * 1024);
	assert_in_range(holes->data_bytes, 5, 65536);
	assert_int_equal(nothing->piece_count, 0);
	assert_int_equal(nothing->data_bytes, 0);
	catalog_close(c);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

static void attributes_travel_but_ours_do_not(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	const uint8_t *value;
	size_t len;
	char path[256];

	bench_begin(&b);
	bench_write(&b, "d/f", "f", 1);
	in_tree(&b, "d/f", path);
	if (setxattr(path, "user.colour", "red", 3, 0) < 0) {
		bench_end(&b);
		skip();
	}
	assert_int_equal(setxattr(path, "user.depotfs.state", "x", 1, 0), 0);
	in_tree(&b, "d", path);
	assert_int_equal(setxattr(path, "user.dir", "", 0, 0), 0);
	bench_settle();
	bench_publish(&b, &report);
	for (int again = 0; again < 2; again++) {
		struct catalog *c = bench_root(&b);
		uint32_t d = catalog_lookup(c, CATALOG_ROOT, "d", 1);
		const struct catalog_entry *f =
			catalog_entry(c, catalog_lookup(c, d, "f", 1));

		assert_int_equal(catalog_xattr_get(c, f, "user.colour", &value, &len), 0);
		assert_int_equal(len, 3);
		assert_int_equal(
			catalog_xattr_get(c, f, "user.depotfs.state", &value, &len),
			-ENODATA);
		assert_int_equal(catalog_xattr_get(c, catalog_entry(c, d), "user.dir",
					 &value, &len),
			0);
		catalog_close(c);
		/* the second time they come from the previous catalog */
		bench_write(&b, "other", "o", 1);
		bench_settle();
		bench_publish(&b, &report);
	}
	bench_end(&b);
}

static void a_renamed_first_link_changes_the_other_package_too(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	char from[256];
	char to[256];
	char glob[] = "*";
	char *globs[] = {glob};

	bench_begin(&b);
	bench_write(&b, "a/f", "f", 1);
	bench_write(&b, "b/x", "x", 1);
	in_tree(&b, "a/f", from);
	in_tree(&b, "b/f", to);
	assert_int_equal(link(from, to), 0);
	bench_settle();
	struct publish_options o = bench_options(&b);

	o.globs = globs;
	o.glob_count = 1;
	assert_int_equal(publish(&o, &report), 0);
	/* moves a directory: the file's own times stay */
	in_tree(&b, "a", from);
	in_tree(&b, "z", to);
	assert_int_equal(rename(from, to), 0);
	bench_settle();
	bench_publish(&b, &report);
	assert_int_equal(report.changed_packages, 3);
	assert_int_equal(bench_faults(&b), 0);
	bench_end(&b);
}

struct writer {
	char path[256];
	atomic_bool stop;
};

static void *keep_writing(void *arg)
{
	struct writer *w = arg;
	int fd = open(w->path, O_WRONLY | O_CLOEXEC);

	for (unsigned int i = 0; !atomic_load(&w->stop); i++) {
		if (pwrite(fd, &i, sizeof(i), 0) < 0)
			break;
	}
	close(fd);
	return NULL;
}

static void a_file_that_never_rests_stops_the_publish(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	struct writer w = {0};
	pthread_t thread;

	bench_begin(&b);
	bench_fill(&b, "quiet", 1000, 1);
	bench_settle();
	bench_publish(&b, &report);
	bench_fill(&b, "busy", 30000000, 1);
	in_tree(&b, "busy", w.path);
	assert_int_equal(pthread_create(&thread, NULL, keep_writing, &w), 0);
	struct publish_options o = bench_options(&b);
	int r = publish(&o, &report);

	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(bench_count(&b, "revision"), 1);
	assert_int_equal(bench_count(&b, ".publisher/tmp"), 0);
	assert_int_equal(bench_faults(&b), 0);
	bench_settle();
	bench_publish(&b, &report);
	assert_int_equal(report.outcome, PUBLISH_REVISION);
	bench_end(&b);
}

static void a_second_publisher_is_turned_away(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;
	char path[256];
	pid_t holder;

	bench_begin(&b);
	(void)snprintf(path, sizeof(path), "%s/.publisher", b.depot);
	int dir = open(path, O_RDONLY | O_DIRECTORY);
	int lock = file_lock_take(dir, "lock", &holder);

	assert_true(lock >= 0);
	struct publish_options o = bench_options(&b);

	assert_int_equal(publish(&o, &report), -EBUSY);
	close(lock);
	close(dir);
	assert_int_equal(publish(&o, &report), 0);
	bench_end(&b);
}

static void a_dry_run_changes_nothing(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;

	bench_begin(&b);
	bench_write(&b, "a", "abc", 3);
	bench_settle();
	struct publish_options o = bench_options(&b);

	o.is_dry_run = true;
	assert_int_equal(publish(&o, &report), 0);
	assert_int_equal(report.outcome, PUBLISH_DRY_RUN);
	assert_true(report.has_changes);
	assert_int_equal(report.files_read, 1);
	assert_int_equal(bench_count(&b, "pack") + bench_count(&b, "catalog") +
				 bench_count(&b, "revision") + bench_count(&b, "channel"),
		0);
	bench_publish(&b, &report);
	assert_int_equal(publish(&o, &report), 0);
	assert_false(report.has_changes);
	bench_end(&b);
}

static void init_refuses_what_is_not_empty(void **state)
{
	(void)state;
	struct bench b;

	bench_begin(&b);
	bench_write(&b, "something", "x", 1);
	assert_int_equal(bench_verb(cmd_init, "init", b.tree, "--name", "other",
				 "--key-dir", b.keys, NULL),
		EXIT_FAILED);
	assert_int_equal(bench_verb(cmd_init, "init", b.depot, "--name", "other",
				 "--key-dir", b.keys, NULL),
		EXIT_FAILED);
	assert_int_equal(
		bench_verb(cmd_init, "init", b.depot, "--name", "UP", NULL), EXIT_USAGE);
	assert_int_equal(bench_verb(cmd_init, "init", b.depot, NULL), EXIT_USAGE);
	/* a key that is there already stops it, and the new directory goes again */
	char fresh[96];

	(void)snprintf(fresh, sizeof(fresh), "%s/fresh", b.dir);
	assert_int_equal(bench_verb(cmd_init, "init", fresh, "--name", "test",
				 "--key-dir", b.keys, NULL),
		EXIT_FAILED);
	assert_int_equal(access(fresh, F_OK), -1);
	bench_end(&b);
}

static void a_depot_inside_the_tree_is_refused(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;

	bench_begin(&b);
	struct publish_options o = bench_options(&b);

	o.tree = b.dir;
	assert_int_equal(publish(&o, &report), -EDEADLK);
	bench_end(&b);
}

/* On a small file system of its own: fills up, fails, leaves the depot as it was. */
static void a_full_disk_leaves_the_depot_as_it_was(void **state)
{
	(void)state;
	struct bench b;
	struct publish_report report;

	bench_begin(&b);
	char small[96];

	(void)snprintf(small, sizeof(small), "%s/small", b.dir);
	assert_int_equal(mkdir(small, 0755), 0);
	if (mount("depotfs-test", small, "tmpfs", 0, "size=3m") < 0) {
		bench_end(&b);
		skip();
	}
	(void)snprintf(b.depot, sizeof(b.depot), "%.64s/small/d", b.dir);
	assert_int_equal(bench_verb(cmd_init, "init", b.depot, "--name", "small",
				 "--key-dir", b.keys, NULL),
		0);
	bench_fill(&b, "a", 500000, 1);
	bench_settle();
	bench_publish(&b, &report);
	bench_fill(&b, "b", 8000000, 2);
	bench_settle();
	struct publish_options o = bench_options(&b);
	int full = publish(&o, &report);
	size_t left = bench_count(&b, ".publisher/tmp");
	size_t faults = bench_faults(&b);
	char path[256];

	in_tree(&b, "b", path);
	assert_int_equal(truncate(path, 1000), 0);
	bench_settle();
	int after = publish(&o, &report);

	assert_int_equal(umount(small), 0);
	assert_int_equal(full, -ENOSPC);
	assert_int_equal(left, 0);
	assert_int_equal(faults, 0);
	assert_int_equal(after, 0);
	bench_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unchanged_tree_publishes_nothing),
		cmocka_unit_test(only_changed_files_are_read),
		cmocka_unit_test(a_new_version_stores_only_its_new_chunks),
		cmocka_unit_test(unchanged_packages_keep_their_catalogs),
		cmocka_unit_test(a_lost_state_costs_reading_and_nothing_else),
		cmocka_unit_test(a_new_channel_gets_a_head_only),
		cmocka_unit_test(a_head_past_half_its_life_is_renewed),
		cmocka_unit_test(holes_are_not_stored),
		cmocka_unit_test(attributes_travel_but_ours_do_not),
		cmocka_unit_test(a_renamed_first_link_changes_the_other_package_too),
		cmocka_unit_test(a_file_that_never_rests_stops_the_publish),
		cmocka_unit_test(a_second_publisher_is_turned_away),
		cmocka_unit_test(a_dry_run_changes_nothing),
		cmocka_unit_test(init_refuses_what_is_not_empty),
		cmocka_unit_test(a_depot_inside_the_tree_is_refused),
		cmocka_unit_test(a_full_disk_leaves_the_depot_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
