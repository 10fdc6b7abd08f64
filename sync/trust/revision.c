/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/trust/record_text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define REVISION_MAGIC "depotfs-revision 1"

static int write_revision(const struct revision *revision, struct buffer *out)
{
	char hex[DIGEST_HEX_SIZE];

	if (!record_id_is_valid(revision->id) || revision->number == 0 ||
		!record_message_is_valid(revision->message))
		return -EINVAL;
	digest_to_hex(&revision->previous, hex);
	int r = buffer_printf(out,
		REVISION_MAGIC "\nrepository %s\nnumber %" PRIu64 "\nprevious %s\n",
		revision->id, revision->number, hex);

	if (r == 0)
		r = record_write_catalog(out, "root", &revision->root);
	if (r == 0)
		r = buffer_printf(out, "entries %" PRIu64 "\nbytes %" PRIu64 "\n",
			revision->tree_entries, revision->tree_bytes);
	if (r == 0)
		r = record_write_time(out, "published", false, revision->published_ns);
	if (r == 0)
		r = buffer_printf(out, "message %s\n", revision->message);
	return r;
}

int revision_encode(const struct revision *revision, const struct signing_key *key,
	struct buffer *out)
{
	size_t start = out->len;
	int r = write_revision(revision, out);

	if (r == 0)
		r = record_sign(out, start, key);
	if (r < 0)
		out->len = start;
	return r;
}

int revision_decode(
	const void *data, size_t len, const struct trust *trust, struct revision *out)
{
	struct record_text t;
	struct record_signatures signatures;
	struct revision rev = {0};
	int r = record_text_open(&t, data, len, REVISION_MAGIC);

	if (r == 0)
		r = record_text_id(&t, "repository", rev.id);
	if (r == 0)
		r = record_text_u64(&t, "number", &rev.number);
	if (r == 0)
		r = record_text_digest(&t, "previous", &rev.previous);
	if (r == 0)
		r = record_text_catalog(&t, "root", &rev.root);
	if (r == 0)
		r = record_text_u64(&t, "entries", &rev.tree_entries);
	if (r == 0)
		r = record_text_u64(&t, "bytes", &rev.tree_bytes);
	if (r == 0)
		r = record_text_time(&t, "published", false, &rev.published_ns);
	if (r == 0)
		r = record_text_string(&t, "message", rev.message, sizeof(rev.message));
	if (r == 0)
		r = record_text_signatures(&t, &signatures);
	if (r < 0)
		return r;
	if (rev.number == 0 || !record_message_is_valid(rev.message))
		return -EBADMSG;
	if (record_count_signers(&signatures, &trust->keys) < trust->threshold)
		return -EKEYREJECTED;
	if (strcmp(rev.id, trust->id) != 0)
		return -EXDEV;
	*out = rev;
	return 0;
}
