/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/temporary.h"

#include "cache/base/cli.h"
#include "cache/base/threads/clock.h"
#include "sync/jobs/progress/progress_bar.h"
#include "sync/jobs/progress/progress_line.h"
#include "sync/jobs/progress/progress_show.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static void expect_bytes(double bytes, const char *text)
{
	assert_string_equal(cli_bytes(bytes).text, text);
}

static void expect_time(double seconds, const char *text)
{
	char out[32];

	progress_format_time(seconds, out, sizeof(out));
	assert_string_equal(out, text);
}

static void bytes_have_three_digits_or_so_and_a_unit(void **state)
{
	(void)state;
	expect_bytes(0, "0 B");
	expect_bytes(1023, "1023 B");
	expect_bytes(1024, "1.0 KiB");
	expect_bytes(1023.7 * 1024, "1.0 MiB");
	expect_bytes(99.9 * MIB, "99.9 MiB");
	expect_bytes(100.2 * MIB, "100 MiB");
	expect_bytes(5.25 * 1024 * MIB, "5.2 GiB");
	expect_bytes(1e18, "888 PiB");
}

static void times_are_read_at_a_glance(void **state)
{
	(void)state;
	expect_time(0, "0:00");
	expect_time(7.4, "0:07");
	expect_time(59.6, "1:00");
	expect_time(760, "12:40");
	expect_time(3600, "1:00:00");
	expect_time(11100, "3:05:00");
	expect_time(1e12, "99:59:59");
}

/* A second a step, at this many bytes each. */
static int64_t run_for(
	struct progress_bar *bar, int64_t now_ns, unsigned int seconds, uint64_t step)
{
	for (unsigned int i = 0; i < seconds; i++) {
		now_ns += NS_PER_SEC;
		progress_bar_set(bar, now_ns, bar->done_bytes + step, 1000 * MIB);
	}
	return now_ns;
}

static void the_rate_follows_slowly_what_was_seen(void **state)
{
	struct progress_bar bar;
	int64_t now_ns = 5 * NS_PER_SEC;

	(void)state;
	progress_bar_init(&bar, now_ns);
	progress_bar_set(&bar, now_ns, 0, 1000 * MIB);
	assert_true(bar.rate <= 0);
	now_ns = run_for(&bar, now_ns, 10, 10 * MIB);
	assert_true(bar.rate > 9.9 * MIB && bar.rate < 10.1 * MIB);
	/* one slow second is not the end of the world, many are */
	now_ns = run_for(&bar, now_ns, 1, 0);
	assert_true(bar.rate > 7 * MIB && bar.rate < 9 * MIB);
	run_for(&bar, now_ns, 30, MIB);
	assert_true(bar.rate > 0.9 * MIB && bar.rate < 1.1 * MIB);
}

static void what_was_there_before_counts_for_no_rate(void **state)
{
	struct progress_bar bar;

	(void)state;
	progress_bar_init(&bar, 0);
	progress_bar_set(&bar, NS_PER_SEC, 500 * MIB, 1000 * MIB);
	assert_true(bar.rate <= 0);
	progress_bar_set(&bar, 2 * NS_PER_SEC, 501 * MIB, 1000 * MIB);
	assert_true(bar.rate > 0.99 * MIB && bar.rate < 1.01 * MIB);
}

static void expect_line(
	const struct progress_bar *bar, unsigned int width, const char *text)
{
	char out[PROGRESS_TEXT_SIZE];

	progress_bar_render(bar, "fetching", width, out, sizeof(out));
	assert_string_equal(out, text);
	assert_true(strlen(out) <= width);
}

static void a_bar_shrinks_with_the_terminal_and_then_goes(void **state)
{
	struct progress_bar bar = {
		.done_bytes = 250 * MIB, .total_bytes = 1000 * MIB, .rate = 10.0 * MIB};

	(void)state;
	expect_line(&bar, 100,
		"fetching [==========>                             ]  25%  250 MiB of "
		"1000 MiB"
		"  10.0 MiB/s  1:15 left");
	expect_line(&bar, 80,
		"fetching [=====>              ]  25%  250 MiB of 1000 MiB  10.0 MiB/s  "
		"1:15 left");
	expect_line(
		&bar, 60, "fetching  25%  250 MiB of 1000 MiB  10.0 MiB/s  1:15 left");
	expect_line(&bar, 50, "fetching  25%  250 MiB of 1000 MiB  10.0 MiB/s");
	expect_line(&bar, 20, "fetching  25%");
	expect_line(&bar, 8, "fetching");
	expect_line(&bar, 4, "fetc");
	expect_line(&bar, 0, "");
}

static void a_bar_is_full_when_all_is_there_and_not_before(void **state)
{
	struct progress_bar bar = {
		.done_bytes = 1000 * MIB - 1, .total_bytes = 1000 * MIB};

	(void)state;
	expect_line(&bar, 48, "fetching [=========>]  99%  1000 MiB of 1000 MiB");
	bar.done_bytes++;
	expect_line(&bar, 48, "fetching [==========] 100%  1000 MiB of 1000 MiB");
	bar = (struct progress_bar){.done_bytes = 5 * MIB};
	expect_line(&bar, 80, "fetching  5.0 MiB");
}

/* Everything that is written when `done` goes from 0 to `total` by `step`. */
static void grow(uint64_t total, uint64_t step, char *out, size_t size)
{
	struct progress_line line = {0};

	out[0] = '\0';
	for (uint64_t done = 0;; done += step) {
		const char *text =
			progress_line_grow(&line, done < total ? done : total, total);

		assert_true(strlen(out) + strlen(text) < size);
		(void)snprintf(out + strlen(out), size - strlen(out), "%s", text);
		if (done >= total)
			return;
	}
}

static void a_line_grows_to_the_same_whatever_the_steps(void **state)
{
	static const uint64_t steps[] = {1, 7, 100, 333, 999, 1000};
	char out[200];

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		grow(1000, steps[i], out, sizeof(out));
		assert_string_equal(out, "...25%...50%...75%..100%|");
	}
}

static void a_line_says_only_what_has_been_reached(void **state)
{
	struct progress_line line = {0};

	(void)state;
	assert_string_equal(progress_line_grow(&line, 5, 0), "");
	assert_string_equal(progress_line_grow(&line, 0, 1000), "");
	assert_string_equal(progress_line_grow(&line, 249, 1000), "...");
	assert_string_equal(progress_line_grow(&line, 249, 1000), "");
	assert_string_equal(progress_line_grow(&line, 250, 1000), "25%");
	assert_string_equal(progress_line_grow(&line, 999, 1000), "...50%...75%..");
	/* what went back is not taken back */
	assert_string_equal(progress_line_grow(&line, 10, 1000), "");
	assert_string_equal(progress_line_grow(&line, 1000, 1000), "100%|");
	assert_string_equal(progress_line_grow(&line, 1000, 1000), "");
	line = (struct progress_line){0};
	/* too large for a double to tell it from all */
	assert_string_equal(progress_line_grow(&line, UINT64_MAX - 1, UINT64_MAX),
		"...25%...50%...75%..");
}

static void in_a_file_there_are_no_escapes(void **state)
{
	char path[TEMPORARY_SIZE];
	char out[512] = "";
	struct progress_show show;
	FILE *file = fdopen(temporary_file(path, sizeof(path), "progress"), "w+");

	(void)state;
	assert_non_null(file);
	progress_show_begin(&show, file);
	progress_show_set(&show, "planning", 0, 0);
	for (uint64_t i = 0; i <= 100; i++)
		progress_show_set(&show, "fetching", i, 100);
	progress_show_set(&show, "checking", 50, 100);
	progress_show_end(&show);
	rewind(file);
	size_t n = fread(out, 1, sizeof(out) - 1, file);

	(void)fclose(file);
	(void)unlink(path);
	assert_int_equal(n, strlen(out));
	assert_string_equal(
		out, "fetching  |...25%...50%...75%..100%|\nchecking  |...25%...50%\n");
}

static void on_a_terminal_the_line_is_drawn_over(void **state)
{
	static const struct winsize size = {.ws_row = 24, .ws_col = 60};
	struct progress_show show;
	char out[512] = "";
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	(void)state;
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		skip(); /* no pseudo-terminals here */
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	FILE *file = fdopen(slave, "w");

	assert_non_null(file);
	assert_int_equal(ioctl(slave, TIOCSWINSZ, &size), 0);
	assert_int_equal(setenv("TERM", "xterm", 1), 0);
	progress_show_begin(&show, file);
	progress_show_set(&show, "fetching", 25 * MIB, 100 * MIB);
	progress_show_set(&show, "fetching", 50 * MIB, 100 * MIB);
	progress_show_end(&show);
	/* a read brings a part of it; the other end's close, what is left and then an error */
	(void)fclose(file);
	for (size_t len = 0; len < sizeof(out) - 1;) {
		ssize_t n = read(master, out + len, sizeof(out) - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(master);
	const char *first = strstr(out, "\rfetching [");

	assert_non_null(first);
	const char *second = strstr(first + 1, "\rfetching [");

	assert_non_null(second);
	assert_non_null(strstr(second, "\033[K"));
	assert_non_null(strstr(second, "50%"));
	assert_null(strchr(first, '|'));
	assert_int_equal(out[strlen(out) - 1], '\n');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_have_three_digits_or_so_and_a_unit),
		cmocka_unit_test(times_are_read_at_a_glance),
		cmocka_unit_test(the_rate_follows_slowly_what_was_seen),
		cmocka_unit_test(what_was_there_before_counts_for_no_rate),
		cmocka_unit_test(a_bar_shrinks_with_the_terminal_and_then_goes),
		cmocka_unit_test(a_bar_is_full_when_all_is_there_and_not_before),
		cmocka_unit_test(a_line_grows_to_the_same_whatever_the_steps),
		cmocka_unit_test(a_line_says_only_what_has_been_reached),
		cmocka_unit_test(in_a_file_there_are_no_escapes),
		cmocka_unit_test(on_a_terminal_the_line_is_drawn_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
