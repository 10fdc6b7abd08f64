/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/trust/record_text.h"

#include <errno.h>
#include <string.h>

#define SIGNATURE_WORD "signature"

static int parse_signature(char *text, struct record_signature *out)
{
	char *space = strchr(text, ' ');

	if (!space || space - text != KEY_ID_SIZE - 1 ||
		strspn(text, "0123456789abcdef") != KEY_ID_SIZE - 1)
		return -EBADMSG;
	*space = '\0';
	memcpy(out->id, text, KEY_ID_SIZE);
	return record_base64_decode(space + 1, out->bytes, SIGNATURE_SIZE);
}

int record_text_signatures(struct record_text *t, struct record_signatures *out)
{
	char text[KEY_ID_SIZE + RECORD_BASE64_SIZE];

	out->text = t->start;
	out->signed_bytes = (size_t)(t->next - t->start);
	out->count = 0;
	do {
		if (out->count == sizeof(out->items) / sizeof(out->items[0]))
			return -EBADMSG;
		int r = record_text_string(t, SIGNATURE_WORD, text, sizeof(text));

		if (r == 0)
			r = parse_signature(text, &out->items[out->count]);
		if (r < 0)
			return r;
		out->count++;
	} while (t->next < t->end);
	return 0;
}

static bool has_signed(
	const struct record_signatures *signatures, const struct public_key *key)
{
	for (size_t i = 0; i < signatures->count; i++) {
		const struct record_signature *s = &signatures->items[i];

		if (strcmp(s->id, key->id) == 0 &&
			public_key_verifies(key, signatures->text,
				signatures->signed_bytes, s->bytes))
			return true;
	}
	return false;
}

size_t record_count_signers(
	const struct record_signatures *signatures, const struct key_ring *ring)
{
	size_t count = 0;

	for (size_t i = 0; i < ring->count; i++)
		count += has_signed(signatures, &ring->keys[i]);
	return count;
}

/* Bytes before the first signature line. */
static size_t signed_length(const uint8_t *data, size_t len)
{
	static const char mark[] = "\n" SIGNATURE_WORD " ";
	const uint8_t *at = len ? memmem(data, len, mark, sizeof(mark) - 1) : NULL;

	return at ? (size_t)(at - data) + 1 : len;
}

static int add_signature(
	struct buffer *out, const void *data, size_t len, const struct signing_key *key)
{
	uint8_t signature[SIGNATURE_SIZE];
	char text[RECORD_BASE64_SIZE];
	int r = signing_key_sign(key, data, len, signature);

	if (r < 0)
		return r;
	record_base64_encode(signature, SIGNATURE_SIZE, text);
	return buffer_printf(
		out, SIGNATURE_WORD " %s %s\n", signing_key_public(key)->id, text);
}

int record_sign(struct buffer *out, size_t start, const struct signing_key *key)
{
	return add_signature(out, out->data + start, out->len - start, key);
}

int record_add_signature(struct buffer *record, const struct signing_key *key)
{
	size_t len = signed_length(record->data, record->len);

	if (len == record->len)
		return -EINVAL;
	return add_signature(record, record->data, len, key);
}
