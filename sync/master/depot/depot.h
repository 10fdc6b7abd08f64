/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A depot as its publisher sees it: a directory of immutable objects, signed records and the
 * publisher's own corner (docs/formats/depot.md).
 *
 *	r = depot_open(path, &depot);
 *	r = depot_trust(depot, NULL, &trust);
 *	r = depot_latest_number(depot, &trust, &number);	0: none yet
 *	r = depot_revision(depot, &trust, number, &revision, &digest);
 *	...
 *	depot_close(depot);
 *
 * Errors are logged with the object's name unless said otherwise. Any thread, once open.
 */
#pragma once

#include "cache/catalog/catalog.h"
#include "sync/trust/record.h"

#define DEPOT_TRUST	   "trust"
#define DEPOT_PUBLISHER	   ".publisher"
#define DEPOT_TMP	   ".publisher/tmp"
#define DEPOT_TRUSTED_KEYS ".publisher/trusted.pub"
#define DEPOT_KEY_DIR	   ".publisher/key-dir" /* absolute path of what init was given */
#define DEPOT_LOCK	   "lock"
#define DEPOT_OBJECT_SIZE  (16 + DIGEST_HEX_SIZE)
#define DEPOT_DEFAULT_KEYS "/etc/depotfs/keys"

struct depot {
	int fd;
	const char *path; /* as the user named it; borrowed */
};

int depot_open(const char *path, struct depot **out) WARN_UNUSED;
void depot_close(struct depot *depot);

/* The trust document, checked with the public keys in `key_path`, or, when NULL, with those
 * that init put aside for the publisher. */
int depot_trust(
	const struct depot *depot, const char *key_path, struct trust *out) WARN_UNUSED;

/* The same with keys at hand; `origin` names them in the message. */
int depot_trust_by(const struct depot *depot, const struct key_ring *ring,
	const char *origin, struct trust *out) WARN_UNUSED;

/* Writes "catalog/aa/hex", or with another kind of object. */
void depot_object_name(
	const char *kind, const struct digest *digest, char out[DEPOT_OBJECT_SIZE]);

/* A channel's head. -ENOENT when there is none, -EBADMSG, -EKEYREJECTED or -EXDEV when what is
 * there is not this depot's head. Not logged: only the caller knows whether it matters. */
int depot_head(const struct depot *depot, const struct trust *trust, const char *channel,
	struct head *out) WARN_UNUSED;

/* Revision `number` and the digest of its record. -ENOENT is not logged. */
int depot_revision(const struct depot *depot, const struct trust *trust, uint64_t number,
	struct revision *out, struct digest *out_digest) WARN_UNUSED;

/* The highest revision number there is, 0 for none; its record may still be damaged. Files with
 * higher numbers that are not and do not follow on records of this depot are passed over, with a
 * warning. */
int depot_latest_number(
	const struct depot *depot, const struct trust *trust, uint64_t *out) WARN_UNUSED;

/* All channels' names, sorted; from mem_alloc(), one block per name and one for the list. */
int depot_channels(const struct depot *depot, char ***out, size_t *out_count) WARN_UNUSED;
void depot_channels_free(char **names, size_t count);

/* Reads, decodes and checks a catalog. */
int depot_catalog(const struct depot *depot, const struct catalog_ref *ref,
	struct catalog **out) WARN_UNUSED;

/* Appends the text of a policy, its size and digest checked. -ENOENT, -EBADMSG or what reading
 * returned; not logged. */
int depot_policy(const struct depot *depot, const struct policy_ref *ref,
	struct buffer *out) WARN_UNUSED;

/* 0 when the object is there with this size, -ENOENT when it is not there, -EBADMSG when its
 * size differs. Not logged. */
int depot_has_object(const struct depot *depot, const char *kind,
	const struct digest *digest, uint64_t bytes) WARN_UNUSED;
