/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The trust document and the head that a mirror has accepted, in memory and in its cache
 * directory (sync/mirror/follower.h has the files' names).
 *
 *	r = saved_load(&saved, cache_dirfd, &key_ring, "stable");
 *	r = saved_put(&saved, &new_trust, &trust_text, &new_head, &head_text);
 *	saved_release(&saved);
 *
 * One thread.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/data/buffer.h"
#include "sync/trust/key.h"
#include "sync/trust/record.h"

#include <stdbool.h>

struct saved {
	int cache_dirfd;
	const struct key_ring *ring;
	char channel[CHANNEL_NAME_MAX + 1];
	bool has_trust;
	bool has_head; /* only with has_trust */
	struct trust trust;
	struct head head;
	struct buffer trust_text;
	struct buffer head_text;
};

/* Reads and checks what the directory has, if anything. What is damaged counts as missing, after
 * a line in the log. `ring` must outlive it. -EXDEV, logged, for another repository's directory;
 * -ENOMEM; what reading returned. To be released in any case. */
int saved_load(struct saved *saved, int cache_dirfd, const struct key_ring *ring,
	const char *channel) WARN_UNUSED;
void saved_release(struct saved *saved);

/* Takes over records that were checked, durably, trust first: a head without the document that
 * vouches for it would be of no use. Those that are NULL, or there already, are not written. A
 * failure is logged. */
int saved_put(struct saved *saved, const struct trust *trust,
	const struct buffer *trust_text, const struct head *head,
	const struct buffer *head_text) WARN_UNUSED;

/* Whether these bytes are the saved ones. */
bool saved_is_head(const struct saved *saved, const struct buffer *text);
bool saved_is_trust(const struct saved *saved, const struct buffer *text);
