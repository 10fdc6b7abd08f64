/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/temporary.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "sync/trust/record.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ID    "0123456789abcdef0123456789abcdef"
#define OTHER "ffffffffffffffffffffffffffffffff"

static char dir[64];
static struct signing_key *keys[3];
static struct key_ring ring; /* of keys[0] */

static const struct head sample_head = {.id = ID,
	.channel = "stable",
	.sequence = 7,
	.revision = 5,
	.root = {.digest = {{1, 2, 3}}, .stored_bytes = 100, .raw_bytes = 200},
	.published_ns = INT64_C(1772366400) * NS_PER_SEC};

static struct trust make_trust(size_t key_count, uint32_t threshold)
{
	struct trust trust = {
		.name = "packages", .id = ID, .version = 1, .threshold = threshold};

	for (size_t i = 0; i < key_count; i++)
		assert_int_equal(
			key_ring_add(&trust.keys, signing_key_public(keys[i])->bytes), 0);
	return trust;
}

static void a_head_comes_back_as_it_was(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = make_trust(1, 1);
	struct head in = sample_head;
	struct head out;

	(void)state;
	in.expires_ns = in.published_ns + 999;
	assert_int_equal(head_encode(&in, keys[0], &text), 0);
	assert_int_equal(head_decode(text.data, text.len, &trust, &out), 0);
	assert_string_equal(out.channel, "stable");
	assert_int_equal(out.sequence, 7);
	assert_int_equal(out.revision, 5);
	assert_memory_equal(&out.root, &in.root, sizeof(in.root));
	assert_int_equal(out.published_ns, in.published_ns);
	assert_int_equal(out.expires_ns, in.published_ns); /* whole seconds */
}

static void a_head_may_name_a_policy(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = make_trust(1, 1);
	struct head in = sample_head;
	struct head out;

	(void)state;
	assert_int_equal(head_encode(&in, keys[0], &text), 0);
	assert_int_equal(head_decode(text.data, text.len, &trust, &out), 0);
	assert_int_equal(out.policy.bytes, 0);
	assert_null(memmem(text.data, text.len, "policy", 6));
	in.policy = (struct policy_ref){.digest = {{7}}, .bytes = POLICY_MAX_BYTES};
	text.len = 0;
	assert_int_equal(head_encode(&in, keys[0], &text), 0);
	assert_int_equal(head_decode(text.data, text.len, &trust, &out), 0);
	assert_memory_equal(&out.policy, &in.policy, sizeof(in.policy));
	in.policy.bytes++;
	assert_int_equal(head_encode(&in, keys[0], &text), -EINVAL);
}

static void a_revision_comes_back_as_it_was(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = make_trust(1, 1);
	struct revision in = {.id = ID,
		.number = 3,
		.root = sample_head.root,
		.tree_entries = UINT64_MAX,
		.published_ns = NS_PER_SEC,
		.message = "caf\303\251 \"5\" = 5"};
	struct revision out;

	(void)state;
	assert_int_equal(revision_encode(&in, keys[0], &text), 0);
	assert_int_equal(revision_decode(text.data, text.len, &trust, &out), 0);
	assert_string_equal(out.message, in.message);
	assert_int_equal(out.number, 3);
	assert_true(out.tree_entries == UINT64_MAX);
	in.message[0] = '\0';
	text.len = 0;
	assert_int_equal(revision_encode(&in, keys[0], &text), 0);
	assert_int_equal(revision_decode(text.data, text.len, &trust, &out), 0);
	assert_string_equal(out.message, "");
}

static void a_message_that_would_forge_lines_is_refused(void **state)
{
	static const char *const bad[] = {"two\nlines", "tab\t", "bell\a", "\302\205next",
		"not utf-8 \377", "cut \303"};
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct revision in = {.id = ID, .number = 1, .root = sample_head.root};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		(void)snprintf(in.message, sizeof(in.message), "%s", bad[i]);
		assert_int_equal(revision_encode(&in, keys[0], &text), -EINVAL);
		assert_int_equal(text.len, 0);
	}
}

static void every_flipped_bit_and_every_cut_is_noticed(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = make_trust(1, 1);
	struct head out = {.sequence = 77};

	(void)state;
	assert_int_equal(head_encode(&sample_head, keys[0], &text), 0);
	for (size_t i = 0; i < text.len * 8; i++) {
		text.data[i / 8] ^= (uint8_t)(1 << i % 8);
		int r = head_decode(text.data, text.len, &trust, &out);

		assert_true(r == -EBADMSG || r == -EKEYREJECTED);
		text.data[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	for (size_t len = 0; len < text.len; len++)
		assert_int_equal(head_decode(text.data, len, &trust, &out), -EBADMSG);
	assert_int_equal(out.sequence, 77);
	assert_int_equal(head_decode(text.data, text.len, &trust, &out), 0);
}

/* Signs `body` (which ends with a line feed) with keys[0] and decodes it as a head. */
static int decode_body(const char *body)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(2 * RECORD_MAX_BYTES);
	struct trust trust = make_trust(1, 1);
	struct head out;

	assert_int_equal(buffer_printf(&text, "%s", body), 0);
	/* the placeholder makes it a record that a signature can be added to, then goes */
	size_t len = text.len;

	assert_int_equal(buffer_printf(&text, "signature x\n"), 0);
	assert_int_equal(record_add_signature(&text, keys[0]), 0);
	size_t skip = strlen("signature x\n");

	memmove(text.data + len, text.data + len + skip, text.len - len - skip);
	text.len -= skip;
	return head_decode(text.data, text.len, &trust, &out);
}

#define DIGEST "00000000000000000000000000000000000000000000000000000000000000ff"
#define HEAD(sequence, root, published, expires)                                         \
	"depotfs-head 1\nrepository " ID "\nchannel stable\nsequence " sequence          \
	"\nrevision 1\nroot " root "\npublished " published "\nexpires " expires "\n"

static void each_value_has_one_spelling(void **state)
{
	static const char *const bad[] = {
		HEAD("01", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never"),
		HEAD("+1", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never"),
		HEAD(" 1", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never"),
		HEAD("1 ", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never"),
		HEAD("", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never"),
		HEAD("0", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never"),
		HEAD("18446744073709551616", DIGEST " 1 2", "2026-03-01T12:00:00Z",
			"never"),
		HEAD("1", DIGEST " 0 2", "2026-03-01T12:00:00Z", "never"),
		HEAD("1", DIGEST " 1 2147483649", "2026-03-01T12:00:00Z", "never"),
		HEAD("1", DIGEST " 1", "2026-03-01T12:00:00Z", "never"),
		HEAD("1", DIGEST " 1 2 3", "2026-03-01T12:00:00Z", "never"),
		HEAD("1", "FF" DIGEST " 1 2", "2026-03-01T12:00:00Z", "never"),
		HEAD("1", DIGEST " 1 2", "never", "never"),
		HEAD("1", DIGEST " 1 2", "2026-3-1T12:00:00Z", "never"),
		HEAD("1", DIGEST " 1 2", "2026-02-30T12:00:00Z", "never"),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:60Z", "never"),
		HEAD("1", DIGEST " 1 2", "9999-03-01T12:00:00Z", "never"),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z", "Never"),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never\nextra 1"),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never\n"),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never\r"),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z",
			"never\npolicy " DIGEST " 0"),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z",
			"never\npolicy " DIGEST " 65537"),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z",
			"never\npolicy " DIGEST " 07"),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never\npolicy " DIGEST),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z",
			"never\npolicy " DIGEST " 7 7"),
		HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z",
			"never\npolicy " DIGEST " 7\npolicy " DIGEST " 7"),
		HEAD("1", DIGEST " 1 2\npolicy " DIGEST " 7", "2026-03-01T12:00:00Z",
			"never"),
		HEAD("1", DIGEST " 1 2\npublished 2026-03-01T12:00:00Z",
			"2026-03-01T12:00:00Z", "never"),
	};

	(void)state;
	assert_int_equal(
		decode_body(HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z", "never")),
		0);
	assert_int_equal(decode_body(HEAD("1", DIGEST " 1 2", "2026-03-01T12:00:00Z",
				 "never\npolicy " DIGEST " 7")),
		0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (decode_body(bad[i]) != -EBADMSG)
			fail_msg("accepted: %s", bad[i]);
	}
}

static void a_head_of_strangers_is_refused(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = make_trust(1, 1);
	struct head head = sample_head;
	struct head out;

	(void)state;
	assert_int_equal(head_encode(&head, keys[1], &text), 0);
	assert_int_equal(head_decode(text.data, text.len, &trust, &out), -EKEYREJECTED);
	text.len = 0;
	(void)snprintf(head.id, sizeof(head.id), OTHER);
	assert_int_equal(head_encode(&head, keys[0], &text), 0);
	assert_int_equal(head_decode(text.data, text.len, &trust, &out), -EXDEV);
}

static void one_key_signing_twice_counts_once(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = make_trust(3, 2);
	struct head out;

	(void)state;
	assert_int_equal(head_encode(&sample_head, keys[0], &text), 0);
	assert_int_equal(record_add_signature(&text, keys[0]), 0);
	assert_int_equal(head_decode(text.data, text.len, &trust, &out), -EKEYREJECTED);
	assert_int_equal(record_add_signature(&text, keys[2]), 0);
	assert_int_equal(head_decode(text.data, text.len, &trust, &out), 0);
}

static void the_admins_key_opens_the_trust_document(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = make_trust(2, 1);
	struct key_ring strangers = {0};
	struct trust out;

	(void)state;
	assert_int_equal(trust_encode(&trust, keys[0], &text), 0);
	assert_int_equal(trust_decode(text.data, text.len, &ring, &out), 0);
	assert_string_equal(out.name, "packages");
	assert_int_equal(out.keys.count, 2);
	assert_int_equal(key_ring_add(&strangers, signing_key_public(keys[2])->bytes), 0);
	assert_int_equal(
		trust_decode(text.data, text.len, &strangers, &out), -EKEYREJECTED);
	/* named in it, but somebody else signed */
	text.len = 0;
	assert_int_equal(trust_encode(&trust, keys[1], &text), 0);
	assert_int_equal(trust_decode(text.data, text.len, &ring, &out), -EKEYREJECTED);
}

static void rules_change_only_under_the_old_threshold(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust old = make_trust(2, 2);
	struct trust new = make_trust(1, 1);
	struct trust out;

	(void)state;
	new.version = 2;
	assert_int_equal(trust_encode(&new, keys[0], &text), 0);
	assert_int_equal(
		trust_decode_next(text.data, text.len, &old, &out), -EKEYREJECTED);
	assert_int_equal(record_add_signature(&text, keys[1]), 0);
	assert_int_equal(trust_decode_next(text.data, text.len, &old, &out), 0);
	old.version = 3;
	assert_int_equal(trust_decode_next(text.data, text.len, &old, &out), -ESTALE);
	(void)snprintf(old.id, sizeof(old.id), OTHER);
	assert_int_equal(trust_decode_next(text.data, text.len, &old, &out), -EXDEV);
}

static void fields_out_of_bounds_are_not_written(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = make_trust(2, 3);
	struct head head = sample_head;

	(void)state;
	assert_int_equal(trust_encode(&trust, keys[0], &text), -EINVAL);
	(void)snprintf(head.channel, sizeof(head.channel), "../x");
	assert_int_equal(head_encode(&head, keys[0], &text), -EINVAL);
	head = sample_head;
	head.root.raw_bytes = CATALOG_MAX_BYTES + 1;
	assert_int_equal(head_encode(&head, keys[0], &text), -EINVAL);
	head = sample_head;
	head.published_ns = -1;
	assert_int_equal(head_encode(&head, keys[0], &text), -EINVAL);
	assert_int_equal(text.len, 0);
}

static int make(void **state)
{
	static const char *const names[] = {"a", "b", "c"};
	char path[128];

	(void)state;
	if (!temporary_dir(dir, sizeof(dir), "record"))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s.key", dir, names[i]);
		if (key_generate(dir, names[i]) < 0 ||
			signing_key_load(path, &keys[i]) < 0)
			return -1;
		(void)unlink(path);
		(void)snprintf(path, sizeof(path), "%s/%s.pub", dir, names[i]);
		(void)unlink(path);
	}
	if (key_ring_add(&ring, signing_key_public(keys[0])->bytes) < 0)
		return -1;
	return rmdir(dir);
}

static int clean(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		signing_key_free(keys[i]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_head_comes_back_as_it_was),
		cmocka_unit_test(a_head_may_name_a_policy),
		cmocka_unit_test(a_revision_comes_back_as_it_was),
		cmocka_unit_test(a_message_that_would_forge_lines_is_refused),
		cmocka_unit_test(every_flipped_bit_and_every_cut_is_noticed),
		cmocka_unit_test(each_value_has_one_spelling),
		cmocka_unit_test(a_head_of_strangers_is_refused),
		cmocka_unit_test(one_key_signing_twice_counts_once),
		cmocka_unit_test(the_admins_key_opens_the_trust_document),
		cmocka_unit_test(rules_change_only_under_the_old_threshold),
		cmocka_unit_test(fields_out_of_bounds_are_not_written),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
