/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The signed records of a depot: trust document, channel heads, revisions. Each is a short text
 * of `word value` lines in a fixed order, closed by one `signature KEYID BASE64` line per signer;
 * what is signed is every byte before the first signature line (docs/formats/records.md).
 *
 *	struct head head = {...};
 *	r = head_encode(&head, key, &buffer);
 *	...
 *	r = trust_decode(data, len, ring, &trust);
 *	r = head_decode(data, len, &trust, &head);
 *
 * Decoders check form, bounds and signatures before they write to their output: -EBADMSG for a
 * text that is not such a record, -EKEYREJECTED for one that the trusted keys did not sign,
 * -EXDEV for one of another repository. They log nothing: the caller knows the object's name.
 */
#pragma once

#include "cache/base/data/buffer.h"
#include "cache/catalog/catalog_format.h"
#include "sync/trust/key.h"

#include <stdint.h>

#define RECORD_MAX_BYTES    (64 * 1024)
#define REPOSITORY_NAME_MAX 63 /* [a-z0-9][a-z0-9._-]* */
#define REPOSITORY_ID_SIZE  33 /* 32 hexadecimal digits, chosen at init */
#define CHANNEL_NAME_MAX    63 /* as REPOSITORY_NAME_MAX */
#define RECORD_MESSAGE_MAX  500
#define POLICY_MAX_BYTES    (64 * 1024)

/* Which keys may sign for a repository. */
struct trust {
	char name[REPOSITORY_NAME_MAX + 1];
	char id[REPOSITORY_ID_SIZE];
	uint64_t version;
	uint32_t threshold;
	struct key_ring keys;
};

/* A policy's text (sync/jobs/policy): the file policy/<aa>/<digest> of the depot. */
struct policy_ref {
	struct digest digest;
	uint64_t bytes; /* 0: there is none */
};

struct head {
	char id[REPOSITORY_ID_SIZE]; /* of the repository */
	char channel[CHANNEL_NAME_MAX + 1];
	uint64_t sequence;
	uint64_t revision;
	struct catalog_ref root;
	int64_t published_ns; /* real time; stored in whole seconds */
	int64_t expires_ns;   /* 0: never */
	struct policy_ref policy;
};

struct revision {
	char id[REPOSITORY_ID_SIZE];
	uint64_t number; /* from 1 */
	struct digest
		previous; /* SHA-256 of revision number-1's file; zeros for the first */
	struct catalog_ref root;
	uint64_t tree_entries;
	uint64_t tree_bytes;
	int64_t published_ns;
	char message[RECORD_MESSAGE_MAX + 1]; /* no control characters */
};

/* True for a name that may stand in a path and in a record: see REPOSITORY_NAME_MAX. */
bool record_name_is_valid(const char *name);

/* Encoders append to `out`. Return 0, -EINVAL for a field out of bounds, -ENOMEM, -EIO.
 */
int trust_encode(const struct trust *trust, const struct signing_key *key,
	struct buffer *out) WARN_UNUSED;
int head_encode(const struct head *head, const struct signing_key *key,
	struct buffer *out) WARN_UNUSED;
int revision_encode(const struct revision *revision, const struct signing_key *key,
	struct buffer *out) WARN_UNUSED;

/* One more signer for a finished record: appends a signature line. -EINVAL if `record`
 * holds none yet. */
int record_add_signature(
	struct buffer *record, const struct signing_key *key) WARN_UNUSED;

/* `ring`: the keys that the admin gave this mirror. At least one of them must have
 * signed, and the document must name that key; it must also meet its own threshold. */
int trust_decode(const void *data, size_t len, const struct key_ring *ring,
	struct trust *out) WARN_UNUSED;

/* The successor of a document that is trusted already (or that document again): signed by
 * `current->threshold` of the current keys and by its own threshold of its own. -ESTALE
 * for an older version, -EXDEV for another repository. */
int trust_decode_next(const void *data, size_t len, const struct trust *current,
	struct trust *out) WARN_UNUSED;

/* A document that was accepted before and kept where only this program writes: form and own
 * threshold. Its keys prove nothing by themselves. */
int trust_decode_kept(const void *data, size_t len, struct trust *out) WARN_UNUSED;

/* `trust->threshold` different keys of `trust->keys` must have signed. */
int head_decode(const void *data, size_t len, const struct trust *trust,
	struct head *out) WARN_UNUSED;
int revision_decode(const void *data, size_t len, const struct trust *trust,
	struct revision *out) WARN_UNUSED;
