/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/follow/offer.h"

#include "cache/base/threads/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void offer_init(struct offer *o, const struct saved *saved,
	struct follower_refusals *refusals, const char *name)
{
	*o = (struct offer){
		.saved = saved,
		.refusals = refusals,
		.name = name,
		.trust = saved->trust,
		.trust_text = BUFFER_INIT(RECORD_MAX_BYTES),
		.head_text = BUFFER_INIT(RECORD_MAX_BYTES),
	};
	(void)snprintf(o->object, sizeof(o->object), "channel/%s", saved->channel);
}

void offer_release(struct offer *o)
{
	buffer_release(&o->trust_text);
	buffer_release(&o->head_text);
}

static int refuse(struct offer *o, uint64_t *counter, int error, const char *object,
	const char *fmt, ...) PRINTF_LIKE(5, 6);

static int refuse(struct offer *o, uint64_t *counter, int error, const char *object,
	const char *fmt, ...)
{
	va_list args;
	int n = snprintf(
		o->reason, sizeof(o->reason), "refused %s from %s: ", object, o->name);

	(*counter)++;
	if (n < 0 || (size_t)n >= sizeof(o->reason))
		return error;
	va_start(args, fmt);
	(void)vsnprintf(o->reason + n, sizeof(o->reason) - (size_t)n, fmt, args);
	va_end(args);
	return error;
}

static int refuse_forged(struct offer *o, const char *object, int error)
{
	if (error == -EKEYREJECTED)
		return refuse(o, &o->refusals->forged, error, object,
			"forged: it is not signed by the keys that this mirror trusts "
			"(is "
			"key= the right file?)");
	return refuse(o, &o->refusals->forged, error, object,
		"forged or damaged: it is not a record of depotfs");
}

static int refuse_repository(struct offer *o, const char *object)
{
	return refuse(o, &o->refusals->wrong_repository, -EXDEV, object,
		"it is of another repository than this mirror's cache directory: correct "
		"the source's address, or name another directory with cache=");
}

/* The admin's keys start the chain, the saved document continues it. */
static int decode_trust(const struct offer *o, struct trust *out)
{
	const struct saved *s = o->saved;
	const void *data = o->trust_text.data;
	size_t len = o->trust_text.len;

	if (!s->has_trust)
		return trust_decode(data, len, s->ring, out);
	int r = trust_decode_next(data, len, &s->trust, out);

	/* genuine, but from before a rotation: out of date, which is no forgery */
	if (r == -EKEYREJECTED && trust_decode(data, len, s->ring, out) == 0 &&
		out->version < s->trust.version)
		return -ESTALE;
	return r;
}

int offer_check_trust(struct offer *o)
{
	const struct saved *s = o->saved;
	struct trust trust;
	int r = decode_trust(o, &trust);

	switch (r) {
	case 0:
		break;
	case -ENOMEM:
		return r;
	case -EXDEV:
		return refuse_repository(o, "trust");
	case -ESTALE:
		return refuse(o, &o->refusals->rollback, r, "trust",
			"rollback: it is older than version %" PRIu64
			", which this mirror has",
			s->trust.version);
	default:
		return refuse_forged(o, "trust", r);
	}
	if (s->has_trust && trust.version == s->trust.version &&
		!saved_is_trust(s, &o->trust_text))
		return refuse(o, &o->refusals->mismatched, -ESTALE, "trust",
			"version %" PRIu64
			" has other bytes than the one that this mirror has",
			trust.version);
	o->trust = trust;
	o->has_trust = true;
	return 0;
}

/* Against the clock. */
static int check_expiry(struct offer *o, const struct head *head)
{
	char when[CLOCK_TEXT_SIZE];

	if (!head->expires_ns || head->expires_ns > clock_real_ns())
		return 0;
	clock_format(head->expires_ns, when);
	return refuse(o, &o->refusals->frozen, -ESTALE, o->object,
		"frozen: it expired at %s; the source is out of date, or this machine's "
		"clock is wrong",
		when);
}

/* Against what this mirror has seen before. */
static int check_order(struct offer *o, uint64_t sequence)
{
	const struct saved *s = o->saved;

	if (!s->has_head || sequence >= s->head.sequence)
		return 0;
	return refuse(o, &o->refusals->rollback, -ESTALE, o->object,
		"rollback: its sequence is %" PRIu64 ", this mirror has seen %" PRIu64,
		sequence, s->head.sequence);
}

int offer_check_head(struct offer *o)
{
	const struct saved *s = o->saved;
	int r = head_decode(o->head_text.data, o->head_text.len, &o->trust, &o->head);

	if (r == -ENOMEM)
		return r;
	if (r == -EXDEV)
		return refuse_repository(o, o->object);
	if (r < 0)
		return refuse_forged(o, o->object, r);
	if (strcmp(o->head.channel, s->channel) != 0)
		return refuse(o, &o->refusals->mismatched, -EBADMSG, o->object,
			"mismatch: it is the head of channel %s", o->head.channel);
	r = check_order(o, o->head.sequence);
	if (r < 0)
		return r;
	if (s->has_head && o->head.sequence == s->head.sequence &&
		!saved_is_head(s, &o->head_text))
		return refuse(o, &o->refusals->mismatched, -ESTALE, o->object,
			"mismatch: sequence %" PRIu64
			" has other bytes than the head that this mirror has; two "
			"publishers may be signing for one channel",
			o->head.sequence);
	return check_expiry(o, &o->head);
}

int offer_check_unchanged(struct offer *o, uint64_t sequence)
{
	int r = check_order(o, sequence);

	return r < 0 ? r : check_expiry(o, &o->saved->head);
}
