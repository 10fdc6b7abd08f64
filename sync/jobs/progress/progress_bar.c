/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/progress/progress_bar.h"

#include "cache/base/cli.h"

#include "cache/base/threads/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A change of rate is seen to two thirds after this. */
#define RATE_SMOOTHING_S 4.0
/* Samples closer than this say more of the scheduler than of the network. */
#define RATE_SAMPLE_NS (200 * NS_PER_MS)

#define BAR_MIN 10
#define BAR_MAX 40

void progress_bar_init(struct progress_bar *bar, int64_t now_ns)
{
	*bar = (struct progress_bar){.rated_bytes = UINT64_MAX, .rated_ns = now_ns};
}

void progress_bar_set(struct progress_bar *bar, int64_t now_ns, uint64_t done_bytes,
	uint64_t total_bytes)
{
	bar->done_bytes = done_bytes;
	bar->total_bytes = total_bytes;
	/* an interrupted run goes on where it stopped: that came from no network just now */
	if (bar->rated_bytes > done_bytes) {
		bar->rated_bytes = done_bytes;
		bar->rated_ns = now_ns;
		return;
	}
	int64_t passed_ns = now_ns - bar->rated_ns;

	if (passed_ns < RATE_SAMPLE_NS)
		return;
	double passed_s = (double)passed_ns / NS_PER_SEC;
	double rate = (double)(done_bytes - bar->rated_bytes) / passed_s;
	double weight = bar->rate > 0 ? 1 - exp(-passed_s / RATE_SMOOTHING_S) : 1;

	bar->rate += weight * (rate - bar->rate);
	bar->rated_bytes = done_bytes;
	bar->rated_ns = now_ns;
}

void progress_format_time(double seconds, char *out, size_t size)
{
	/* beyond 99 hours nobody plans by it */
	uint64_t s = seconds < 359999 ? (uint64_t)(seconds + 0.5) : 359999;

	if (s < 3600)
		(void)snprintf(out, size, "%u:%02u", (unsigned int)(s / 60),
			(unsigned int)(s % 60));
	else
		(void)snprintf(out, size, "%u:%02u:%02u", (unsigned int)(s / 3600),
			(unsigned int)(s / 60 % 60), (unsigned int)(s % 60));
}

static double share_of(const struct progress_bar *bar)
{
	if (bar->total_bytes == 0)
		return 0;
	if (bar->done_bytes >= bar->total_bytes)
		return 1;
	return (double)bar->done_bytes / (double)bar->total_bytes;
}

/* The texts behind the bar, the more important ones first, as far as `room` columns go. */
static void render_numbers(
	const struct progress_bar *bar, size_t room, char *out, size_t size)
{
	const struct cli_bytes done = cli_bytes((double)bar->done_bytes);
	const struct cli_bytes total = cli_bytes((double)bar->total_bytes);
	const struct cli_bytes rate = cli_bytes(bar->rate);
	char left[32];
	char texts[4][80] = {"", "", "", ""};
	size_t len = 0;

	/* 100 % is said when all is there, not when it nearly is */
	if (bar->total_bytes)
		(void)snprintf(texts[0], sizeof(texts[0]), " %3u%%",
			(unsigned int)(share_of(bar) * 100));
	if (bar->total_bytes)
		(void)snprintf(
			texts[1], sizeof(texts[1]), "  %s of %s", done.text, total.text);
	else
		(void)snprintf(texts[1], sizeof(texts[1]), "  %s", done.text);
	if (bar->rate > 0)
		(void)snprintf(texts[2], sizeof(texts[2]), "  %s/s", rate.text);
	if (bar->rate > 0 && bar->total_bytes > bar->done_bytes) {
		progress_format_time(
			(double)(bar->total_bytes - bar->done_bytes) / bar->rate, left,
			sizeof(left));
		(void)snprintf(texts[3], sizeof(texts[3]), "  %s left", left);
	}
	out[0] = '\0';
	for (size_t i = 0; i < 4; i++) {
		size_t n = strlen(texts[i]);

		if (len + n > room || len + n >= size)
			return;
		memcpy(out + len, texts[i], n + 1);
		len += n;
	}
}

void progress_bar_render(const struct progress_bar *bar, const char *label,
	unsigned int width, char *out, size_t size)
{
	char numbers[160];
	char drawn[BAR_MAX + 3] = "";
	size_t head = strlen(label);
	size_t room = width > head ? width - head : 0;

	render_numbers(bar, room, numbers, sizeof(numbers));
	size_t rest = room - strlen(numbers);

	/* two for the space and the brackets' first, one for the last */
	if (bar->total_bytes && rest >= BAR_MIN + 3) {
		size_t cells = rest - 3 < BAR_MAX ? rest - 3 : BAR_MAX;
		size_t full = (size_t)(share_of(bar) * (double)cells);

		memset(drawn, ' ', cells + 2);
		drawn[0] = '[';
		memset(drawn + 1, '=', full);
		if (full < cells)
			drawn[1 + full] = '>';
		drawn[1 + cells] = ']';
		drawn[2 + cells] = '\0';
	}
	(void)snprintf(out, size, "%.*s%s%s%s", (int)width, label, *drawn ? " " : "",
		drawn, numbers);
}
