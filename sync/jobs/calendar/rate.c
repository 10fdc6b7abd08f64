/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/calendar/rate.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DIGITS_MAX    9
#define FRACTION_MAX  3
#define RATE_MAX      UINT64_C(1000000000000)
#define BITS_PER_BYTE 8

/* "20", "2.5": in thousandths; moves behind it. */
static bool read_thousandths(const char **p, uint64_t *out)
{
	uint64_t n = 0;
	size_t digits = 0;
	size_t fraction = 0;
	bool is_fraction = false;

	for (;; (*p)++) {
		if (**p == '.' && !is_fraction && digits) {
			is_fraction = true;
			continue;
		}
		if (!isdigit((unsigned char)**p))
			break;
		n = n * 10 + (uint64_t)(**p - '0');
		digits++;
		fraction += is_fraction;
	}
	if (!digits || digits > DIGITS_MAX || fraction > FRACTION_MAX ||
		(is_fraction && !fraction))
		return false;
	for (; fraction < FRACTION_MAX; fraction++)
		n *= 10;
	*out = n;
	return true;
}

static bool read_prefix(const char **p, uint64_t *out)
{
	static const char letters[] = "kmg";
	const char *found = **p ? strchr(letters, tolower((unsigned char)**p)) : NULL;

	*out = 1;
	if (!found)
		return false;
	for (const char *c = letters; c <= found; c++)
		*out *= 1000;
	(*p)++;
	return true;
}

int rate_parse(const char *text, struct rate_limit *out, char reason[TEXT_REASON_SIZE])
{
	const char *p = text;
	uint64_t thousandths;
	uint64_t factor;

	if (strcasecmp(text, "unlimited") == 0 || strcasecmp(text, "idle") == 0) {
		*out = (struct rate_limit){.kind = tolower((unsigned char)text[0]) == 'i'
							   ? RATE_IDLE
							   : RATE_UNLIMITED};
		return 0;
	}
	if (!read_thousandths(&p, &thousandths))
		return words_refuse(reason,
			"'%s' is no rate: write bytes a second as 20M or bits as 20Mbit, "
			"or idle, or unlimited",
			text);
	(void)read_prefix(&p, &factor);
	uint64_t divisor = 1000;

	if (strncasecmp(p, "bit", 3) == 0) {
		divisor *= BITS_PER_BYTE;
		p += 3;
	} else if (*p == 'B' || *p == 'b') {
		p++;
	}
	if (strcasecmp(p, "/s") == 0)
		p += 2;
	if (*p)
		return words_refuse(reason,
			"'%s' is no rate: behind the number come k, M or G, then nothing "
			"or bit",
			text);
	uint64_t bytes_per_sec = thousandths * factor / divisor;

	if (!bytes_per_sec)
		return words_refuse(reason,
			"the rate '%s' would never end: to stop at some hours, set "
			"windows",
			text);
	if (bytes_per_sec > RATE_MAX)
		return words_refuse(
			reason, "the rate '%s' is too high: write unlimited", text);
	*out = (struct rate_limit){.kind = RATE_FIXED, .bytes_per_sec = bytes_per_sec};
	return 0;
}

void rate_format(const struct rate_limit *rate, char out[RATE_TEXT_SIZE])
{
	static const struct {
		uint64_t factor;
		const char *letter;
	} prefixes[] = {{1000000000, "G"}, {1000000, "M"}, {1000, "k"}, {1, ""}};

	if (rate->kind != RATE_FIXED) {
		(void)snprintf(out, RATE_TEXT_SIZE, "%s",
			rate->kind == RATE_IDLE ? "idle" : "unlimited");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		if (rate->bytes_per_sec % prefixes[i].factor)
			continue;
		(void)snprintf(out, RATE_TEXT_SIZE, "%" PRIu64 "%s",
			rate->bytes_per_sec / prefixes[i].factor, prefixes[i].letter);
		return;
	}
}

struct rate_limit rate_both(const struct rate_limit *a, const struct rate_limit *b)
{
	struct rate_limit both = {.kind = a->kind > b->kind ? a->kind : b->kind,
		.bytes_per_sec = a->bytes_per_sec};

	if (!both.bytes_per_sec ||
		(b->bytes_per_sec && b->bytes_per_sec < both.bytes_per_sec))
		both.bytes_per_sec = b->bytes_per_sec;
	return both;
}
