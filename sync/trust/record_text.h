/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The line form that all signed records share: a reader that accepts one spelling only, and the
 * writer of that spelling. Private to sync/trust; the bytes stand in docs/formats/records.md.
 *
 *	struct record_text t;
 *	r = record_text_open(&t, data, len, "depotfs-head 1");
 *	if (r == 0)
 *		r = record_text_u64(&t, "sequence", &head.sequence);
 *	...
 *	if (r == 0)
 *		r = record_text_signatures(&t, &signatures);
 *
 * Readers return 0 or -EBADMSG. Any thread; a text belongs to one thread.
 */
#pragma once

#include "cache/base/data/hash.h"
#include "sync/trust/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_text {
	const char *start;
	const char *next;
	const char *end;
};

struct record_signature {
	char id[KEY_ID_SIZE];
	uint8_t bytes[SIGNATURE_SIZE];
};

/* Who claims to have signed the first `signed_bytes` bytes. Nothing is verified yet. */
struct record_signatures {
	const char *text;
	size_t signed_bytes;
	size_t count;
	struct record_signature items[2 * KEY_RING_MAX];
};

/* `magic` is the whole first line without its line feed. Borrows `data`. */
int record_text_open(struct record_text *t, const void *data, size_t len,
	const char *magic) WARN_UNUSED;

/* Copies the value of the line `word VALUE`, at most size-1 bytes, into `out`. */
int record_text_string(
	struct record_text *t, const char *word, char *out, size_t size) WARN_UNUSED;

/* A valid repository or channel name (see record_name_is_valid()). */
int record_text_name(
	struct record_text *t, const char *word, char *out, size_t size) WARN_UNUSED;

/* 32 lower-case hexadecimal digits. */
int record_text_id(struct record_text *t, const char *word,
	char out[REPOSITORY_ID_SIZE]) WARN_UNUSED;

int record_text_u64(struct record_text *t, const char *word, uint64_t *out) WARN_UNUSED;

int record_text_digest(
	struct record_text *t, const char *word, struct digest *out) WARN_UNUSED;

/* `word DIGEST STORED RAW`, both sizes within CATALOG_MAX_BYTES and not 0. */
int record_text_catalog(
	struct record_text *t, const char *word, struct catalog_ref *out) WARN_UNUSED;

/* `word DIGEST BYTES`, at most POLICY_MAX_BYTES and not 0. */
int record_text_policy(
	struct record_text *t, const char *word, struct policy_ref *out) WARN_UNUSED;

/* A time in whole seconds; `never` (0) only if `may_be_never`. */
int record_text_time(struct record_text *t, const char *word, bool may_be_never,
	int64_t *out_ns) WARN_UNUSED;

/* True if the next line begins with `word `. */
bool record_text_is_next(const struct record_text *t, const char *word);

/* The signature lines, one or more, up to the text's end. */
int record_text_signatures(
	struct record_text *t, struct record_signatures *out) WARN_UNUSED;

/* Decodes `len` bytes from canonical base64 of exactly that many. */
int record_base64_decode(const char *text, uint8_t *out, size_t len) WARN_UNUSED;

/* Encodes up to SIGNATURE_SIZE bytes. */
#define RECORD_BASE64_SIZE 89
void record_base64_encode(const uint8_t *data, size_t len, char out[RECORD_BASE64_SIZE]);

/* Writers append one line. 0, -EINVAL for a value that the reader would refuse, or the
 * buffer's error. */
int record_write_catalog(
	struct buffer *out, const char *word, const struct catalog_ref *ref) WARN_UNUSED;
int record_write_policy(
	struct buffer *out, const char *word, const struct policy_ref *ref) WARN_UNUSED;
int record_write_time(struct buffer *out, const char *word, bool may_be_never,
	int64_t real_ns) WARN_UNUSED;

/* Valid UTF-8 without control characters, at most RECORD_MESSAGE_MAX bytes. */
bool record_message_is_valid(const char *text);

/* 32 lower-case hexadecimal digits. */
bool record_id_is_valid(const char *id);

/* Appends the signature line over out->data[start .. out->len). */
int record_sign(
	struct buffer *out, size_t start, const struct signing_key *key) WARN_UNUSED;

/* How many different keys of `ring` signed validly. */
size_t record_count_signers(
	const struct record_signatures *signatures, const struct key_ring *ring);
