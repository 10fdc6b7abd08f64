/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/follow/saved.h"

#include "cache/base/disk/durable.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TRUST_FILE  "trust"
#define ANCHOR_FILE "trust-first"
#define HEAD_DIR    "head"

static int wrong_repository(void)
{
	return log_error_errno(-EXDEV,
		"the cache directory belongs to another repository than the given "
		"keys: name another directory with cache=, or empty this one");
}

/* Reads a saved record; -ENOENT if there is none. */
static int read_record(const struct saved *s, const char *name, struct buffer *out)
{
	int r = io_read_file(s->cache_dirfd, name, out);

	if (r < 0 && r != -ENOENT)
		return log_error_errno(r, "cannot read %s in the cache directory: %s",
			name, log_strerror(r));
	return r;
}

/* After a rotation the current document no longer names the admin's key; the first one that
 * this mirror accepted does, and the current one was reached from there, step by step. */
static int check_anchor(const struct saved *s)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust first;
	int r = read_record(s, ANCHOR_FILE, &text);

	if (r == 0)
		r = trust_decode(text.data, text.len, s->ring, &first);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || strcmp(first.id, s->trust.id) != 0)
		return wrong_repository();
	return 0;
}

static int load_trust(struct saved *s)
{
	int r = read_record(s, TRUST_FILE, &s->trust_text);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = trust_decode_kept(s->trust_text.data, s->trust_text.len, &s->trust);
	if (r == -EBADMSG || r == -EKEYREJECTED) {
		/* damaged on this disk: what the admin's keys sign replaces it */
		log_warn("the trust document saved in the cache directory is damaged; "
			 "fetching it again");
		s->trust_text.len = 0;
		return 0;
	}
	if (r == 0)
		r = check_anchor(s);
	if (r < 0)
		return r;
	s->has_trust = true;
	return 0;
}

static void head_file(const struct saved *s, char out[CHANNEL_NAME_MAX + 8])
{
	(void)snprintf(out, CHANNEL_NAME_MAX + 8, HEAD_DIR "/%s", s->channel);
}

static int load_head(struct saved *s)
{
	char name[CHANNEL_NAME_MAX + 8];

	head_file(s, name);
	int r = s->has_trust ? read_record(s, name, &s->head_text) : -ENOENT;

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = head_decode(s->head_text.data, s->head_text.len, &s->trust, &s->head);
	if (r == -EXDEV)
		return wrong_repository();
	if (r == 0 && strcmp(s->head.channel, s->channel) == 0) {
		s->has_head = true;
		return 0;
	}
	if (r == -ENOMEM)
		return r;
	/* its keys may have been rotated out; a source has a newer one */
	log_warn("the head of channel %s saved in the cache directory is not valid; "
		 "fetching it again",
		s->channel);
	s->head_text.len = 0;
	return 0;
}

int saved_load(struct saved *s, int cache_dirfd, const struct key_ring *ring,
	const char *channel)
{
	*s = (struct saved){
		.cache_dirfd = cache_dirfd,
		.ring = ring,
		.trust_text = BUFFER_INIT(RECORD_MAX_BYTES),
		.head_text = BUFFER_INIT(RECORD_MAX_BYTES),
	};
	(void)snprintf(s->channel, sizeof(s->channel), "%s", channel);
	int r = load_trust(s);

	return r < 0 ? r : load_head(s);
}

void saved_release(struct saved *s)
{
	buffer_release(&s->trust_text);
	buffer_release(&s->head_text);
}

static bool texts_differ(const struct buffer *a, const struct buffer *b)
{
	return a->len != b->len || memcmp(a->data, b->data, a->len) != 0;
}

bool saved_is_head(const struct saved *s, const struct buffer *text)
{
	return s->has_head && !texts_differ(&s->head_text, text);
}

bool saved_is_trust(const struct saved *s, const struct buffer *text)
{
	return s->has_trust && !texts_differ(&s->trust_text, text);
}

static int replace(struct buffer *old, const struct buffer *text)
{
	old->len = 0;
	return buffer_add(old, text->data, text->len);
}

static int put_trust(
	struct saved *s, const struct trust *trust, const struct buffer *text)
{
	int r = 0;

	if (!s->has_trust)
		r = durable_write(
			s->cache_dirfd, ANCHOR_FILE, text->data, text->len, 0644);
	if (r == 0)
		r = durable_write(
			s->cache_dirfd, TRUST_FILE, text->data, text->len, 0644);
	if (r == 0)
		r = replace(&s->trust_text, text);
	if (r < 0)
		return r;
	s->trust = *trust;
	s->has_trust = true;
	return 0;
}

static int put_head(struct saved *s, const struct head *head, const struct buffer *text)
{
	char name[CHANNEL_NAME_MAX + 8];

	head_file(s, name);
	if (mkdirat(s->cache_dirfd, HEAD_DIR, 0755) < 0 && errno != EEXIST)
		return -errno;
	int r = durable_write(s->cache_dirfd, name, text->data, text->len, 0644);

	if (r == 0)
		r = replace(&s->head_text, text);
	if (r < 0)
		return r;
	s->head = *head;
	s->has_head = true;
	return 0;
}

int saved_put(struct saved *s, const struct trust *trust, const struct buffer *trust_text,
	const struct head *head, const struct buffer *head_text)
{
	int r = 0;

	if (trust && !saved_is_trust(s, trust_text))
		r = put_trust(s, trust, trust_text);
	if (r == 0 && head && !saved_is_head(s, head_text))
		r = put_head(s, head, head_text);
	if (r < 0)
		return log_error_errno(r,
			"cannot save the head of channel %s in the cache directory: "
			"%s",
			s->channel, log_strerror(r));
	return 0;
}
