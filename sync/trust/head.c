/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/trust/record_text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define HEAD_MAGIC "depotfs-head 1"

static int write_head(const struct head *head, struct buffer *out)
{
	if (!record_id_is_valid(head->id) || !record_name_is_valid(head->channel) ||
		head->sequence == 0 || head->revision == 0)
		return -EINVAL;
	int r = buffer_printf(out,
		HEAD_MAGIC "\nrepository %s\nchannel %s\nsequence %" PRIu64
			   "\nrevision %" PRIu64 "\n",
		head->id, head->channel, head->sequence, head->revision);

	if (r == 0)
		r = record_write_catalog(out, "root", &head->root);
	if (r == 0)
		r = record_write_time(out, "published", false, head->published_ns);
	if (r == 0)
		r = record_write_time(out, "expires", true, head->expires_ns);
	if (r == 0 && head->policy.bytes)
		r = record_write_policy(out, "policy", &head->policy);
	return r;
}

int head_encode(
	const struct head *head, const struct signing_key *key, struct buffer *out)
{
	size_t start = out->len;
	int r = write_head(head, out);

	if (r == 0)
		r = record_sign(out, start, key);
	if (r < 0)
		out->len = start;
	return r;
}

int head_decode(const void *data, size_t len, const struct trust *trust, struct head *out)
{
	struct record_text t;
	struct record_signatures signatures;
	struct head head = {0};
	int r = record_text_open(&t, data, len, HEAD_MAGIC);

	if (r == 0)
		r = record_text_id(&t, "repository", head.id);
	if (r == 0)
		r = record_text_name(&t, "channel", head.channel, sizeof(head.channel));
	if (r == 0)
		r = record_text_u64(&t, "sequence", &head.sequence);
	if (r == 0)
		r = record_text_u64(&t, "revision", &head.revision);
	if (r == 0)
		r = record_text_catalog(&t, "root", &head.root);
	if (r == 0)
		r = record_text_time(&t, "published", false, &head.published_ns);
	if (r == 0)
		r = record_text_time(&t, "expires", true, &head.expires_ns);
	if (r == 0 && record_text_is_next(&t, "policy"))
		r = record_text_policy(&t, "policy", &head.policy);
	if (r == 0)
		r = record_text_signatures(&t, &signatures);
	if (r < 0)
		return r;
	if (head.sequence == 0 || head.revision == 0)
		return -EBADMSG;
	if (record_count_signers(&signatures, &trust->keys) < trust->threshold)
		return -EKEYREJECTED;
	if (strcmp(head.id, trust->id) != 0)
		return -EXDEV;
	*out = head;
	return 0;
}
