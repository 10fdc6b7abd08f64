/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/follower.h"

#include "cache/base/data/hash.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "sync/mirror/upstream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TRUST_EVERY_NS (3600 * NS_PER_SEC)

/* One poll in so many begins with another source than the best. */
#define TURN_EVERY 10

/* Refusals of one source that are known from each other. */
#define REFUSALS_KNOWN 4

/* A source that has been accepted for so long is sound: its next refusal is news, whatever it is. */
#define SOUND_NS (3600 * NS_PER_SEC)

/* What a source had when it was last asked. */
struct site_memory {
	struct transfer_version head;
	struct transfer_version trust;
	uint64_t sequence; /* of that head */
};

/* What the log has been told of a source. */
struct site_told {
	uint64_t refusals[REFUSALS_KNOWN]; /* hashes; 0: none */
	unsigned int next;
	int64_t accepted_since_ns; /* 0: it was refused last */
};

struct follower {
	struct fetcher *fetcher;
	struct saved saved;
	struct follower_refusals refusals;
	struct site_memory sites[UPSTREAM_MAX];
	struct site_told told[UPSTREAM_MAX];
	unsigned int polls;
	int64_t trust_due_ns; /* monotonic */
};

#define AUTO_OFFER CLEANUP(offer_release)

int follower_new(int cache_dirfd, const struct key_ring *ring, const char *channel,
	struct fetcher *fetcher, struct follower **out)
{
	if (!record_name_is_valid(channel))
		return log_error_errno(-EINVAL,
			"\"%s\" cannot be the name of a channel: use small letters, "
			"digits, '.', '_' and '-'",
			channel);
	struct follower *f = mem_calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->fetcher = fetcher;
	int r = saved_load(&f->saved, cache_dirfd, ring, channel);

	if (r < 0) {
		follower_free(f);
		return r;
	}
	*out = f;
	return 0;
}

void follower_free(struct follower *f)
{
	if (!f)
		return;
	saved_release(&f->saved);
	free(f);
}

/* A source that refuses to change says so once, not at each poll; nor does one that goes back and forth
 * between what is refused and what is not. */
static void log_refusal(struct follower *f, size_t site, const struct offer *o)
{
	struct site_told *told = &f->told[site];
	uint64_t hash = hash64(o->reason, strlen(o->reason), 0);

	told->accepted_since_ns = 0;
	for (size_t i = 0; i < REFUSALS_KNOWN; i++)
		if (told->refusals[i] == hash)
			return;
	if (!fetcher_site_refused(f->fetcher, site, o->reason))
		return;
	told->refusals[told->next] = hash;
	told->next = (told->next + 1) % REFUSALS_KNOWN;
}

static void note_accepted(struct site_told *told)
{
	int64_t now_ns = clock_mono_ns();

	if (told->accepted_since_ns == 0)
		told->accepted_since_ns = now_ns;
	else if (now_ns - told->accepted_since_ns >= SOUND_NS)
		*told = (struct site_told){.accepted_since_ns = now_ns};
}

/* Asks one source for what may have changed. With a first byte to wait for anyway, both at once
 * cost no more than one. */
static int fetch_offer(struct follower *f, size_t site, bool wants_head, bool wants_trust,
	struct offer *o, struct small_object objects[2])
{
	struct site_memory *memory = &f->sites[site];
	size_t count = 0;

	objects[0] = (struct small_object){.path = o->object,
		.max_bytes = RECORD_MAX_BYTES,
		.known = &memory->head,
		.out = &o->head_text};
	objects[1] = (struct small_object){.path = "trust",
		.max_bytes = RECORD_MAX_BYTES,
		.known = &memory->trust,
		.out = &o->trust_text};
	count = (size_t)wants_head + (size_t)wants_trust;
	fetcher_fetch_together(
		f->fetcher, site, 0, wants_head ? objects : objects + 1, count);
	/* the trust document's comes first: without it the head cannot be judged */
	if (wants_trust && objects[1].error < 0) {
		(void)snprintf(o->reason, sizeof(o->reason), "%s: trust: %s", o->name,
			objects[1].reason);
		return objects[1].error;
	}
	if (wants_head && objects[0].error < 0) {
		(void)snprintf(o->reason, sizeof(o->reason), "%s: %s: %s", o->name,
			o->object, objects[0].reason);
		return objects[0].error;
	}
	return 0;
}

static int judge_trust(struct follower *f, size_t site, struct offer *o,
	const struct small_object *object)
{
	if (object->is_unchanged)
		return 0;
	int r = offer_check_trust(o);

	if (r == 0)
		f->sites[site].trust = object->version;
	return r;
}

/* Keys may have been rotated since the last time that trust was asked for. */
static int judge_head(
	struct follower *f, size_t site, struct offer *o, bool has_asked_trust)
{
	struct follower_refusals before = f->refusals;
	struct small_object objects[2];
	int r = offer_check_head(o);

	if (r != -EKEYREJECTED || has_asked_trust)
		return r;
	f->refusals = before;
	r = fetch_offer(f, site, false, true, o, objects);
	if (r == 0)
		r = judge_trust(f, site, o, &objects[1]);
	return r < 0 ? r : offer_check_head(o);
}

/* Fetches and checks what source `site` offers. 1: a head to be saved, 0: the one that we have;
 * either way offer.has_trust tells of trust. */
static int take_offer(struct follower *f, size_t site, bool wants_trust, struct offer *o)
{
	struct site_memory *memory = &f->sites[site];
	struct small_object objects[2];
	int r = fetch_offer(f, site, true, wants_trust, o, objects);

	if (r == 0 && wants_trust)
		r = judge_trust(f, site, o, &objects[1]);
	if (r < 0)
		return r;
	if (objects[0].is_unchanged)
		return offer_check_unchanged(o, memory->sequence);
	r = judge_head(f, site, o, wants_trust);
	if (r < 0)
		return r;
	memory->head = objects[0].version;
	memory->sequence = o->head.sequence;
	return !saved_is_head(&f->saved, &o->head_text);
}

static bool is_refusal(int error)
{
	return error == -EKEYREJECTED || error == -EBADMSG || error == -ESTALE ||
	       error == -EXDEV || error == -ENOENT;
}

/* A refusal tells more than a network's error does, so it stays. */
static void note_failure(struct follower_result *out, const struct offer *o, int error)
{
	bool is_refused = is_refusal(error);

	if (out->outcome == FOLLOWER_REFUSED && !is_refused)
		return;
	out->outcome = is_refused ? FOLLOWER_REFUSED : FOLLOWER_UNREACHABLE;
	out->error = is_refused ? error : -EHOSTUNREACH;
	(void)snprintf(out->reason, sizeof(out->reason), "%s", o->reason);
}

/* The source is not to blame, and no other one would do better. */
static int note_unsaved(struct follower_result *out, int error)
{
	if (error == -ENOMEM)
		return error;
	/* nor does -ENOENT mean here that a source has no such channel */
	out->error = error == -ENOENT ? -EIO : error;
	(void)snprintf(out->reason, sizeof(out->reason),
		"what the channel offers cannot be written into the cache directory: %s",
		error == -ENOENT ? "it was removed, unmount and mount again"
				 : log_strerror(error));
	return out->error;
}

static int accept_offer(struct follower *f, const struct offer *o, bool has_head,
	struct follower_result *out)
{
	bool is_changed = has_head && (!f->saved.has_head ||
					      o->head.sequence != f->saved.head.sequence);
	int r = saved_put(&f->saved, o->has_trust ? &o->trust : NULL, &o->trust_text,
		has_head ? &o->head : NULL, &o->head_text);

	if (r < 0)
		return r;
	out->outcome = is_changed ? FOLLOWER_CHANGED : FOLLOWER_UNCHANGED;
	out->is_online = true;
	out->is_changed = is_changed;
	out->error = 0;
	out->reason[0] = '\0';
	return 0;
}

/* 1: this source has been heard, 0: ask another one; or -errno. */
static int ask_source(
	struct follower *f, size_t site, bool wants_trust, struct follower_result *out)
{
	AUTO_OFFER struct offer o;

	offer_init(&o, &f->saved, &f->refusals, fetcher_site_name(f->fetcher, site));
	int r = take_offer(f, site, wants_trust, &o);

	if (r == -ENOMEM || r == -ECANCELED)
		return r;
	if (r < 0) {
		if (is_refusal(r) && r != -ENOENT)
			log_refusal(f, site, &o);
		note_failure(out, &o, r);
		return 0;
	}
	r = accept_offer(f, &o, r == 1, out);
	if (r < 0) {
		/* not saved: to be sent again, whatever the source says of changes */
		f->sites[site] = (struct site_memory){0};
		return note_unsaved(out, r);
	}
	note_accepted(&f->told[site]);
	return 1;
}

static int ask_sources(
	struct follower *f, size_t first, bool wants_trust, struct follower_result *out)
{
	uint32_t asked = 0;
	size_t site = first;
	int r = fetcher_site_count(f->fetcher) > first ? 0 : -ENOENT;

	while (r == 0) {
		r = ask_source(f, site, wants_trust, out);
		if (r != 0)
			break;
		asked |= UINT32_C(1) << site;
		r = fetcher_best_site(f->fetcher, asked, &site);
	}
	if (r == 1 && wants_trust)
		f->trust_due_ns = clock_mono_ns() + TRUST_EVERY_NS;
	return r == 1 || r == -ENOENT ? 0 : r;
}

static void begin(struct follower_result *out)
{
	*out = (struct follower_result){
		.outcome = FOLLOWER_UNREACHABLE, .error = -EHOSTUNREACH};
	(void)snprintf(out->reason, sizeof(out->reason), "there is no source");
}

static void finish(const struct follower *f, struct follower_result *out)
{
	out->refusals = f->refusals;
	if (!f->saved.has_head)
		return;
	out->trust = f->saved.trust;
	out->head = f->saved.head;
}

/* No source had anything to accept. */
static int fall_back(struct follower *f, const struct follower_result *out)
{
	const struct saved *s = &f->saved;

	if (!s->has_head)
		return log_error_errno(out->error,
			"no source has a usable head of channel %s, and none is "
			"saved: %s",
			s->channel,
			out->error == -ENOENT ? "there is no such channel"
					      : log_strerror(out->error));
	log_warn("no source offers a usable head of channel %s: going on with the saved "
		 "one, "
		 "revision %" PRIu64,
		s->channel, s->head.revision);
	return 0;
}

int follower_open(struct follower *f, struct follower_result *out)
{
	begin(out);
	int r = ask_sources(f, 0, true, out);

	if (r < 0 && r != -ENOMEM && r != -ECANCELED && f->saved.has_head) {
		/* a full disk takes no new head: a mount shows what it did rather than nothing */
		begin(out);
		r = 0;
	}
	if (r == 0 && !out->is_online && f->refusals.wrong_repository)
		/* going on with the saved tree would hide that this one was meant */
		r = log_error_errno(-EXDEV,
			"the sources serve another repository than the one in the cache "
			"directory: correct their addresses, or name another directory "
			"with "
			"cache=");
	if (r == 0 && !out->is_online)
		r = fall_back(f, out);
	finish(f, out);
	return r;
}

int follower_poll(struct follower *f, struct follower_result *out)
{
	size_t count = fetcher_site_count(f->fetcher);
	size_t first = 0;
	bool wants_trust = !f->saved.has_trust || clock_mono_ns() >= f->trust_due_ns;

	begin(out);
	f->polls++;
	if (count > 1 && f->polls % TURN_EVERY == 0)
		first = f->polls / TURN_EVERY % count;
	else if (fetcher_best_site(f->fetcher, 0, &first) < 0)
		first = 0;
	int r = ask_sources(f, first, wants_trust, out);

	finish(f, out);
	return r;
}
