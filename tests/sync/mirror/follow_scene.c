/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/mirror/follow_scene.h"
#include "tests/support/temporary.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct depot depot;
struct depot cache;
struct signing_key *keys[2];
struct key_ring ring;
int cache_fd = -1;
struct follower_result result;
struct fetcher *fetcher;
struct follower *follower;

void put(const char *name, const struct buffer *text)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/channel", depot.dir);
	assert_int_equal(io_mkdirs(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/%s", depot.dir, name);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, text->data, text->len), 0);
}

void put_trust(const char *id, uint64_t version, size_t first_key, size_t key_count,
	size_t signer, size_t other_signer)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct trust trust = {.name = "packages", .version = version, .threshold = 1};

	(void)snprintf(trust.id, sizeof(trust.id), "%s", id);
	for (size_t i = first_key; i < first_key + key_count; i++)
		assert_int_equal(
			key_ring_add(&trust.keys, signing_key_public(keys[i])->bytes), 0);
	assert_int_equal(trust_encode(&trust, keys[signer], &text), 0);
	if (other_signer != signer)
		assert_int_equal(record_add_signature(&text, keys[other_signer]), 0);
	put("trust", &text);
}

void put_head(const char *id, uint64_t sequence, uint64_t revision, int64_t expires_ns,
	size_t signer)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct head head = {.channel = "stable",
		.sequence = sequence,
		.revision = revision,
		.root = depot.catalog,
		.published_ns = NOW,
		.expires_ns = expires_ns};

	(void)snprintf(head.id, sizeof(head.id), "%s", id);
	assert_int_equal(head_encode(&head, keys[signer], &text), 0);
	put("channel/stable", &text);
}

void finish(void)
{
	follower_free(follower);
	follower = NULL;
	fetcher_free(fetcher);
}

int follow(const char *urls, const char *channel)
{
	const struct fetcher_config config = {
		.urls = urls, .timeout_ms = FOLLOW_TIMEOUT_MS};

	result = (struct follower_result){0};
	assert_int_equal(fetcher_new(&config, &fetcher), 0);
	int r = follower_new(cache_fd, &ring, channel, fetcher, &follower);

	if (r == 0)
		r = follower_open(follower, &result);
	finish();
	return r;
}

void begin(const char *urls)
{
	const struct fetcher_config config = {
		.urls = urls, .timeout_ms = FOLLOW_TIMEOUT_MS};

	assert_int_equal(fetcher_new(&config, &fetcher), 0);
	assert_int_equal(follower_new(cache_fd, &ring, "stable", fetcher, &follower), 0);
	assert_int_equal(follower_open(follower, &result), 0);
	assert_true(result.is_online);
}

enum follower_outcome poll_once(void)
{
	assert_int_equal(follower_poll(follower, &result), 0);
	return result.outcome;
}

int make(void **state)
{
	static const char *const names[] = {"a", "b"};
	char path[128];

	(void)state;
	depot_make(&depot);
	cache = (struct depot){0};
	if (!temporary_dir(cache.dir, sizeof(cache.dir), "follow"))
		return -1;
	cache_fd = open(cache.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/keys/%s.key", depot.dir, names[i]);
		path[strlen(path) - strlen("/a.key")] = '\0';
		if (key_generate(path, names[i]) < 0)
			return -1;
		(void)snprintf(path, sizeof(path), "%s/keys/%s.key", depot.dir, names[i]);
		if (signing_key_load(path, &keys[i]) < 0)
			return -1;
	}
	ring = (struct key_ring){0};
	return key_ring_add(&ring, signing_key_public(keys[0])->bytes);
}

int clean(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		signing_key_free(keys[i]);
	close(cache_fd);
	depot_remove(&depot);
	depot_remove(&cache);
	return 0;
}
