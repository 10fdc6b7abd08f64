/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/follower.h"

#include "cache/base/clock.h"
#include "cache/base/durable.h"
#include "cache/base/io.h"
#include "cache/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TRUST_FILE  "trust"
#define ANCHOR_FILE "trust-first"
#define HEAD_DIR    "head"

struct follower {
	int cache_dirfd;
	const struct key_ring *ring;
	const char *channel;
	char head_file[CHANNEL_NAME_MAX + 8];
	struct fetcher *fetcher;
	struct follower_refusals refusals;

	/* what the cache directory holds; has_head only with has_trust */
	bool has_trust;
	bool has_head;
	struct trust trust;
	struct head head;
	struct buffer trust_text;
	struct buffer head_text;
};

/* What one source says. */
struct offer {
	const char *name; /* of the source */
	struct trust trust;
	struct head head;
	struct buffer trust_text;
	struct buffer head_text;
};

static void follower_release(struct follower *f)
{
	buffer_release(&f->trust_text);
	buffer_release(&f->head_text);
}

static void offer_release(struct offer *o)
{
	buffer_release(&o->trust_text);
	buffer_release(&o->head_text);
}

#define AUTO_FOLLOWER CLEANUP(follower_release)
#define AUTO_OFFER    CLEANUP(offer_release)

static int wrong_repository(void)
{
	return log_error_errno(-EXDEV,
		"the cache directory belongs to another repository than the given "
		"keys: name another directory with cache=, or empty this one");
}

/* Reads a saved record; -ENOENT if there is none. */
static int read_saved(struct follower *f, const char *name, struct buffer *out)
{
	int r = io_read_file(f->cache_dirfd, name, out);

	if (r < 0 && r != -ENOENT)
		return log_error_errno(r, "cannot read %s in the cache directory: %s",
			name, log_strerror(r));
	return r;
}

/* After a rotation the current document no longer names the admin's key; the first one that
 * this mirror accepted does, and the current one was reached from there, step by step. */
static int check_anchor(struct follower *f)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust first;
	int r = read_saved(f, ANCHOR_FILE, &text);

	if (r == 0)
		r = trust_decode(text.data, text.len, f->ring, &first);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || strcmp(first.id, f->trust.id) != 0)
		return wrong_repository();
	return 0;
}

static int load_trust(struct follower *f)
{
	int r = read_saved(f, TRUST_FILE, &f->trust_text);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = trust_decode_kept(f->trust_text.data, f->trust_text.len, &f->trust);
	if (r == -EBADMSG || r == -EKEYREJECTED) {
		/* damaged on this disk: what the admin's keys sign replaces it */
		log_warn("the trust document saved in the cache directory is damaged; "
			 "fetching it again");
		f->trust_text.len = 0;
		return 0;
	}
	if (r == 0)
		r = check_anchor(f);
	if (r < 0)
		return r;
	f->has_trust = true;
	return 0;
}

static int load_head(struct follower *f)
{
	int r = f->has_trust ? read_saved(f, f->head_file, &f->head_text) : -ENOENT;

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = head_decode(f->head_text.data, f->head_text.len, &f->trust, &f->head);
	if (r == -EXDEV)
		return wrong_repository();
	if (r == 0 && strcmp(f->head.channel, f->channel) == 0) {
		f->has_head = true;
		return 0;
	}
	if (r == -ENOMEM)
		return r;
	/* its keys may have been rotated out; a source has a newer one */
	log_warn("the head of channel %s saved in the cache directory is not valid; "
		 "fetching it again",
		f->channel);
	f->head_text.len = 0;
	return 0;
}

static bool texts_differ(const struct buffer *a, const struct buffer *b)
{
	return a->len != b->len || memcmp(a->data, b->data, a->len) != 0;
}

static int refuse_forged(
	struct follower *f, const struct offer *o, const char *object, int error)
{
	f->refusals.forged++;
	if (error == -EKEYREJECTED)
		log_warn("refused %s from %s: forged: it is not signed by the keys that "
			 "this mirror trusts (is key= the right file?)",
			object, o->name);
	else
		log_warn("refused %s from %s: forged or damaged: it is not a record of "
			 "depotfs",
			object, o->name);
	return error;
}

static int refuse_repository(
	struct follower *f, const struct offer *o, const char *object)
{
	f->refusals.wrong_repository++;
	log_warn(
		"refused %s from %s: it is of another repository than this mirror's "
		"cache "
		"directory: correct the source's address, or name another directory with "
		"cache=",
		object, o->name);
	return -EXDEV;
}

/* The admin's keys start the chain, the saved document continues it. */
static int decode_trust(struct follower *f, struct offer *o)
{
	const void *data = o->trust_text.data;
	size_t len = o->trust_text.len;

	if (!f->has_trust)
		return trust_decode(data, len, f->ring, &o->trust);
	int r = trust_decode_next(data, len, &f->trust, &o->trust);

	/* genuine, but from before a rotation: out of date, which is no forgery */
	if (r == -EKEYREJECTED && trust_decode(data, len, f->ring, &o->trust) == 0 &&
		o->trust.version < f->trust.version)
		return -ESTALE;
	return r;
}

static int check_trust(struct follower *f, struct offer *o)
{
	int r = decode_trust(f, o);

	switch (r) {
	case 0:
		break;
	case -ENOMEM:
		return r;
	case -EXDEV:
		return refuse_repository(f, o, TRUST_FILE);
	case -ESTALE:
		f->refusals.rollback++;
		log_warn("refused trust from %s: rollback: it is older than version "
			 "%" PRIu64 ", which this mirror has",
			o->name, f->trust.version);
		return r;
	default:
		return refuse_forged(f, o, TRUST_FILE, r);
	}
	if (f->has_trust && o->trust.version == f->trust.version &&
		texts_differ(&o->trust_text, &f->trust_text)) {
		f->refusals.mismatched++;
		log_warn("refused trust from %s: version %" PRIu64
			 " has other bytes than the one that this mirror has",
			o->name, o->trust.version);
		return -ESTALE;
	}
	return 0;
}

/* Against what this mirror has seen before, and against the clock. */
static int check_head_order(struct follower *f, const struct offer *o, const char *object)
{
	if (f->has_head && o->head.sequence < f->head.sequence) {
		f->refusals.rollback++;
		log_warn("refused %s from %s: rollback: its sequence is %" PRIu64
			 ", this mirror has seen %" PRIu64,
			object, o->name, o->head.sequence, f->head.sequence);
		return -ESTALE;
	}
	if (f->has_head && o->head.sequence == f->head.sequence &&
		texts_differ(&o->head_text, &f->head_text)) {
		f->refusals.mismatched++;
		log_warn("refused %s from %s: mismatch: sequence %" PRIu64
			 " has other bytes than the head that this mirror has; two "
			 "publishers may be signing for one channel",
			object, o->name, o->head.sequence);
		return -ESTALE;
	}
	if (o->head.expires_ns && o->head.expires_ns <= clock_real_ns()) {
		char when[CLOCK_TEXT_SIZE];

		clock_format(o->head.expires_ns, when);
		f->refusals.frozen++;
		log_warn("refused %s from %s: frozen: it expired at %s; the source is "
			 "out of "
			 "date, or this machine's clock is wrong",
			object, o->name, when);
		return -ESTALE;
	}
	return 0;
}

static int check_head(struct follower *f, struct offer *o, const char *object)
{
	int r = head_decode(o->head_text.data, o->head_text.len, &o->trust, &o->head);

	if (r == -ENOMEM)
		return r;
	if (r == -EXDEV)
		return refuse_repository(f, o, object);
	if (r < 0)
		return refuse_forged(f, o, object, r);
	if (strcmp(o->head.channel, f->channel) != 0) {
		f->refusals.mismatched++;
		log_warn("refused %s from %s: mismatch: it is the head of channel %s",
			object, o->name, o->head.channel);
		return -EBADMSG;
	}
	return check_head_order(f, o, object);
}

/* Fetches and checks what source `site` offers. */
static int take_offer(struct follower *f, size_t site, struct offer *o)
{
	char reason[TRANSFER_REASON_SIZE];
	char object[CHANNEL_NAME_MAX + 16];

	o->name = fetcher_site_name(f->fetcher, site);
	(void)snprintf(object, sizeof(object), "channel/%s", f->channel);
	int r = fetcher_fetch_small_from(f->fetcher, site, TRUST_FILE, RECORD_MAX_BYTES,
		0, &o->trust_text, reason);

	if (r == 0)
		r = check_trust(f, o);
	if (r == 0)
		r = fetcher_fetch_small_from(f->fetcher, site, object, RECORD_MAX_BYTES,
			0, &o->head_text, reason);
	return r < 0 ? r : check_head(f, o, object);
}

/* Trust first: a head without the document that vouches for it would be of no use. */
static int save_offer(struct follower *f, const struct offer *o)
{
	int r = 0;

	if (!f->has_trust)
		r = durable_write(f->cache_dirfd, ANCHOR_FILE, o->trust_text.data,
			o->trust_text.len, 0644);
	if (r == 0 && (!f->has_trust || texts_differ(&o->trust_text, &f->trust_text)))
		r = durable_write(f->cache_dirfd, TRUST_FILE, o->trust_text.data,
			o->trust_text.len, 0644);
	if (r == 0 && mkdirat(f->cache_dirfd, HEAD_DIR, 0755) < 0 && errno != EEXIST)
		r = -errno;
	if (r == 0 && (!f->has_head || texts_differ(&o->head_text, &f->head_text)))
		r = durable_write(f->cache_dirfd, f->head_file, o->head_text.data,
			o->head_text.len, 0644);
	if (r < 0)
		return log_error_errno(r,
			"cannot save the head of channel %s in the cache directory: "
			"%s",
			f->channel, log_strerror(r));
	return 0;
}

static int accept_offer(
	struct follower *f, const struct offer *o, struct follower_result *out)
{
	int r = save_offer(f, o);

	if (r < 0)
		return r;
	out->trust = o->trust;
	out->head = o->head;
	out->is_online = true;
	out->is_changed = !f->has_head || o->head.sequence != f->head.sequence;
	return 0;
}

/* No source had anything to accept; `error` says what the last of them did. */
static int fall_back(struct follower *f, int error, struct follower_result *out)
{
	if (!f->has_head)
		return log_error_errno(error,
			"no source has a usable head of channel %s, and none is "
			"saved: %s",
			f->channel,
			error == -ENOENT ? "there is no such channel"
					 : log_strerror(error));
	out->trust = f->trust;
	out->head = f->head;
	log_warn("no source offers a usable head of channel %s: going on with the saved "
		 "one, "
		 "revision %" PRIu64,
		f->channel, f->head.revision);
	return 0;
}

static int ask_sources(struct follower *f, struct follower_result *out)
{
	int error = -EHOSTUNREACH;

	for (size_t i = 0; i < fetcher_site_count(f->fetcher); i++) {
		AUTO_OFFER struct offer o = {
			.trust_text = BUFFER_INIT(RECORD_MAX_BYTES),
			.head_text = BUFFER_INIT(RECORD_MAX_BYTES),
		};
		int r = take_offer(f, i, &o);

		if (r == 0)
			return accept_offer(f, &o, out);
		if (r == -ENOMEM || r == -ECANCELED)
			return r;
		/* a network's error tells less than a refusal does */
		if (r == -EKEYREJECTED || r == -EBADMSG || r == -ESTALE || r == -EXDEV ||
			r == -ENOENT)
			error = r;
	}
	/* going on with the saved tree would hide that this one was meant */
	if (f->refusals.wrong_repository)
		return log_error_errno(-EXDEV,
			"the sources serve another repository than the one in the cache "
			"directory: correct their addresses, or name another directory "
			"with "
			"cache=");
	return fall_back(f, error, out);
}

int follower_open(int cache_dirfd, const struct key_ring *ring, const char *channel,
	struct fetcher *fetcher, struct follower_result *out)
{
	AUTO_FOLLOWER struct follower f = {
		.cache_dirfd = cache_dirfd,
		.ring = ring,
		.channel = channel,
		.fetcher = fetcher,
		.trust_text = BUFFER_INIT(RECORD_MAX_BYTES),
		.head_text = BUFFER_INIT(RECORD_MAX_BYTES),
	};

	*out = (struct follower_result){0};
	if (!record_name_is_valid(channel))
		return log_error_errno(-EINVAL,
			"\"%s\" cannot be the name of a channel: use small letters, "
			"digits, '.', '_' and '-'",
			channel);
	(void)snprintf(f.head_file, sizeof(f.head_file), HEAD_DIR "/%s", channel);
	int r = load_trust(&f);

	if (r == 0)
		r = load_head(&f);
	if (r == 0)
		r = ask_sources(&f, out);
	out->refusals = f.refusals;
	return r;
}
