/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The key that signed the corpus' records. Its private half is the bytes 0 to 31 and guards
 * nothing; make_corpus.c knows it.
 */
#pragma once

#include "sync/trust/record.h"

#define FUZZ_ID "0123456789abcdef0123456789abcdef"

static const uint8_t fuzz_public_key[PUBLIC_KEY_SIZE] = {0x03, 0xa1, 0x07, 0xbf, 0xf3,
	0xce, 0x10, 0xbe, 0x1d, 0x70, 0xdd, 0x18, 0xe7, 0x4b, 0xc0, 0x99, 0x67, 0xe4,
	0xd6, 0x30, 0x9b, 0xa5, 0x0d, 0x5f, 0x1d, 0xdc, 0x86, 0x64, 0x12, 0x55, 0x31,
	0xb8};

/* The trust under which the corpus' records were made. */
static inline void fuzz_trust(struct trust *out)
{
	*out = (struct trust){
		.name = "packages", .id = FUZZ_ID, .version = 1, .threshold = 1};
	if (key_ring_add(&out->keys, fuzz_public_key) < 0)
		__builtin_trap();
}
