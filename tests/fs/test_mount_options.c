/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "fs/mount/mount_options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static struct mount_options options;
static char said[4096]; /* on stderr by the last parse() */

#define ARGS_MAX 16

/* Parses "mount" and these words; the message goes to `said`. */
static int parse(const char *const *words)
{
	char *argv[ARGS_MAX];
	int argc = 0;
	int saved = dup(STDERR_FILENO);
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(saved >= 0 && fd >= 0);
	argv[argc++] = mem_strdup("mount");
	for (; *words; words++)
		argv[argc++] = mem_strdup(*words);
	argv[argc] = NULL;
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	int r = mount_options_parse(argc, argv, &options);

	(void)fflush(stderr);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	ssize_t n = io_pread(fd, said, sizeof(said) - 1, 0);

	assert_true(n >= 0);
	said[n] = '\0';
	close(saved);
	close(fd);
	while (argc > 0)
		free(argv[--argc]);
	return r;
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static int drop(void **state)
{
	(void)state;
	mount_options_release(&options);
	return 0;
}

static void the_whole_line_is_understood(void **state)
{
	(void)state;
	assert_int_equal(
		PARSE("https://a/d,https://b/d", "/mnt", "-f", "-o",
			"key=/k.pub,cache=/c,channel=test,timeout=5,allow_other", "-o",
			"fsname=x,cafile=/ca,sshkey=/s,knownhosts=/h,log=/l"),
		0);
	assert_string_equal(options.urls, "https://a/d,https://b/d");
	assert_string_equal(options.mountpoint, "/mnt");
	assert_string_equal(options.key, "/k.pub");
	assert_string_equal(options.cache, "/c");
	assert_string_equal(options.channel, "test");
	assert_string_equal(options.fsname, "x");
	assert_string_equal(options.cafile, "/ca");
	assert_string_equal(options.sshkey, "/s");
	assert_string_equal(options.knownhosts, "/h");
	assert_string_equal(options.log, "/l");
	assert_int_equal(options.timeout_sec, 5);
	assert_true(options.allow_other);
	assert_true(options.is_foreground);
	assert_string_equal(said, "");
}

static void the_caches_bounds_are_read(void **state)
{
	(void)state;
	assert_int_equal(PARSE("file:///d", "/mnt", "-o",
				 "key=/k,cache=/c,cache_limit=20G,cache_free=7%"),
		0);
	assert_true(options.cache_limit == UINT64_C(20) << 30);
	assert_int_equal(options.cache_free.unit, EVICTION_FLOOR_PERCENT);
	assert_int_equal(options.cache_free.amount, 7);
	mount_options_release(&options);
	assert_int_equal(
		PARSE("file:///d", "/mnt", "-o", "key=/k,cache=/c,cache_limit=lots"),
		-EINVAL);
	assert_non_null(strstr(said, "cache_limit=lots"));
	mount_options_release(&options);
	assert_int_equal(
		PARSE("file:///d", "/mnt", "-o", "key=/k,cache=/c,cache_free=200%"),
		-EINVAL);
	assert_non_null(strstr(said, "cache_free=200%"));
}

static void what_is_not_said_has_its_default(void **state)
{
	(void)state;
	assert_int_equal(PARSE("-o", "key=/k,cache=/c", "file:///d", "/mnt"), 0);
	assert_string_equal(options.channel, "stable");
	assert_int_equal(options.timeout_sec, MOUNT_TIMEOUT_DEFAULT_SEC);
	assert_false(options.allow_other);
	assert_false(options.is_foreground);
	assert_null(options.fsname);
	assert_null(options.log);
}

static void relative_paths_are_made_absolute(void **state)
{
	char *cwd = getcwd(NULL, 0);
	char expected[4200];

	(void)state;
	assert_non_null(cwd);
	assert_int_equal(
		PARSE("none", "mnt", "-o", "key=k.pub,cache=a/c,conf=share.conf"), 0);
	(void)snprintf(expected, sizeof(expected), "%s/mnt", cwd);
	assert_string_equal(options.mountpoint, expected);
	(void)snprintf(expected, sizeof(expected), "%s/a/c", cwd);
	assert_string_equal(options.cache, expected);
	/* `reload` reads it when the daemon has left the directory */
	(void)snprintf(expected, sizeof(expected), "%s/share.conf", cwd);
	assert_string_equal(options.conf, expected);
	assert_string_equal(options.urls, "none");
	free(cwd);
}

static void the_last_of_two_counts(void **state)
{
	(void)state;
	assert_int_equal(
		PARSE("none", "/m", "-o", "key=/a,key=/b,cache=/c", "-o", "cache=/d"), 0);
	assert_string_equal(options.key, "/b");
	assert_string_equal(options.cache, "/d");
}

/* Whether there is such a setting is asked elsewhere. */
static void what_is_unknown_here_is_left_to_the_settings(void **state)
{
	(void)state;
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k,cache=/c,cahce=/d"), 0);
	assert_int_equal(options.setting_count, 1);
	assert_string_equal(options.settings[0], "cahce=/d");
}

static void an_unknown_option_is_named(void **state)
{
	(void)state;
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k,cache=/c", "--frob"), -EINVAL);
	assert_non_null(strstr(said, "--frob"));
}

static void a_missing_value_is_asked_for(void **state)
{
	static const char *const lists[] = {"key=/k,cache=/c,channel",
		"key=/k,cache=/c,channel=", "key=/k,cache=/c,timeout",
		"key=/k,cache=/c,timeout="};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		assert_int_equal(PARSE("none", "/m", "-o", lists[i]), -EINVAL);
		if (!strstr(said, "wants a value") && !strstr(said, "are wanted"))
			fail_msg("%s: %s", lists[i], said);
		mount_options_release(&options);
	}
	assert_int_equal(PARSE("none", "/m", "-o"), -EINVAL);
}

static void what_must_be_given_is_said(void **state)
{
	(void)state;
	assert_int_equal(PARSE("none", "/m", "-o", "cache=/c"), -EINVAL);
	assert_non_null(strstr(said, "key=FILE"));
	mount_options_release(&options);
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k"), -EINVAL);
	assert_non_null(strstr(said, "cache=DIR"));
	mount_options_release(&options);
	assert_int_equal(PARSE("/m", "-o", "key=/k,cache=/c"), -EINVAL);
	assert_non_null(strstr(said, "mountpoint"));
	mount_options_release(&options);
	assert_int_equal(PARSE("none", "/m", "/n", "-o", "key=/k,cache=/c"), -EINVAL);
}

static void what_fstab_adds_is_accepted(void **state)
{
	(void)state;
	assert_int_equal(
		PARSE("none", "/m", "-o",
			"ro,defaults,nosuid,nodev,noexec,exec,noatime,relatime,auto",
			"-o", "noauto,nofail,_netdev,default_permissions", "-o",
			"x-systemd.automount,x-gvfs-hide,,key=/k,cache=/c"),
		0);
	assert_string_equal(said, "");
}

static void writing_is_not_promised(void **state)
{
	(void)state;
	assert_int_equal(PARSE("none", "/m", "-o", "rw,key=/k,cache=/c"), -EINVAL);
	assert_non_null(strstr(said, "read-only"));
}

static void an_open_mode_is_one_of_two(void **state)
{
	(void)state;
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k,cache=/c"), 0);
	assert_false(options.is_open_none);
	mount_options_release(&options);
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k,cache=/c,open=none"), 0);
	assert_true(options.is_open_none);
	mount_options_release(&options);
	assert_int_equal(
		PARSE("none", "/m", "-o", "key=/k,cache=/c,open=passthrough"), 0);
	assert_false(options.is_open_none);
	mount_options_release(&options);
	assert_int_equal(
		PARSE("none", "/m", "-o", "key=/k,cache=/c,open=always"), -EINVAL);
	mount_options_release(&options);
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k,cache=/c,open"), -EINVAL);
}

static void processors_may_sleep_if_that_is_wanted(void **state)
{
	(void)state;
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k,cache=/c"), 0);
	assert_false(options.is_latency_normal);
	mount_options_release(&options);
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k,cache=/c,latency=normal"), 0);
	assert_true(options.is_latency_normal);
	mount_options_release(&options);
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k,cache=/c,latency=low"), 0);
	assert_false(options.is_latency_normal);
	mount_options_release(&options);
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k,cache=/c,latency=0"), -EINVAL);
}

static void a_timeout_is_between_a_second_and_an_hour(void **state)
{
	static const char *const bad[] = {
		"0", "3601", "-1", "1s", "99999999999999999999"};
	char list[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		(void)snprintf(list, sizeof(list), "key=/k,cache=/c,timeout=%s", bad[i]);
		assert_int_equal(PARSE("none", "/m", "-o", list), -EINVAL);
		mount_options_release(&options);
	}
	assert_int_equal(PARSE("none", "/m", "-o", "key=/k,cache=/c,timeout=3600"), 0);
	assert_int_equal(options.timeout_sec, 3600);
}

static void help_needs_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--help"), 0);
	assert_true(options.is_help);
	assert_non_null(strstr(mount_options_help, "cache=DIR"));
}

static void without_memory_parsing_fails_and_leaks_nothing(void **state)
{
	char *argv[] = {"mount", "none", "mnt", "-o", "key=k,cache=/c,log=l", NULL};
	int r = -1;

	(void)state;
	for (long n = 0; r != 0; n++) {
		mem_fail_after(n);
		r = mount_options_parse(5, argv, &options);
		mem_fail_after(-1);
		if (r < 0) {
			assert_int_equal(r, -ENOMEM);
			mount_options_release(&options);
		}
		assert_true(n < 100);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, drop)
	const struct CMUnitTest tests[] = {
		T(the_whole_line_is_understood),
		T(the_caches_bounds_are_read),
		T(what_is_not_said_has_its_default),
		T(relative_paths_are_made_absolute),
		T(the_last_of_two_counts),
		T(what_is_unknown_here_is_left_to_the_settings),
		T(an_unknown_option_is_named),
		T(a_missing_value_is_asked_for),
		T(what_must_be_given_is_said),
		T(what_fstab_adds_is_accepted),
		T(writing_is_not_promised),
		T(an_open_mode_is_one_of_two),
		T(processors_may_sleep_if_that_is_wanted),
		T(a_timeout_is_between_a_second_and_an_hour),
		T(help_needs_nothing_else),
		T(without_memory_parsing_fails_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
