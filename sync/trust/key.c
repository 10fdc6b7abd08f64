/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/trust/key.h"

#include "cache/base/data/buffer.h"
#include "cache/base/data/hash.h"
#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "sync/trust/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_MAX (64 * 1024)

struct signing_key {
	EVP_PKEY *pkey;
	struct public_key public;
};

static void free_pkey(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
}

static void free_bio(BIO **p)
{
	BIO_free(*p);
}

static void free_md_ctx(EVP_MD_CTX **p)
{
	EVP_MD_CTX_free(*p);
}

#define AUTO_PKEY   CLEANUP(free_pkey)
#define AUTO_BIO    CLEANUP(free_bio)
#define AUTO_MD_CTX CLEANUP(free_md_ctx)

static int public_key_from_bytes(
	const uint8_t bytes[PUBLIC_KEY_SIZE], struct public_key *out)
{
	struct digest digest;
	char hex[DIGEST_HEX_SIZE];
	int r = digest_of(bytes, PUBLIC_KEY_SIZE, &digest);

	if (r < 0)
		return r;
	digest_to_hex(&digest, hex);
	memcpy(out->bytes, bytes, PUBLIC_KEY_SIZE);
	memcpy(out->id, hex, KEY_ID_SIZE - 1);
	out->id[KEY_ID_SIZE - 1] = '\0';
	return 0;
}

/* -EINVAL for a key of another kind. */
static int raw_public_bytes(const EVP_PKEY *pkey, uint8_t out[PUBLIC_KEY_SIZE])
{
	size_t len = PUBLIC_KEY_SIZE;

	if (!EVP_PKEY_is_a(pkey, "ED25519"))
		return -EINVAL;
	if (EVP_PKEY_get_raw_public_key(pkey, out, &len) != 1 || len != PUBLIC_KEY_SIZE)
		return -EINVAL;
	return 0;
}

/* Makes dirfd/name appear whole, and only if nothing of that name is there. The way of
 * durable_write() would replace a key that another process made a moment ago. */
static int write_new_file(int dirfd, const char *name, BIO *content, mode_t mode)
{
	char tmp[PATH_MAX];
	char *data;
	unsigned int salt;
	long len = BIO_get_mem_data(content, &data);

	if (len <= 0 || getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
		return -EIO;
	if (snprintf(tmp, sizeof(tmp), ".%s.tmp%08x", name, salt) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	AUTO_CLOSE int fd = openat(
		dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0)
		return -errno;
	int r = io_write(fd, data, (size_t)len);

	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		r = -errno;
	if (r == 0 && linkat(dirfd, tmp, dirfd, name, 0) < 0)
		r = -errno;
	(void)unlinkat(dirfd, tmp, 0);
	if (r == 0 && fsync(dirfd) < 0)
		r = -errno;
	return r;
}

static int write_pair(int dirfd, const char *name, const EVP_PKEY *pkey)
{
	char key_name[REPOSITORY_NAME_MAX + 8];
	char pub_name[REPOSITORY_NAME_MAX + 8];

	/* the secure heap's BIO wipes what it held */
	AUTO_BIO BIO *key_pem = BIO_new(BIO_s_secmem());
	AUTO_BIO BIO *pub_pem = BIO_new(BIO_s_mem());

	if (!key_pem || !pub_pem)
		return -ENOMEM;
	if (PEM_write_bio_PKCS8PrivateKey(key_pem, pkey, NULL, NULL, 0, NULL, NULL) !=
			1 ||
		PEM_write_bio_PUBKEY(pub_pem, pkey) != 1)
		return -EIO;
	(void)snprintf(key_name, sizeof(key_name), "%s.key", name);
	(void)snprintf(pub_name, sizeof(pub_name), "%s.pub", name);
	if (faccessat(dirfd, key_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
		faccessat(dirfd, pub_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	int r = write_new_file(dirfd, key_name, key_pem, 0600);

	if (r < 0)
		return r;
	r = write_new_file(dirfd, pub_name, pub_pem, 0644);
	if (r < 0)
		(void)unlinkat(dirfd, key_name, 0);
	return r;
}

int key_generate(const char *dir, const char *name)
{
	if (!record_name_is_valid(name))
		return -EINVAL;
	int r = io_mkdirs(dir, 0700);

	if (r < 0)
		return r;
	AUTO_CLOSE int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dirfd < 0)
		return -errno;
	AUTO_PKEY EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	r = pkey ? write_pair(dirfd, name, pkey) : -EIO;
	ERR_clear_error();
	return r;
}

/* A key under a pass phrase is refused: nobody is there to type it. */
static int no_passphrase(char *out, int size, int is_writing, void *arg)
{
	(void)out;
	(void)size;
	(void)is_writing;
	(void)arg;
	return -1;
}

/* `mode_mask`: permissions that the file may not have. */
static int read_key_file(const char *path, mode_t mode_mask, struct buffer *out)
{
	struct stat st;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > KEY_FILE_MAX)
		return -EINVAL;
	if (st.st_mode & mode_mask)
		return -EPERM;
	int r = buffer_reserve(out, KEY_FILE_MAX);

	if (r < 0)
		return r;
	ssize_t n = io_read(fd, out->data, KEY_FILE_MAX);

	if (n < 0)
		return (int)n;
	out->len = (size_t)n;
	return 0;
}

static int parse_private(const struct buffer *pem, EVP_PKEY **out)
{
	AUTO_BIO BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);

	if (!bio)
		return -ENOMEM;
	*out = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	ERR_clear_error();
	return *out ? 0 : -EINVAL;
}

int signing_key_load(const char *path, struct signing_key **out)
{
	AUTO_BUFFER struct buffer pem = BUFFER_INIT(KEY_FILE_MAX);
	AUTO_PKEY EVP_PKEY *pkey = NULL;
	uint8_t bytes[PUBLIC_KEY_SIZE];
	int r = read_key_file(path, 0077, &pem);

	if (r == 0)
		r = parse_private(&pem, &pkey);
	if (pem.data)
		OPENSSL_cleanse(pem.data, pem.len);
	if (r == 0)
		r = raw_public_bytes(pkey, bytes);
	if (r < 0)
		return r;
	AUTO_FREE struct signing_key *key = mem_calloc(1, sizeof(*key));

	if (!key)
		return -ENOMEM;
	r = public_key_from_bytes(bytes, &key->public);
	if (r < 0)
		return r;
	key->pkey = TAKE_PTR(pkey);
	*out = TAKE_PTR(key);
	return 0;
}

void signing_key_free(struct signing_key *key)
{
	if (!key)
		return;
	EVP_PKEY_free(key->pkey);
	free(key);
}

const struct public_key *signing_key_public(const struct signing_key *key)
{
	return &key->public;
}

int signing_key_sign(const struct signing_key *key, const void *data, size_t len,
	uint8_t out[SIGNATURE_SIZE])
{
	AUTO_MD_CTX EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t size = SIGNATURE_SIZE;

	if (!ctx)
		return -ENOMEM;
	int is_done = EVP_DigestSignInit_ex(
			      ctx, NULL, NULL, NULL, NULL, key->pkey, NULL) == 1 &&
		      EVP_DigestSign(ctx, out, &size, data, len) == 1 &&
		      size == SIGNATURE_SIZE;

	ERR_clear_error();
	return is_done ? 0 : -EIO;
}

/* Adds the next PEM block's key. Returns 1, 0 at the end, or -errno. */
static int read_public_block(BIO *bio, struct key_ring *ring)
{
	char *name = NULL;
	char *header = NULL;
	unsigned char *der = NULL;
	uint8_t bytes[PUBLIC_KEY_SIZE];
	AUTO_PKEY EVP_PKEY *pkey = NULL;
	long len;

	if (PEM_read_bio(bio, &name, &header, &der, &len) != 1)
		return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE
			       ? 0
			       : -EINVAL;
	const unsigned char *p = der;

	if (strcmp(name, PEM_STRING_PUBLIC) == 0)
		pkey = d2i_PUBKEY(NULL, &p, len);
	int r = pkey ? raw_public_bytes(pkey, bytes) : -EINVAL;

	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_clear_free(der, (size_t)len);
	if (r == 0)
		r = key_ring_add(ring, bytes);
	return r < 0 ? r : 1;
}

int key_ring_load(const char *path, struct key_ring *out)
{
	AUTO_BUFFER struct buffer pem = BUFFER_INIT(KEY_FILE_MAX);
	struct key_ring ring = {0};
	int r = read_key_file(path, 0, &pem);

	if (r < 0)
		return r;
	AUTO_BIO BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);

	if (!bio)
		return -ENOMEM;
	do
		r = read_public_block(bio, &ring);
	while (r > 0);
	ERR_clear_error();
	if (r < 0)
		return r;
	if (ring.count == 0)
		return -EINVAL;
	*out = ring;
	return 0;
}

int key_ring_add(struct key_ring *ring, const uint8_t bytes[PUBLIC_KEY_SIZE])
{
	struct public_key key;
	int r = public_key_from_bytes(bytes, &key);

	if (r < 0)
		return r;
	const struct public_key *known = key_ring_find(ring, key.id);

	if (known)
		return memcmp(known->bytes, bytes, PUBLIC_KEY_SIZE) == 0 ? 0 : -EINVAL;
	if (ring->count == KEY_RING_MAX)
		return -E2BIG;
	ring->keys[ring->count++] = key;
	return 0;
}

const struct public_key *key_ring_find(const struct key_ring *ring, const char *id)
{
	for (size_t i = 0; i < ring->count; i++)
		if (strcmp(ring->keys[i].id, id) == 0)
			return &ring->keys[i];
	return NULL;
}

bool public_key_verifies(const struct public_key *key, const void *data, size_t len,
	const uint8_t signature[SIGNATURE_SIZE])
{
	AUTO_PKEY EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key_ex(
		NULL, "ED25519", NULL, key->bytes, PUBLIC_KEY_SIZE);
	AUTO_MD_CTX EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool is_valid =
		pkey && ctx &&
		EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, pkey, NULL) == 1 &&
		EVP_DigestVerify(ctx, signature, SIGNATURE_SIZE, data, len) == 1;

	ERR_clear_error();
	return is_valid;
}
