/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The three decoders of trust documents on any bytes. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_key.h"

#include <errno.h>
#include <string.h>

bool fuzz_was_accepted;

static bool is_accepted(int r, const struct trust *t)
{
	if (r < 0) {
		MUST(r == -EBADMSG || r == -EKEYREJECTED || r == -EXDEV || r == -ESTALE ||
			r == -ENOMEM || r == -E2BIG);
		return false;
	}
	MUST(record_name_is_valid(t->name));
	MUST(strnlen(t->id, sizeof(t->id)) == REPOSITORY_ID_SIZE - 1);
	MUST(t->keys.count > 0 && t->keys.count <= KEY_RING_MAX);
	MUST(t->threshold > 0 && t->threshold <= t->keys.count);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trust current;
	struct trust out;

	fuzz_trust(&current);
	fuzz_was_accepted =
		is_accepted(trust_decode(data, size, &current.keys, &out), &out);
	if (is_accepted(trust_decode_next(data, size, &current, &out), &out))
		MUST(strcmp(out.id, FUZZ_ID) == 0 && out.version >= current.version);
	(void)is_accepted(trust_decode_kept(data, size, &out), &out);
	return 0;
}
