/* SPDX-License-Identifier: GPL-3.0-or-later */
/* compress_decode() on any bytes: four bytes of expected size, then what a server sent. */
#include "cache/base/data/compress.h"
#include "cache/catalog/catalog_format.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool fuzz_was_accepted;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t expected;

	fuzz_was_accepted = false;
	if (size < sizeof(expected))
		return 0;
	memcpy(&expected, data, sizeof(expected));
	expected %= FRAME_MAX_BYTES + 1;
	uint8_t *out = malloc(expected ? expected : 1);

	if (!out)
		return 0;
	int r = compress_decode(
		data + sizeof(expected), size - sizeof(expected), out, expected);

	MUST(r == 0 || r == -EBADMSG || r == -ENOMEM);
	fuzz_was_accepted = r == 0;
	free(out);
	return 0;
}
