/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/temporary.h"

#include "cache/base/disk/io.h"
#include "sync/jobs/settings.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char file[TEMPORARY_SIZE];
static char reason[TEXT_REASON_SIZE];

static void write_file(const char *text)
{
	AUTO_CLOSE int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, text, strlen(text)), 0);
}

static void expect_refused(const char *name, const char *value)
{
	struct settings s;

	assert_int_equal(settings_init(&s), 0);
	assert_int_equal(settings_set(&s, name, value, reason), -EINVAL);
	assert_non_null(strstr(reason, value));
	settings_release(&s);
}

static void defaults_are_those_of_the_manual(void **state)
{
	struct settings s;

	(void)state;
	assert_int_equal(settings_init(&s), 0);
	assert_int_equal(s.poll_sec, 60);
	assert_int_equal(s.on_change, ON_CHANGE_AUTO);
	assert_string_equal(s.prefetch, "cached");
	assert_int_equal(s.guard_share, 25);
	assert_int_equal((int)s.guard_count, 0);
	assert_null(s.pre_sync);
	assert_int_equal((int)s.label_count, 0);
	settings_release(&s);
}

static void a_value_that_cannot_be_is_refused_with_its_words(void **state)
{
	struct settings s;

	(void)state;
	expect_refused("poll", "soon");
	expect_refused("poll", "86401");
	expect_refused("guard_share", "101");
	expect_refused("on_change", "maybe");
	expect_refused("pre_sync", "bin/stop");
	expect_refused("label", "Site");
	expect_refused("prefetch", "cahced");
	assert_int_equal(settings_init(&s), 0);
	assert_int_equal(settings_set(&s, "colour", "red", reason), -ENOENT);
	settings_release(&s);
}

static void the_command_line_wins_over_the_file(void **state)
{
	struct settings s;

	(void)state;
	write_file("# a mirror\n[mirror]\npoll = 30\nlabel = site:oslo ring:1\n"
		   "guard_share = 50\n[schedule nightly]\nwhen = daily at 02:00\n"
		   "mode = full\n");
	assert_int_equal(settings_init(&s), 0);
	assert_int_equal(settings_set(&s, "poll", "5", reason), 0);
	assert_int_equal(settings_read(&s, file, reason), 0);
	assert_int_equal(s.poll_sec, 5);
	assert_int_equal(s.guard_share, 50);
	assert_int_equal((int)s.label_count, 2);
	assert_string_equal(s.labels[1], "ring:1");
	assert_int_equal((int)s.local.schedule_count, 1);
	assert_string_equal(s.local.schedules[0].name, "nightly");
	settings_release(&s);
}

static void a_mistake_in_the_file_is_told_with_its_line(void **state)
{
	static const char *const texts[] = {"[mirror]\npoll = 5\ncolour = red\n",
		"[mirror]\npoll = 5\nguard_share = much\n",
		"[schedule a]\nwhen = daily at 02:00\n[other]\nx = y\n",
		"[mirror]\npoll = 5\n[schedule a]\nwhen = never\n"};
	static const char *const lines[] = {"line 3", "line 3", "line 4", "line 4"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct settings s;

		write_file(texts[i]);
		assert_int_equal(settings_init(&s), 0);
		assert_int_equal(settings_read(&s, file, reason), -EINVAL);
		assert_non_null(strstr(reason, lines[i]));
		settings_release(&s);
	}
}

static void a_file_that_is_not_there_says_so(void **state)
{
	struct settings s;

	(void)state;
	assert_int_equal(settings_init(&s), 0);
	assert_int_equal(settings_read(&s, "/nonexistent/file", reason), -ENOENT);
	assert_true(strlen(reason) > 0);
	settings_release(&s);
}

/* The daemon would wait for somebody to write to it, and `reload` with it. */
static void what_is_no_regular_file_is_not_waited_for(void **state)
{
	char fifo[sizeof(file) + 8];
	struct settings s;

	(void)state;
	(void)snprintf(fifo, sizeof(fifo), "%s.fifo", file);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(settings_init(&s), 0);
	(void)alarm(120);
	assert_int_equal(settings_read(&s, fifo, reason), -EINVAL);
	assert_int_equal(settings_read(&s, "/dev/zero", reason), -EINVAL);
	(void)alarm(0);
	assert_non_null(strstr(reason, "regular file"));
	settings_release(&s);
	assert_int_equal(unlink(fifo), 0);
}

static int set_up(void **state)
{
	int fd = temporary_file(file, sizeof(file), "settings");

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_manual),
		cmocka_unit_test(a_value_that_cannot_be_is_refused_with_its_words),
		cmocka_unit_test(the_command_line_wins_over_the_file),
		cmocka_unit_test(a_mistake_in_the_file_is_told_with_its_line),
		cmocka_unit_test(a_file_that_is_not_there_says_so),
		cmocka_unit_test(what_is_no_regular_file_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
