/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writes the fuzzers' seeds: DIR/<target>/sound-... and should-fail-<why>. Always the same
 * bytes, so that none of them has to be kept in the repository.
 */
#include "cache/base/data/compress.h"
#include "cache/base/disk/io.h"
#include "cache/base/threads/clock.h"
#include "cache/catalog/stored/catalog_codec.h"
#include "tests/cache/sample_catalog.h"
#include "tests/fuzz/fuzz_key.h"
#include "tests/support/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* PKCS#8 of the Ed25519 key made of the bytes 0 to 31 (RFC 8410). */
static const char private_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
	"-----END PRIVATE KEY-----\n";

static int top_fd;

static void must(bool condition, const char *what)
{
	if (condition)
		return;
	(void)fprintf(stderr, "make_corpus: %s failed\n", what);
	exit(1);
}

static void save(const char *target, const char *name, const void *data, size_t len)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", target, name);
	must(mkdirat(top_fd, target, 0755) == 0 || errno == EEXIST, target);
	int fd = openat(top_fd, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	must(fd >= 0 && io_write(fd, data, len) == 0 && close(fd) == 0, path);
}

static void *section(uint8_t *data, enum catalog_section s)
{
	return data + ((const struct catalog_header *)(void *)data)->sections[s].offset;
}

/* Entries of the sample by their place: breadth first, by name (sample_catalog.h). */
enum { TOP, A, NULL_DEVICE, PACK, PIPE, SMALL, SPARSE, TO };

static void save_catalog_lie(
	const struct built_catalog *built, const char *name, void (*tell)(uint8_t *data))
{
	uint8_t *copy = malloc(built->len);

	must(copy != NULL, name);
	memcpy(copy, built->data, built->len);
	tell(copy);
	save("catalog", name, copy, built->len);
	free(copy);
}

static void wrong_magic(uint8_t *data)
{
	data[0] = 'D';
}

static void entries_outside(uint8_t *data)
{
	((struct catalog_header *)(void *)data)->sections[CATALOG_ENTRIES].count = 1
										   << 20;
}

static void nested_file(uint8_t *data)
{
	((struct catalog_entry *)section(data, CATALOG_ENTRIES))[SMALL].flags =
		CATALOG_ENTRY_NESTED;
}

static void file_linked_to_a_directory(uint8_t *data)
{
	struct catalog_entry *entries = section(data, CATALOG_ENTRIES);

	entries[SMALL].link = A;
	entries[SMALL].ino = entries[A].ino;
}

static void name_with_a_slash(uint8_t *data)
{
	struct catalog_entry *entries = section(data, CATALOG_ENTRIES);

	((char *)section(data, CATALOG_NAMES))[entries[SMALL].name] = '/';
}

static void chunk_that_is_not_listed(uint8_t *data)
{
	((struct catalog_frame *)section(data, CATALOG_FRAMES))[0].chunk_count--;
}

static void attribute_of_no_name(uint8_t *data)
{
	memset(section(data, CATALOG_XATTR_DATA), 0, 2);
}

static void save_catalogs(void)
{
	struct built_catalog *built = sample_catalog();
	struct built_catalog *nested = sample_nested_catalog();
	struct built_catalog *empty = builder_finish(builder_new(""));

	save("catalog", "sound-of-everything", built->data, built->len);
	save("catalog", "sound-nested", nested->data, nested->len);
	save("catalog", "sound-empty", empty->data, empty->len);
	save("catalog", "should-fail-cut-short", built->data, built->len - 8);
	save("catalog", "should-fail-no-bytes", "", 0);
	save_catalog_lie(built, "should-fail-wrong-magic", wrong_magic);
	save_catalog_lie(built, "should-fail-entries-outside", entries_outside);
	save_catalog_lie(built, "should-fail-nested-file", nested_file);
	save_catalog_lie(
		built, "should-fail-linked-to-a-directory", file_linked_to_a_directory);
	save_catalog_lie(built, "should-fail-name-with-a-slash", name_with_a_slash);
	save_catalog_lie(built, "should-fail-chunk-not-listed", chunk_that_is_not_listed);
	save_catalog_lie(built, "should-fail-attribute-of-no-name", attribute_of_no_name);
	built_free(empty);
	built_free(nested);
	built_free(built);
}

/* Four bytes of expected size, the stored form; and the decoded form, for the fuzzer to start from. */
static void save_stored_catalog(const char *name, const struct built_catalog *built)
{
	AUTO_BUFFER struct buffer stored = BUFFER_INIT(CATALOG_STORED_MAX);
	char of[64];
	uint32_t size = (uint32_t)built->len;
	uint8_t *data;

	must(buffer_add(&stored, &size, sizeof(size)) == 0, name);
	must(catalog_encode(built->data, built->len, 3, &stored) == 0, name);
	data = stored.data;
	(void)snprintf(of, sizeof(of), "sound-%s", name);
	save("catalog_codec", of, data, stored.len);
	(void)snprintf(of, sizeof(of), "should-fail-cut-short-%s", name);
	save("catalog_codec", of, data, stored.len - 1);
	data[0] ^= 8;
	(void)snprintf(of, sizeof(of), "should-fail-of-another-size-%s", name);
	save("catalog_codec", of, data, stored.len);
	data[0] ^= 8;
	data[sizeof(size)] ^= 1;
	(void)snprintf(of, sizeof(of), "should-fail-wrong-magic-%s", name);
	save("catalog_codec", of, data, stored.len);
	stored.len = sizeof(size);
	must(buffer_add(&stored, built->data, built->len) == 0, name);
	(void)snprintf(of, sizeof(of), "should-fail-not-stored-%s", name);
	save("catalog_codec", of, stored.data, stored.len);
}

/* A sound frame whose sections lie on top of each other. */
static void save_overlapping_sections(void)
{
	struct built_catalog *built = sample_catalog();
	struct catalog_header *h = (void *)built->data;
	size_t room = compress_bound(built->len);
	uint32_t size = (uint32_t)built->len;
	uint8_t *out = malloc(sizeof(size) + CATALOG_STORED_MAGIC_BYTES + room);
	size_t head = sizeof(size) + CATALOG_STORED_MAGIC_BYTES;
	size_t len;

	must(out != NULL, "memory");
	h->sections[CATALOG_CHUNKS].offset = h->sections[CATALOG_ENTRIES].offset;
	memcpy(out, &size, sizeof(size));
	memcpy(out + sizeof(size), CATALOG_STORED_MAGIC, CATALOG_STORED_MAGIC_BYTES);
	must(compress_encode(built->data, built->len, 3, out + head, room, &len) == 0,
		"encoding");
	save("catalog_codec", "should-fail-overlapping-sections", out, head + len);
	free(out);
	built_free(built);
}

static void save_stored_catalogs(void)
{
	struct built_catalog *built = sample_catalog();
	struct built_catalog *nested = sample_nested_catalog();
	struct built_catalog *empty = builder_finish(builder_new(""));

	save_stored_catalog("of-everything", built);
	save_stored_catalog("nested", nested);
	save_stored_catalog("empty", empty);
	save_overlapping_sections();
	built_free(empty);
	built_free(nested);
	built_free(built);
}

static void save_frames(void)
{
	uint8_t raw[3000];
	uint8_t packed[4096];
	uint32_t size = sizeof(raw);
	size_t len;

	memset(raw, 'x', sizeof(raw));
	memcpy(raw + 1000, "something else", 14);
	memcpy(packed, &size, sizeof(size));
	must(compress_encode(raw, sizeof(raw), 3, packed + 4, sizeof(packed) - 4, &len) ==
			0,
		"encoding");
	save("frame", "sound-frame", packed, len + 4);
	save("frame", "should-fail-cut-short", packed, len);
	size--;
	memcpy(packed, &size, sizeof(size));
	save("frame", "should-fail-longer-than-said", packed, len + 4);
	packed[4] ^= 1;
	save("frame", "should-fail-no-frame", packed, len + 4);
	save("frame", "should-fail-no-bytes", "", 0);
}

static struct signing_key *load_key(void)
{
	struct signing_key *key;
	char path[TEMPORARY_SIZE];
	int fd = temporary_file(path, sizeof(path), "corpus");

	must(fd >= 0 && io_write(fd, private_key, sizeof(private_key) - 1) == 0, path);
	close(fd);
	int r = signing_key_load(path, &key);

	(void)unlink(path);
	must(r == 0, "loading the key");
	must(memcmp(signing_key_public(key)->bytes, fuzz_public_key, PUBLIC_KEY_SIZE) ==
			0,
		"fuzz_key.h: it belongs to another key; it");
	return key;
}

/* A record, and what may not pass of it. */
static void save_record(const char *target, const struct buffer *text)
{
	char *copy = malloc(text->len + 1);

	must(copy != NULL, target);
	memcpy(copy, text->data, text->len);
	copy[text->len] = '\0';
	save(target, "sound-record", copy, text->len);
	save(target, "should-fail-cut-short", copy, text->len / 2);
	save(target, "should-fail-no-bytes", "", 0);
	copy[text->len] = '\n';
	save(target, "should-fail-a-byte-too-many", copy, text->len + 1);
	/* an even number is another's; the signature does not cover it any more */
	char *digit = memchr(copy, '1', text->len);

	must(digit != NULL, target);
	*digit = '2';
	save(target, "should-fail-forged", copy, text->len);
	*digit = '1';
	char *line = memmem(copy, text->len, "\nsignature ", 11);

	must(line != NULL, target);
	save(target, "should-fail-not-signed", copy, (size_t)(line + 1 - copy));
	copy[line + 12 - copy] ^= 1;
	save(target, "should-fail-signed-by-a-stranger", copy, text->len);
	free(copy);
}

/* Its line once more: a head has one policy. */
static void save_policy_lie(const struct buffer *text)
{
	AUTO_BUFFER struct buffer copy = BUFFER_INIT(RECORD_MAX_BYTES);
	const char *line = memmem(text->data, text->len, "policy ", 7);

	must(line != NULL, "the line of a policy");
	size_t before = (size_t)((const uint8_t *)line - text->data);
	size_t len = (size_t)(strchr(line, '\n') + 1 - line);

	must(buffer_add(&copy, text->data, before + len) == 0 &&
			buffer_add(&copy, text->data + before, text->len - before) == 0,
		"copying a head");
	save("head", "should-fail-two-policies", copy.data, copy.len);
}

static void save_records(void)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	struct signing_key *key = load_key();
	struct catalog_ref root = {
		.digest = {{1, 2, 3}}, .stored_bytes = 100, .raw_bytes = 200};
	struct head head = {.id = FUZZ_ID,
		.channel = "stable",
		.sequence = 11,
		.revision = 12,
		.root = root,
		.published_ns = INT64_C(1772366400) * NS_PER_SEC,
		.expires_ns = INT64_C(1872366400) * NS_PER_SEC};
	struct revision revision = {.id = FUZZ_ID,
		.number = 11,
		.root = root,
		.tree_entries = 1000,
		.tree_bytes = 100000,
		.published_ns = INT64_C(1772366400) * NS_PER_SEC,
		.message = "a message"};
	struct trust trust;

	fuzz_trust(&trust);
	must(head_encode(&head, key, &text) == 0, "head");
	save_record("head", &text);
	text.len = 0;
	head.policy = (struct policy_ref){.digest = {{4, 5}}, .bytes = 1000};
	must(head_encode(&head, key, &text) == 0, "head with a policy");
	save("head", "sound-with-a-policy", text.data, text.len);
	save_policy_lie(&text);
	text.len = 0;
	must(revision_encode(&revision, key, &text) == 0, "revision");
	save_record("revision", &text);
	text.len = 0;
	must(trust_encode(&trust, key, &text) == 0, "trust");
	save_record("trust", &text);
	signing_key_free(key);
}

static void save_urls(void)
{
	static const struct {
		const char *name;
		const char *url;
	} urls[] = {{"sound-https", "https://user:secret@host:8443/depot?x=@#y"},
		{"sound-file", "file:///srv/depot"}, {"sound-sftp", "SFTP://a@b@c/d"},
		{"should-fail-no-scheme", "srv/depot"},
		{"should-fail-unknown-scheme", "gopher://host/"},
		{"should-fail-nothing", ""}};

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++)
		save("url", urls[i].name, urls[i].url, strlen(urls[i].url));
}

static void save_policies(void)
{
	static const struct {
		const char *name;
		const char *text;
	} policies[] = {
		{"sound-all-of-it",
			"; comment\n[schedule night]\nlabel = a b:c\nwhen = second "
			"tuesday + 31 "
			"days at 02:30\ntz = Europe/Oslo\nsplay = 30 minutes\nmode = "
			"full\npackages = a/* b\n  c\nprefetch = x/*\nrate = 2.5Mbit\n"},
		{"sound-cron",
			"[schedule c]\nwhen = */15,1 0-8/2 29 feb-mar sun\n[schedule "
			"rare]\nwhen = 0 * 29 2 */7\n[schedule e]\nwhen = every 7 hours\n"
			"[schedule d]\nwhen = every 5 days at 01:00\n"},
		{"sound-windows",
			"[windows w]\nallow = mon-fri 20:00-06:00 rate idle, sat,\n  sun "
			"02:00-03:00 rate 1k\ntz = America/New_York\n"},
		{"sound-nothing", ""},
		{"should-fail-no-when", "[schedule a]\nmode = full\n"},
		{"should-fail-no-section", "when = daily\n"},
		{"should-fail-half-a-header", "[schedule a\nwhen = daily\n"},
		{"should-fail-30-february", "[schedule a]\nwhen = 0 0 30 2 *\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		save("policy", policies[i].name, policies[i].text,
			strlen(policies[i].text));
}

int main(int argc, char **argv)
{
	must(argc == 2, "usage: make_corpus DIR; it");
	must(io_mkdirs(argv[1], 0755) == 0, argv[1]);
	top_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(top_fd >= 0, argv[1]);
	save_catalogs();
	save_stored_catalogs();
	save_frames();
	save_records();
	save_urls();
	save_policies();
	close(top_fd);
	return 0;
}
