/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What one source offers, judged against what the mirror has: docs/formats/records.md names the
 * refusals.
 *
 *	offer_init(&offer, &saved, &refusals, "https://a/depot");
 *	... fetch into offer.trust_text and offer.head_text, those that are asked for
 *	r = offer_check_trust(&offer);
 *	r = offer_check_head(&offer);
 *	offer_release(&offer);
 *
 * One thread. A refusal is counted and put into `reason`, for the caller to log.
 */
#pragma once

#include "sync/mirror/follow/refusals.h"
#include "sync/mirror/follow/saved.h"

#define OFFER_REASON_SIZE 400

struct offer {
	const struct saved *saved;
	struct follower_refusals *refusals;
	const char *name;		    /* of the source */
	char object[CHANNEL_NAME_MAX + 16]; /* channel/NAME */
	char reason[OFFER_REASON_SIZE];	    /* of a refusal; "": there was none */
	bool has_trust; /* trust_text was accepted, and is `trust`; else that is the saved one */
	struct trust trust;
	struct head head;
	struct buffer trust_text;
	struct buffer head_text;
};

/* `saved` and `refusals`, which are counted up, must outlive it. */
void offer_init(struct offer *offer, const struct saved *saved,
	struct follower_refusals *refusals, const char *name);
void offer_release(struct offer *offer);

/* The document must continue the chain that the admin's keys begin. Returns 0 or, refused,
 * -EKEYREJECTED, -EBADMSG, -ESTALE, -EXDEV; -ENOMEM. */
int offer_check_trust(struct offer *offer) WARN_UNUSED;

/* The head must be signed by the offer's trust, of the channel, not older than the saved one, and
 * not expired. Returns as above. */
int offer_check_head(struct offer *offer) WARN_UNUSED;

/* The source says that it still has what it had when `sequence` was accepted from it. Returns 0 or,
 * refused, -ESTALE: the mirror has seen a newer one, or it has expired. */
int offer_check_unchanged(struct offer *offer, uint64_t sequence) WARN_UNUSED;
