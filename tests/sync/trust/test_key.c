/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/temporary.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "sync/trust/key.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned int turn;
	char *path = paths[turn++ % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static int make_dir(void **state)
{
	(void)state;
	return temporary_dir(dir, sizeof(dir), "key") ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = {
		"a.key", "a.pub", "b.key", "b.pub", "ring.pub", "odd.pub"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlink(path_of(names[i]));
	return rmdir(dir);
}

static void write_file(const char *name, const void *data, size_t len)
{
	AUTO_CLOSE int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, data, len), 0);
}

static void a_generated_pair_signs_and_verifies(void **state)
{
	struct signing_key *key;
	struct key_ring ring;
	uint8_t signature[SIGNATURE_SIZE];

	(void)state;
	assert_int_equal(key_generate(dir, "a"), 0);
	assert_int_equal(signing_key_load(path_of("a.key"), &key), 0);
	assert_int_equal(key_ring_load(path_of("a.pub"), &ring), 0);
	assert_int_equal(ring.count, 1);
	assert_string_equal(ring.keys[0].id, signing_key_public(key)->id);
	assert_int_equal(signing_key_sign(key, "text", 4, signature), 0);
	assert_true(public_key_verifies(&ring.keys[0], "text", 4, signature));
	assert_false(public_key_verifies(&ring.keys[0], "texu", 4, signature));
	signature[5] ^= 1;
	assert_false(public_key_verifies(&ring.keys[0], "text", 4, signature));
	signing_key_free(key);
}

static void the_private_key_is_for_its_owner_only(void **state)
{
	struct stat st;
	struct signing_key *key;

	(void)state;
	assert_int_equal(key_generate(dir, "a"), 0);
	assert_int_equal(stat(path_of("a.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(path_of("a.pub"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(chmod(path_of("a.key"), 0640), 0);
	assert_int_equal(signing_key_load(path_of("a.key"), &key), -EPERM);
}

static void generating_never_replaces_a_key(void **state)
{
	AUTO_BUFFER struct buffer before = BUFFER_INIT(4096);
	AUTO_BUFFER struct buffer after = BUFFER_INIT(4096);

	(void)state;
	assert_int_equal(key_generate(dir, "a"), 0);
	assert_int_equal(io_read_file(AT_FDCWD, path_of("a.key"), &before), 0);
	assert_int_equal(key_generate(dir, "a"), -EEXIST);
	assert_int_equal(io_read_file(AT_FDCWD, path_of("a.key"), &after), 0);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.data, after.data, after.len);
	/* the public half alone is in the way too, and nothing is left beside it */
	assert_int_equal(unlink(path_of("a.key")), 0);
	assert_int_equal(key_generate(dir, "a"), -EEXIST);
	assert_int_equal(access(path_of("a.key"), F_OK), -1);
}

static void a_name_with_a_slash_is_refused(void **state)
{
	(void)state;
	assert_int_equal(key_generate(dir, "../a"), -EINVAL);
	assert_int_equal(key_generate(dir, ""), -EINVAL);
}

static void a_ring_holds_every_key_of_its_file_once(void **state)
{
	AUTO_BUFFER struct buffer both = BUFFER_INIT(8192);
	struct key_ring ring;

	(void)state;
	assert_int_equal(key_generate(dir, "a"), 0);
	assert_int_equal(key_generate(dir, "b"), 0);
	assert_int_equal(io_read_file(AT_FDCWD, path_of("a.pub"), &both), 0);
	assert_int_equal(io_read_file(AT_FDCWD, path_of("b.pub"), &both), 0);
	assert_int_equal(io_read_file(AT_FDCWD, path_of("a.pub"), &both), 0);
	write_file("ring.pub", both.data, both.len);
	assert_int_equal(key_ring_load(path_of("ring.pub"), &ring), 0);
	assert_int_equal(ring.count, 2);
	assert_non_null(key_ring_find(&ring, ring.keys[1].id));
	assert_null(key_ring_find(&ring, "0123456789abcdef"));
}

static void files_without_a_usable_key_are_refused(void **state)
{
	static const char *const odd[] = {
		"",
		"not a key\n",
		"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n"
		"-----END PUBLIC KEY-----\n",
		/* an X25519 key: no signature can come of it */
		"-----BEGIN PUBLIC KEY-----\n"
		"MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n"
		"-----END PUBLIC KEY-----\n",
	};
	struct key_ring ring = {.count = 77};
	struct signing_key *key;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		write_file("odd.pub", odd[i], strlen(odd[i]));
		assert_int_equal(key_ring_load(path_of("odd.pub"), &ring), -EINVAL);
		assert_int_equal(signing_key_load(path_of("odd.pub"), &key), -EINVAL);
	}
	assert_int_equal(ring.count, 77);
	assert_int_equal(key_ring_load(path_of("missing"), &ring), -ENOENT);
}

static void signatures_match_the_vectors_of_rfc_8032(void **state)
{
	/* section 7.1, test 2 */
	static const uint8_t public[PUBLIC_KEY_SIZE] = {0x3d, 0x40, 0x17, 0xc3, 0xe8,
		0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b, 0x7e, 0xbc, 0x9c,
		0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a,
		0xf4, 0x66, 0x0c};
	static const uint8_t signature[SIGNATURE_SIZE] = {0x92, 0xa0, 0x09, 0xa9, 0xf0,
		0xd4, 0xca, 0xb8, 0x72, 0x0e, 0x82, 0x0b, 0x5f, 0x64, 0x25, 0x40, 0xa2,
		0xb2, 0x7b, 0x54, 0x16, 0x50, 0x3f, 0x8f, 0xb3, 0x76, 0x22, 0x23, 0xeb,
		0xdb, 0x69, 0xda, 0x08, 0x5a, 0xc1, 0xe4, 0x3e, 0x15, 0x99, 0x6e, 0x45,
		0x8f, 0x36, 0x13, 0xd0, 0xf1, 0x1d, 0x8c, 0x38, 0x7b, 0x2e, 0xae, 0xb4,
		0x30, 0x2a, 0xee, 0xb0, 0x0d, 0x29, 0x16, 0x12, 0xbb, 0x0c, 0x00};
	struct key_ring ring = {0};

	(void)state;
	assert_int_equal(key_ring_add(&ring, public), 0);
	assert_true(public_key_verifies(&ring.keys[0], "\x72", 1, signature));
	assert_false(public_key_verifies(&ring.keys[0], "\x73", 1, signature));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_generated_pair_signs_and_verifies, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
			the_private_key_is_for_its_owner_only, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
			generating_never_replaces_a_key, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
			a_name_with_a_slash_is_refused, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
			a_ring_holds_every_key_of_its_file_once, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
			files_without_a_usable_key_are_refused, make_dir, remove_dir),
		cmocka_unit_test(signatures_match_the_vectors_of_rfc_8032),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
