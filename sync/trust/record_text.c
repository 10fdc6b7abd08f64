/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/trust/record_text.h"

#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#define NUMBER_SIZE 21 /* 20 digits of 2^64 - 1 */

bool record_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > REPOSITORY_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = name[i];
		bool is_alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (!is_alnum && (i == 0 || (c != '.' && c != '_' && c != '-')))
			return false;
	}
	return true;
}

bool record_id_is_valid(const char *id)
{
	return strlen(id) == REPOSITORY_ID_SIZE - 1 &&
	       strspn(id, "0123456789abcdef") == REPOSITORY_ID_SIZE - 1;
}

bool record_message_is_valid(const char *text)
{
	size_t len = strlen(text);
	const uint8_t *p = (const uint8_t *)text;

	if (len > RECORD_MESSAGE_MAX)
		return false;
	while (len) {
		utf8proc_int32_t c;
		utf8proc_ssize_t n = utf8proc_iterate(p, (utf8proc_ssize_t)len, &c);

		if (n <= 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* The next line without its line feed; moves on. */
static int next_line(struct record_text *t, const char **out, size_t *out_len)
{
	const char *lf = memchr(t->next, '\n', (size_t)(t->end - t->next));

	if (!lf)
		return -EBADMSG;
	*out = t->next;
	*out_len = (size_t)(lf - t->next);
	t->next = lf + 1;
	return 0;
}

int record_text_open(
	struct record_text *t, const void *data, size_t len, const char *magic)
{
	const char *line;
	size_t line_len;

	if (!data || len == 0 || len > RECORD_MAX_BYTES || memchr(data, '\0', len))
		return -EBADMSG;
	t->start = data;
	t->next = data;
	t->end = t->start + len;
	int r = next_line(t, &line, &line_len);

	if (r < 0)
		return r;
	return line_len == strlen(magic) && memcmp(line, magic, line_len) == 0 ? 0
									       : -EBADMSG;
}

bool record_text_is_next(const struct record_text *t, const char *word)
{
	size_t len = strlen(word);

	return (size_t)(t->end - t->next) > len && memcmp(t->next, word, len) == 0 &&
	       t->next[len] == ' ';
}

int record_text_string(struct record_text *t, const char *word, char *out, size_t size)
{
	const char *line;
	size_t len;

	if (!record_text_is_next(t, word))
		return -EBADMSG;
	int r = next_line(t, &line, &len);

	if (r < 0)
		return r;
	size_t skip = strlen(word) + 1;

	if (len < skip || len - skip >= size)
		return -EBADMSG;
	memcpy(out, line + skip, len - skip);
	out[len - skip] = '\0';
	return 0;
}

int record_text_name(struct record_text *t, const char *word, char *out, size_t size)
{
	int r = record_text_string(t, word, out, size);

	if (r < 0)
		return r;
	return record_name_is_valid(out) ? 0 : -EBADMSG;
}

int record_text_id(struct record_text *t, const char *word, char out[REPOSITORY_ID_SIZE])
{
	int r = record_text_string(t, word, out, REPOSITORY_ID_SIZE);

	if (r < 0)
		return r;
	return record_id_is_valid(out) ? 0 : -EBADMSG;
}

/* One spelling a number: digits, no sign, no leading zero. */
static int parse_number(const char *text, uint64_t *out)
{
	unsigned long long n;

	if ((text[0] == '0' && text[1]) || io_parse_u64(text, &n) < 0)
		return -EBADMSG;
	*out = n;
	return 0;
}

int record_text_u64(struct record_text *t, const char *word, uint64_t *out)
{
	char text[NUMBER_SIZE];
	int r = record_text_string(t, word, text, sizeof(text));

	return r < 0 ? r : parse_number(text, out);
}

int record_text_digest(struct record_text *t, const char *word, struct digest *out)
{
	char text[DIGEST_HEX_SIZE];
	int r = record_text_string(t, word, text, sizeof(text));

	if (r < 0)
		return r;
	if (strlen(text) != DIGEST_HEX_SIZE - 1 || digest_from_hex(text, out) < 0)
		return -EBADMSG;
	return 0;
}

static bool catalog_ref_is_valid(const struct catalog_ref *ref)
{
	return ref->stored_bytes > 0 && ref->stored_bytes <= CATALOG_MAX_BYTES &&
	       ref->raw_bytes > 0 && ref->raw_bytes <= CATALOG_MAX_BYTES;
}

int record_text_catalog(struct record_text *t, const char *word, struct catalog_ref *out)
{
	char text[DIGEST_HEX_SIZE + 2 * NUMBER_SIZE];
	struct catalog_ref ref;
	int r = record_text_string(t, word, text, sizeof(text));

	if (r < 0)
		return r;
	if (strlen(text) < DIGEST_HEX_SIZE || text[DIGEST_HEX_SIZE - 1] != ' ' ||
		digest_from_hex(text, &ref.digest) < 0)
		return -EBADMSG;
	char *stored = text + DIGEST_HEX_SIZE;
	char *raw = strchr(stored, ' ');

	if (!raw)
		return -EBADMSG;
	*raw++ = '\0';
	if (parse_number(stored, &ref.stored_bytes) < 0 ||
		parse_number(raw, &ref.raw_bytes) < 0 || !catalog_ref_is_valid(&ref))
		return -EBADMSG;
	*out = ref;
	return 0;
}

int record_text_policy(struct record_text *t, const char *word, struct policy_ref *out)
{
	char text[DIGEST_HEX_SIZE + NUMBER_SIZE];
	struct policy_ref ref;
	int r = record_text_string(t, word, text, sizeof(text));

	if (r < 0)
		return r;
	if (strlen(text) < DIGEST_HEX_SIZE || text[DIGEST_HEX_SIZE - 1] != ' ' ||
		digest_from_hex(text, &ref.digest) < 0 ||
		parse_number(text + DIGEST_HEX_SIZE, &ref.bytes) < 0 || !ref.bytes ||
		ref.bytes > POLICY_MAX_BYTES)
		return -EBADMSG;
	*out = ref;
	return 0;
}

/* Years that a count of nanoseconds in 63 bits can hold; the text after the year is
 * checked by writing it again, because strptime takes many spellings. */
static int parse_time(const char *text, int64_t *out_ns)
{
	char again[CLOCK_TEXT_SIZE];
	int64_t ns;

	if (strlen(text) != strlen("1970-01-01T00:00:00Z") ||
		strncmp(text, "1970", 4) < 0 || strncmp(text, "2262", 4) >= 0)
		return -EBADMSG;
	if (clock_parse(text, &ns) < 0)
		return -EBADMSG;
	clock_format(ns, again);
	if (strcmp(again, text) != 0)
		return -EBADMSG;
	*out_ns = ns;
	return 0;
}

int record_text_time(
	struct record_text *t, const char *word, bool may_be_never, int64_t *out_ns)
{
	char text[CLOCK_TEXT_SIZE];
	int r = record_text_string(t, word, text, sizeof(text));

	if (r < 0)
		return r;
	if (may_be_never && strcmp(text, "never") == 0) {
		*out_ns = 0;
		return 0;
	}
	return parse_time(text, out_ns);
}

int record_base64_decode(const char *text, uint8_t *out, size_t len)
{
	unsigned char bytes[SIGNATURE_SIZE + 3];
	char again[RECORD_BASE64_SIZE];
	size_t chars = (len + 2) / 3 * 4;

	if (len > SIGNATURE_SIZE || strlen(text) != chars)
		return -EBADMSG;
	if (EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)chars) < 0)
		return -EBADMSG;
	/* spare bits, padding and blanks have one spelling: what the encoder writes */
	record_base64_encode(bytes, len, again);
	if (strcmp(again, text) != 0)
		return -EBADMSG;
	memcpy(out, bytes, len);
	return 0;
}

void record_base64_encode(const uint8_t *data, size_t len, char out[RECORD_BASE64_SIZE])
{
	(void)EVP_EncodeBlock((unsigned char *)out, data, (int)len);
}

int record_write_catalog(
	struct buffer *out, const char *word, const struct catalog_ref *ref)
{
	char hex[DIGEST_HEX_SIZE];

	if (!catalog_ref_is_valid(ref))
		return -EINVAL;
	digest_to_hex(&ref->digest, hex);
	return buffer_printf(out, "%s %s %" PRIu64 " %" PRIu64 "\n", word, hex,
		ref->stored_bytes, ref->raw_bytes);
}

int record_write_policy(
	struct buffer *out, const char *word, const struct policy_ref *ref)
{
	char hex[DIGEST_HEX_SIZE];

	if (!ref->bytes || ref->bytes > POLICY_MAX_BYTES)
		return -EINVAL;
	digest_to_hex(&ref->digest, hex);
	return buffer_printf(out, "%s %s %" PRIu64 "\n", word, hex, ref->bytes);
}

int record_write_time(
	struct buffer *out, const char *word, bool may_be_never, int64_t real_ns)
{
	char text[CLOCK_TEXT_SIZE];
	int64_t again;

	if (may_be_never && real_ns == 0)
		return buffer_printf(out, "%s never\n", word);
	if (real_ns < 0)
		return -EINVAL;
	clock_format(real_ns, text);
	if (parse_time(text, &again) < 0)
		return -EINVAL;
	return buffer_printf(out, "%s %s\n", word, text);
}
