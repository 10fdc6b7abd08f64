/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Publishes, rightly signed, what no publisher of ours would:
 *
 *	hostile_depot DEPOT KEYS/NAME CASE
 *
 * gives channel stable of a depot a head one further on, whose tree is
 *
 *	README, pkg/ (a package of packages), pkg/a/VERSION
 *
 * and wrong by CASE (see `cases`), but for "sound". Content lies in the depot, too.
 */
#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/catalog/catalog_check.h"
#include "cache/catalog/stored/catalog_codec.h"
#include "sync/trust/key.h"
#include "sync/trust/record.h"
#include "tests/support/catalog_builder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BOMB_LEVELS 40

static int depot; /* its directory */

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	(void)fprintf(stderr, "hostile_depot: %s: %s\n", what, strerror(-r));
	exit(1);
}

static void write_object(
	const char *kind, const struct digest *digest, const void *data, size_t len)
{
	char hex[DIGEST_HEX_SIZE];
	char path[128];

	digest_to_hex(digest, hex);
	(void)snprintf(path, sizeof(path), "%s/%.2s", kind, hex);
	if (mkdirat(depot, path, 0755) < 0 && errno != EEXIST)
		must(-errno, path);
	(void)snprintf(path, sizeof(path), "%s/%.2s/%s", kind, hex, hex);
	AUTO_CLOSE int fd =
		openat(depot, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	must(fd < 0 ? -errno : io_write(fd, data, len), path);
}

static void write_pack(const struct built_catalog *built)
{
	AUTO_BUFFER struct buffer pack = BUFFER_INIT(PACK_MAX_BYTES);

	for (size_t i = 0; i < built->frame_count; i++)
		must(buffer_add(&pack, built->frames[i].data, built->frames[i].length),
			"pack");
	if (pack.len)
		write_object("pack", &built->pack, pack.data, pack.len);
}

/* What has been put into the depot, to be freed in the end. */
static struct built_catalog *all_put[64];
static size_t put_count;

/* Names it by what it holds now, and puts it in the depot; it is kept until free_all(). */
static struct built_catalog *put(struct built_catalog *built)
{
	AUTO_BUFFER struct buffer stored = BUFFER_INIT(CATALOG_STORED_MAX);

	must(digest_of(built->data, built->len, &built->ref.digest), "digest");
	must(catalog_encode(built->data, built->len, 3, &stored),
		"a catalog's stored form");
	built->ref.stored_bytes = stored.len;
	write_object("catalog", &built->ref.digest, stored.data, stored.len);
	write_pack(built);
	must(put_count < ARRAY_SIZE(all_put) ? 0 : -E2BIG, "catalogs of a case");
	all_put[put_count++] = built;
	return built;
}

static void free_all(void)
{
	while (put_count)
		built_free(all_put[--put_count]);
}

static struct catalog_header *header(struct built_catalog *built)
{
	return (struct catalog_header *)(void *)built->data;
}

static void *section(struct built_catalog *built, enum catalog_section s)
{
	return built->data + header(built)->sections[s].offset;
}

static void file(struct catalog_builder *b, const char *name, const char *text)
{
	builder_file(b, BUILDER_TOP, name, text, strlen(text), 1000);
}

/* pkg/a, or what says so. */
static struct catalog_builder *leaf(const char *path)
{
	struct catalog_builder *b = builder_new(path);

	file(b, "VERSION", "hostile");
	return b;
}

/* The tree around pkg/a. */
static struct built_catalog *around(struct built_catalog *a)
{
	struct catalog_builder *pkg = builder_new("pkg");
	struct catalog_builder *root = builder_new("");

	builder_nested(pkg, BUILDER_TOP, "a", a);
	builder_nested(root, BUILDER_TOP, "pkg", put(builder_finish(pkg)));
	file(root, "README", "hostile");
	return put(builder_finish(root));
}

static struct built_catalog *sound(void)
{
	return around(put(builder_finish(leaf("pkg/a"))));
}

/* With a mirror's own marks: the flag, and the section LOCAL, which do not travel one without the other. */
static struct built_catalog *composed(void)
{
	struct built_catalog *a = builder_finish(leaf("pkg/a"));
	struct catalog_builder *pkg = builder_new("pkg");
	struct catalog_builder *root = builder_new("");

	put(a);
	builder_revision(pkg, builder_nested(pkg, BUILDER_TOP, "a", a), 1);
	builder_nested(root, BUILDER_TOP, "pkg", put(builder_finish(pkg)));
	return put(builder_finish(root));
}

static struct built_catalog *stale(void)
{
	struct built_catalog *a = builder_finish(leaf("pkg/a"));
	struct catalog_entry *entries = section(a, CATALOG_ENTRIES);

	entries[1].flags |= CATALOG_ENTRY_STALE;
	return around(put(a));
}

static struct built_catalog *twice(void)
{
	struct catalog_builder *b = leaf("pkg/a");

	file(b, "VERSIOM", "another");
	struct built_catalog *a = builder_finish(b);
	const struct catalog_entry *entries = section(a, CATALOG_ENTRIES);

	((char *)section(a, CATALOG_NAMES))[entries[1].name + 6] = 'N';
	return around(put(a));
}

static struct built_catalog *entries(void)
{
	struct built_catalog *a = builder_finish(leaf("pkg/a"));

	header(a)->tree_entries += 1000;
	return around(put(a));
}

/* What pkg says of pkg/a adds up; it is only not so. */
static struct built_catalog *claims(void)
{
	struct built_catalog *a = put(builder_finish(leaf("pkg/a")));

	header(a)->tree_entries +=
		1000; /* after it was put: for who looks at it to name it */
	return around(a);
}

static struct built_catalog *path(void)
{
	return around(put(builder_finish(leaf("pkg/b"))));
}

/* As near as a digest lets it come: pkg/a/a is pkg/a as it was. */
static struct built_catalog *itself(void)
{
	struct built_catalog *inner = put(builder_finish(leaf("pkg/a")));
	struct catalog_builder *b = leaf("pkg/a");

	builder_nested(b, BUILDER_TOP, "a", inner);
	return around(put(builder_finish(b)));
}

/* Forty small catalogs, each of which the one above has twice: 2^40 packages. */
static struct built_catalog *bomb(void)
{
	char at[2 * BOMB_LEVELS + 8] = "pkg/a";
	size_t len = strlen(at);

	for (int i = 0; i < BOMB_LEVELS; i++)
		(void)snprintf(at + len + (size_t)(2 * i), 3, "/0");
	struct built_catalog *below = put(builder_finish(leaf(at)));

	for (int i = BOMB_LEVELS; i-- > 0;) {
		at[len + (size_t)(2 * i)] = '\0';
		struct catalog_builder *b = builder_new(at);

		builder_nested(b, BUILDER_TOP, "0", below);
		builder_nested(b, BUILDER_TOP, "1", below);
		below = put(builder_finish(b));
	}
	return around(below);
}

static const struct wrong {
	const char *name;
	struct built_catalog *(*build)(void);
} cases[] = {
	{"sound", sound}, {"composed", composed}, /* pkg says that a mirror composed it */
	{"stale", stale},			  /* an entry of pkg/a says that it is */
	{"twice", twice},			  /* two entries of one name */
	{"entries", entries}, /* pkg/a says that it has more than it has */
	{"claims", claims},   /* pkg says so of pkg/a */
	{"path", path},	      /* pkg/a is the catalog of pkg/b */
	{"itself", itself},   /* pkg/a is in pkg/a */
	{"bomb", bomb},	      /* one catalog in many places */
};

static const struct wrong *find_case(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (strcmp(cases[i].name, name) == 0)
			return &cases[i];
	must(-EINVAL, name);
	return NULL;
}

static void sign_head(const char *keys, const struct catalog_ref *root)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(RECORD_MAX_BYTES);
	AUTO_BUFFER struct buffer signed_head = BUFFER_INIT(RECORD_MAX_BYTES);
	struct signing_key *key;
	struct key_ring ring = {0};
	struct trust trust;
	struct head head;
	char name[PATH_MAX];

	(void)snprintf(name, sizeof(name), "%s.pub", keys);
	must(key_ring_load(name, &ring), name);
	(void)snprintf(name, sizeof(name), "%s.key", keys);
	must(signing_key_load(name, &key), name);
	must(io_read_file(depot, "trust", &text), "trust");
	must(trust_decode(text.data, text.len, &ring, &trust), "trust");
	text.len = 0;
	must(io_read_file(depot, "channel/stable", &text), "channel/stable");
	must(head_decode(text.data, text.len, &trust, &head), "channel/stable");
	head.sequence++;
	head.revision++;
	head.root = *root;
	must(head_encode(&head, key, &signed_head), "head");
	AUTO_CLOSE int fd = openat(depot, "channel/stable.new",
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	must(fd < 0 ? -errno : io_write(fd, signed_head.data, signed_head.len), "head");
	if (renameat(depot, "channel/stable.new", depot, "channel/stable") < 0)
		must(-errno, "channel/stable");
	signing_key_free(key);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		must(-EINVAL, "usage: hostile_depot DEPOT KEYS/NAME CASE");
	depot = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (depot < 0)
		must(-errno, argv[1]);
	const struct built_catalog *root = find_case(argv[3])->build();

	sign_head(argv[2], &root->ref);
	free_all();
	close(depot);
	return 0;
}
