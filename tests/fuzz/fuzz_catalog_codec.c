/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * catalog_decode() on what a server may send, in two ways: the bytes as they are, behind four that
 * say how many are expected; and the same bytes as what the frame holds, which a fuzzer would not
 * get through zstd otherwise. What is restored must come back the same when it is encoded.
 */
#include "cache/base/data/compress.h"
#include "cache/base/memory.h"
#include "cache/catalog/stored/catalog_codec.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EXPECTED_MAX (1 << 20)

bool fuzz_was_accepted;

static void must_come_back(const uint8_t *raw, size_t len)
{
	AUTO_BUFFER struct buffer again = BUFFER_INIT(CATALOG_STORED_MAX);
	AUTO_FREE uint8_t *copy = malloc(len);

	if (!copy || catalog_encode(raw, len, 1, &again) == -ENOMEM)
		return;
	MUST(again.len > 0);
	MUST(catalog_decode(again.data, again.len, copy, len) == 0);
	MUST(memcmp(raw, copy, len) == 0);
}

static bool decode(const uint8_t *stored, size_t len, size_t expected)
{
	/* no byte longer than it must be */
	AUTO_FREE uint8_t *raw = malloc(expected ? expected : 1);

	if (!raw)
		return false;
	int r = catalog_decode(stored, len, raw, expected);

	MUST(r == 0 || r == -EBADMSG || r == -ENOMEM);
	if (r == 0)
		must_come_back(raw, expected);
	return r == 0;
}

static void decode_residuals(const uint8_t *data, size_t size)
{
	size_t room = compress_bound(size);
	AUTO_FREE uint8_t *stored = malloc(CATALOG_STORED_MAGIC_BYTES + room);
	AUTO_FREE uint8_t *turned = malloc(size);
	size_t len;

	if (!stored || !turned || size < sizeof(struct catalog_header))
		return;
	struct catalog_header h;

	memcpy(&h, data, sizeof(h));
	memcpy(h.magic, CATALOG_MAGIC, sizeof(h.magic));
	h.version = CATALOG_VERSION;
	h.total_bytes = size;
	h.section_count = CATALOG_SECTIONS;
	memcpy(turned, data, size);
	memcpy(turned, &h, sizeof(h));
	memcpy(stored, CATALOG_STORED_MAGIC, CATALOG_STORED_MAGIC_BYTES);
	if (compress_encode(turned, size, 1, stored + CATALOG_STORED_MAGIC_BYTES, room,
		    &len) == 0)
		(void)decode(stored, CATALOG_STORED_MAGIC_BYTES + len, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t expected;

	fuzz_was_accepted = false;
	if (size < sizeof(expected))
		return 0;
	memcpy(&expected, data, sizeof(expected));
	data += sizeof(expected);
	size -= sizeof(expected);
	fuzz_was_accepted = decode(data, size, expected % EXPECTED_MAX);
	decode_residuals(data, size);
	return 0;
}
