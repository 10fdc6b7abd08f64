/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/trust/record_text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define TRUST_MAGIC "depotfs-trust 1"

static int write_trust(const struct trust *trust, struct buffer *out)
{
	if (!record_name_is_valid(trust->name) || !record_id_is_valid(trust->id) ||
		trust->version == 0 || trust->keys.count == 0 ||
		trust->keys.count > KEY_RING_MAX || trust->threshold == 0 ||
		trust->threshold > trust->keys.count)
		return -EINVAL;
	int r = buffer_printf(out,
		TRUST_MAGIC "\nname %s\nrepository %s\nversion %" PRIu64
			    "\nthreshold %" PRIu32 "\n",
		trust->name, trust->id, trust->version, trust->threshold);

	for (size_t i = 0; r == 0 && i < trust->keys.count; i++) {
		const struct public_key *key = &trust->keys.keys[i];
		char text[RECORD_BASE64_SIZE];

		record_base64_encode(key->bytes, PUBLIC_KEY_SIZE, text);
		r = buffer_printf(out, "key %s %s\n", key->id, text);
	}
	return r;
}

int trust_encode(
	const struct trust *trust, const struct signing_key *key, struct buffer *out)
{
	size_t start = out->len;
	int r = write_trust(trust, out);

	if (r == 0)
		r = record_sign(out, start, key);
	if (r < 0)
		out->len = start;
	return r;
}

/* `key ID BASE64`: the id must be the one that follows from the key, and new. */
static int read_key(struct record_text *t, struct key_ring *ring)
{
	char text[KEY_ID_SIZE + RECORD_BASE64_SIZE];
	uint8_t bytes[PUBLIC_KEY_SIZE];
	size_t count = ring->count;
	int r = record_text_string(t, "key", text, sizeof(text));

	if (r < 0)
		return r;
	char *space = strchr(text, ' ');

	if (!space)
		return -EBADMSG;
	*space = '\0';
	r = record_base64_decode(space + 1, bytes, PUBLIC_KEY_SIZE);
	if (r < 0)
		return r;
	r = key_ring_add(ring, bytes);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || ring->count != count + 1 || strcmp(ring->keys[count].id, text) != 0)
		return -EBADMSG;
	return 0;
}

/* Form only; signatures come after. */
static int read_trust(const void *data, size_t len, struct trust *out,
	struct record_signatures *out_signatures)
{
	struct record_text t;
	uint64_t threshold = 0;
	int r = record_text_open(&t, data, len, TRUST_MAGIC);

	if (r == 0)
		r = record_text_name(&t, "name", out->name, sizeof(out->name));
	if (r == 0)
		r = record_text_id(&t, "repository", out->id);
	if (r == 0)
		r = record_text_u64(&t, "version", &out->version);
	if (r == 0)
		r = record_text_u64(&t, "threshold", &threshold);
	while (r == 0 && record_text_is_next(&t, "key"))
		r = read_key(&t, &out->keys);
	if (r == 0)
		r = record_text_signatures(&t, out_signatures);
	if (r < 0)
		return r;
	if (out->version == 0 || threshold == 0 || threshold > out->keys.count)
		return -EBADMSG;
	out->threshold = (uint32_t)threshold;
	return 0;
}

/* Those keys of `ring` that the document itself still names. */
static struct key_ring common_keys(
	const struct key_ring *ring, const struct key_ring *named)
{
	struct key_ring common = {0};

	for (size_t i = 0; i < ring->count; i++) {
		const struct public_key *key = key_ring_find(named, ring->keys[i].id);

		if (key && memcmp(key->bytes, ring->keys[i].bytes, PUBLIC_KEY_SIZE) == 0)
			common.keys[common.count++] = *key;
	}
	return common;
}

int trust_decode(
	const void *data, size_t len, const struct key_ring *ring, struct trust *out)
{
	struct trust trust = {0};
	struct record_signatures signatures;
	int r = read_trust(data, len, &trust, &signatures);

	if (r < 0)
		return r;
	struct key_ring common = common_keys(ring, &trust.keys);

	if (record_count_signers(&signatures, &common) == 0 ||
		record_count_signers(&signatures, &trust.keys) < trust.threshold)
		return -EKEYREJECTED;
	*out = trust;
	return 0;
}

int trust_decode_next(
	const void *data, size_t len, const struct trust *current, struct trust *out)
{
	struct trust trust = {0};
	struct record_signatures signatures;
	int r = read_trust(data, len, &trust, &signatures);

	if (r < 0)
		return r;
	/* who holds fewer keys than the old threshold must not be able to change the
	 * rules; keys that the new document drops may sign their own leave */
	if (record_count_signers(&signatures, &current->keys) < current->threshold ||
		record_count_signers(&signatures, &trust.keys) < trust.threshold)
		return -EKEYREJECTED;
	if (strcmp(trust.id, current->id) != 0)
		return -EXDEV;
	if (trust.version < current->version)
		return -ESTALE;
	*out = trust;
	return 0;
}

int trust_decode_kept(const void *data, size_t len, struct trust *out)
{
	struct trust trust = {0};
	struct record_signatures signatures;
	int r = read_trust(data, len, &trust, &signatures);

	if (r < 0)
		return r;
	if (record_count_signers(&signatures, &trust.keys) < trust.threshold)
		return -EKEYREJECTED;
	*out = trust;
	return 0;
}
