/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The end of a publish: objects in place, then the revision, then the head, then the state. */
#include "cache/base/disk/durable.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "sync/master/ingest/chunks/chunk_index.h"
#include "sync/master/publish/publish_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAY_NS	     (INT64_C(86400) * NS_PER_SEC)
#define SETTING_SIZE (CHANNEL_NAME_MAX + 16)

static int write_record(struct publish *p, const char *name, const struct buffer *text)
{
	int r = durable_write(p->depot->fd, name, text->data, text->len, 0644);

	if (r < 0)
		return log_error_errno(r, "cannot write %s/%s: %s%s", p->depot->path,
			name, log_strerror(r),
			r == -ENOSPC ? "; make room and publish again" : "");
	return 0;
}

static void draft_revision(const struct publish *p, int64_t now_ns, struct revision *out)
{
	*out = (struct revision){.number = p->latest.number + 1,
		.previous = p->latest_digest,
		.published_ns = now_ns};
	memcpy(out->id, p->trust.id, sizeof(out->id));
	(void)snprintf(out->message, sizeof(out->message), "%s",
		p->o->message ? p->o->message : "");
}

int publish_try_signing(const struct publish *p)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(RECORD_MAX_BYTES);
	struct revision draft;

	draft_revision(p, clock_real_ns(), &draft);
	draft.root = (struct catalog_ref){.stored_bytes = 1, .raw_bytes = 1};
	int r = revision_encode(&draft, p->key, &text);

	if (r == -EINVAL)
		return log_error_errno(r,
			"the message cannot be published: it must be one line of UTF-8 "
			"text without control characters");
	if (r < 0)
		return log_error_errno(
			r, "cannot sign with this key: %s", log_strerror(r));
	return 0;
}

static int write_revision(struct publish *p, int64_t now_ns)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(RECORD_MAX_BYTES);
	const struct package *root = p->packages.list[0];
	struct revision next;
	char name[64];

	draft_revision(p, now_ns, &next);
	next.root = root->ref;
	next.tree_entries = root->tree_entries;
	next.tree_bytes = root->tree_bytes;
	(void)snprintf(name, sizeof(name), "revision/%" PRIu64, next.number);
	int r = revision_encode(&next, p->key, &text);

	if (r < 0)
		return log_error_errno(r, "cannot sign revision %" PRIu64 ": %s",
			next.number, log_strerror(r));
	r = write_record(p, name, &text);
	if (r < 0)
		return r;
	p->latest = next;
	return digest_of(text.data, text.len, &p->latest_digest);
}

/* "sequence stable", "policy stable" */
static void setting_key(const struct publish *p, const char *what, char out[SETTING_SIZE])
{
	(void)snprintf(out, SETTING_SIZE, "%s %s", what, p->o->channel);
}

/* The policy that the state remembers: "HEX BYTES", or "none". */
static int recall_policy(struct publish *p)
{
	AUTO_FREE char *text = NULL;
	char key[SETTING_SIZE];
	struct policy_ref ref = {0};
	unsigned long long bytes;

	setting_key(p, "policy", key);
	int r = scan_state_setting(p->state, key, &text);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (strlen(text) > DIGEST_HEX_SIZE && digest_from_hex(text, &ref.digest) == 0 &&
		io_parse_u64(text + DIGEST_HEX_SIZE, &bytes) == 0)
		ref.bytes = bytes;
	p->policy = ref;
	return 0;
}

int publish_recall_channel(struct publish *p)
{
	AUTO_FREE char *text = NULL;
	char key[SETTING_SIZE];
	unsigned long long n = 0;

	setting_key(p, "sequence", key);
	int r = scan_state_setting(p->state, key, &text);

	if (r == 0 && io_parse_u64(text, &n) < 0)
		n = 0;
	if (r < 0 && r != -ENOENT)
		return r;
	p->last_sequence = n > p->head.sequence ? n : p->head.sequence;
	/* without a head there may have been one for each revision */
	if (!p->head.sequence && p->last_sequence < p->latest.number)
		p->last_sequence = p->latest.number;
	p->policy = p->head.policy;
	return n > p->head.sequence ? recall_policy(p) : 0;
}

static int put_settings(struct publish *p)
{
	char key[SETTING_SIZE];
	char text[DIGEST_HEX_SIZE + 32] = "none";
	char hex[DIGEST_HEX_SIZE];

	setting_key(p, "policy", key);
	digest_to_hex(&p->policy.digest, hex);
	if (p->policy.bytes)
		(void)snprintf(text, sizeof(text), "%s %" PRIu64, hex, p->policy.bytes);
	int r = scan_state_put_setting(p->state, key, text);

	if (r < 0)
		return r;
	setting_key(p, "sequence", key);
	(void)snprintf(text, sizeof(text), "%" PRIu64, p->last_sequence);
	return scan_state_put_setting(p->state, key, text);
}

/* A head can be lost. Mirrors refuse one that does not count on, and a fleet would miss its
 * policy. */
static void remember_channel(struct publish *p)
{
	p->last_sequence = p->head.sequence;
	int r = put_settings(p);

	if (r < 0)
		log_warn("the sequence of channel %s was not remembered: %s",
			p->o->channel, log_strerror(r));
}

int publish_write_head(struct publish *p, const struct head *draft)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(RECORD_MAX_BYTES);
	struct head next = *draft;
	char name[96];

	next.sequence = p->last_sequence + 1;
	next.policy = p->policy;
	memcpy(next.id, p->trust.id, sizeof(next.id));
	(void)snprintf(next.channel, sizeof(next.channel), "%s", p->o->channel);
	(void)snprintf(name, sizeof(name), "channel/%s", p->o->channel);
	int r = head_encode(&next, p->key, &text);

	if (r < 0)
		return log_error_errno(r, "cannot sign the head of channel %s: %s",
			p->o->channel, log_strerror(r));
	r = write_record(p, name, &text);
	if (r < 0)
		return r;
	p->head = next;
	remember_channel(p);
	return 0;
}

/* The head that names the newest revision. */
static int write_head(struct publish *p, int64_t now_ns)
{
	const struct head draft = {.revision = p->latest.number,
		.root = p->latest.root,
		.published_ns = now_ns,
		.expires_ns = p->o->expires_days
				      ? now_ns + (int64_t)p->o->expires_days * DAY_NS
				      : 0};

	return publish_write_head(p, &draft);
}

static int remember_packages(struct publish *p)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->packages.count; i++) {
		const struct package *pkg = p->packages.list[i];
		struct known_package known = {.hash = pkg->hash,
			.ref = pkg->ref,
			.tree_entries = pkg->tree_entries,
			.tree_bytes = pkg->tree_bytes};

		if (pkg->is_dirty)
			r = scan_state_put_package(p->state, pkg->path, pkg->path_length,
				&known, pkg->fingerprints, pkg->entry_count);
		else
			r = scan_state_keep_package(
				p->state, pkg->path, pkg->path_length);
	}
	return r == 0 ? scan_state_drop_others(p->state) : r;
}

/* Only once the head is safe: what the state says is published is published. */
static int save_state(struct publish *p)
{
	struct buffer globs AUTO_BUFFER = BUFFER_INIT(GLOBS_MAX_BYTES);
	char number[32];
	int r = scan_state_begin(p->state);

	for (size_t i = 0; r == 0 && i < p->glob_count; i++)
		r = buffer_printf(&globs, "%s\n", p->globs[i]);
	if (r == 0)
		r = buffer_add(&globs, "", 1);
	(void)snprintf(number, sizeof(number), "%" PRIu64, p->latest.number);
	if (r == 0)
		r = scan_state_put_setting(
			p->state, "packages", (const char *)globs.data);
	if (r == 0)
		r = scan_state_put_setting(p->state, "revision", number);
	if (r == 0)
		r = remember_packages(p);
	if (r == 0)
		r = chunk_index_add(p->state, p->chunks);
	if (r == 0)
		r = scan_state_commit(p->state);
	if (r < 0)
		log_warn("the publisher's state was not saved (%s): the next publish "
			 "reads "
			 "more files than it needs to",
			log_strerror(r));
	return 0;
}

static bool is_same_catalog(const struct catalog_ref *a, const struct catalog_ref *b)
{
	return digest_equal(&a->digest, &b->digest) &&
	       a->stored_bytes == b->stored_bytes && a->raw_bytes == b->raw_bytes;
}

int publish_point_channel(struct publish *p)
{
	int64_t now_ns = clock_real_ns();
	const struct head *h = &p->head;

	p->report->outcome = PUBLISH_NOTHING;
	p->report->revision = p->latest.number;
	p->report->tree_bytes = p->latest.tree_bytes;
	if (h->revision != p->latest.number ||
		!is_same_catalog(&h->root, &p->latest.root) ||
		!digest_equal(&h->policy.digest, &p->policy.digest))
		p->report->outcome = PUBLISH_HEAD;
	else if (h->expires_ns && now_ns - h->published_ns > h->expires_ns - now_ns)
		p->report->outcome = PUBLISH_RENEWED;
	else
		return 0;
	return write_head(p, now_ns);
}

bool publish_is_as_latest(const struct publish *p)
{
	const struct package *root = p->packages.list[0];

	return p->latest.number &&
	       digest_equal(&root->ref.digest, &p->latest.root.digest);
}

int publish_commit(struct publish *p)
{
	int64_t now_ns = clock_real_ns();
	/* there may be objects even so: those that the depot had lost */
	int r = staging_install(p->staging);

	if (r < 0)
		return r;
	if (publish_is_as_latest(p)) {
		r = publish_point_channel(p);
		/* what could not be told from changed now can */
		return r == 0 ? save_state(p) : r;
	}
	r = write_revision(p, now_ns);
	if (r == 0)
		r = write_head(p, now_ns);
	if (r < 0)
		return r;
	p->report->outcome = PUBLISH_REVISION;
	p->report->revision = p->latest.number;
	p->report->tree_bytes = p->latest.tree_bytes;
	return save_state(p);
}
