/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Ed25519 keys (RFC 8032) in PEM files that the openssl command reads too: PKCS#8 for the
 * private key, SubjectPublicKeyInfo for the public one. The only user of OpenSSL's
 * signing.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUBLIC_KEY_SIZE 32
#define SIGNATURE_SIZE	64
#define KEY_ID_SIZE	17 /* 16 hexadecimal digits: the start of SHA-256(raw public key) */
#define KEY_RING_MAX	16

struct public_key {
	uint8_t bytes[PUBLIC_KEY_SIZE];
	char id[KEY_ID_SIZE];
};

struct key_ring {
	size_t count;
	struct public_key keys[KEY_RING_MAX];
};

struct signing_key;

/* Makes a pair and writes dir/name.key (0600) and dir/name.pub (0644), durably; makes
 * `dir` (0700) if it is missing. -EEXIST, with nothing changed, if either file is there.
 */
int key_generate(const char *dir, const char *name) WARN_UNUSED;

/* Reads a private key. -EINVAL if the file holds no Ed25519 key, -EPERM if others than
 * its owner may read it. Free with signing_key_free(). */
int signing_key_load(const char *path, struct signing_key **out) WARN_UNUSED;
void signing_key_free(struct signing_key *key);

/* The public half. The pointer lives as long as `key`. */
const struct public_key *signing_key_public(const struct signing_key *key);

int signing_key_sign(const struct signing_key *key, const void *data, size_t len,
	uint8_t out[SIGNATURE_SIZE]) WARN_UNUSED;

/* Reads one or more public keys from a PEM file. -EINVAL if there is none in it, -E2BIG
 * for more than KEY_RING_MAX. */
int key_ring_load(const char *path, struct key_ring *out) WARN_UNUSED;

/* Adds a raw public key and derives its id. Returns 0, -E2BIG, or 0 if it is there
 * already. */
int key_ring_add(struct key_ring *ring, const uint8_t bytes[PUBLIC_KEY_SIZE]) WARN_UNUSED;

/* NULL if the ring has no key of this id. */
const struct public_key *key_ring_find(const struct key_ring *ring, const char *id);

bool public_key_verifies(const struct public_key *key, const void *data, size_t len,
	const uint8_t signature[SIGNATURE_SIZE]);
