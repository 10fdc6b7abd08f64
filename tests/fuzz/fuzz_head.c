/* SPDX-License-Identifier: GPL-3.0-or-later */
/* head_decode() on any bytes. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_key.h"

#include <errno.h>
#include <string.h>

bool fuzz_was_accepted;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trust trust;
	struct head out;

	fuzz_trust(&trust);
	memset(&out, 0xa5, sizeof(out));
	int r = head_decode(data, size, &trust, &out);

	fuzz_was_accepted = r == 0;
	if (r < 0) {
		MUST(r == -EBADMSG || r == -EKEYREJECTED || r == -EXDEV || r == -ENOMEM);
		/* outputs are untouched on failure */
		MUST(((const uint8_t *)&out)[0] == 0xa5);
		return 0;
	}
	MUST(strcmp(out.id, FUZZ_ID) == 0);
	MUST(out.root.raw_bytes > 0 && out.root.raw_bytes <= CATALOG_MAX_BYTES);
	MUST(out.root.stored_bytes > 0 && out.root.stored_bytes <= CATALOG_MAX_BYTES);
	MUST(record_name_is_valid(out.channel));
	MUST(out.policy.bytes <= POLICY_MAX_BYTES);
	return 0;
}
