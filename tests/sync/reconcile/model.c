/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/reconcile/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int compare_paths(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	int x = *a == '/' ? 1 : (unsigned char)*a + (*a != 0);
	int y = *b == '/' ? 1 : (unsigned char)*b + (*b != 0);

	return x - y;
}

bool model_is_dir(const struct model_entry *e)
{
	return e && (e->kind == MODEL_DIR || e->kind == MODEL_PACKAGE);
}

static size_t place_of(const struct model *m, const char *path)
{
	size_t i = 0;

	while (i < m->count && compare_paths(m->entries[i].path, path) < 0)
		i++;
	return i;
}

struct model_entry *model_find(const struct model *m, const char *path)
{
	size_t i = place_of(m, path);

	return i < m->count && strcmp(m->entries[i].path, path) == 0 ? &m->entries[i]
								     : NULL;
}

static void add_above(struct model *m, const char *path)
{
	struct model_entry above = {.kind = MODEL_DIR};
	const char *slash = strrchr(path, '/');

	if (!slash)
		return;
	memcpy(above.path, path, (size_t)(slash - path));
	if (!model_find(m, above.path))
		model_set(m, &above);
}

struct model_entry *model_set(struct model *m, const struct model_entry *e)
{
	struct model_entry copy = *e;

	add_above(m, copy.path);
	struct model_entry *found = model_find(m, copy.path);

	if (!found) {
		size_t i = place_of(m, copy.path);

		m->entries = realloc(m->entries, (m->count + 1) * sizeof(*m->entries));
		assert_non_null(m->entries);
		memmove(m->entries + i + 1, m->entries + i,
			(m->count - i) * sizeof(*m->entries));
		m->count++;
		found = &m->entries[i];
	}
	*found = copy;
	return found;
}

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && path[len] == '/';
}

void model_remove(struct model *m, const char *path)
{
	char copy[MODEL_TEXT_MAX];
	size_t kept = 0;

	(void)snprintf(copy, sizeof(copy), "%s", path);
	for (size_t i = 0; i < m->count; i++)
		if (strcmp(m->entries[i].path, copy) != 0 &&
			!is_below(m->entries[i].path, copy))
			m->entries[kept++] = m->entries[i];
	m->count = kept;
}

static void parse_one(struct model *m, char *word)
{
	struct model_entry e = {.kind = MODEL_DIR};
	size_t len = strlen(word);
	char *mark;

	if (len && word[len - 1] == '!') {
		e.is_stale = true;
		word[--len] = '\0';
	}
	if ((mark = strrchr(word, '~'))) {
		e.mtime = (int)strtol(mark + 1, NULL, 10);
		*mark = '\0';
		len = strlen(word);
	}
	if ((mark = strchr(word, '=')) || (mark = strchr(word, '@'))) {
		e.kind = *mark == '=' ? MODEL_FILE : MODEL_LINK;
		(void)snprintf(e.content, sizeof(e.content), "%s", mark + 1);
		*mark = '\0';
	} else {
		e.kind = len > 1 && word[len - 2] == '/' ? MODEL_PACKAGE : MODEL_DIR;
		word[len - (e.kind == MODEL_PACKAGE ? 2 : 1)] = '\0';
	}
	(void)snprintf(e.path, sizeof(e.path), "%s", word);
	model_set(m, &e);
}

void model_parse(struct model *m, const char *text)
{
	char *copy = strdup(text);
	char *rest = copy;

	*m = (struct model){0};
	assert_non_null(copy);
	for (char *word; (word = strsep(&rest, " "));)
		if (*word)
			parse_one(m, word);
	free(copy);
}

void model_release(struct model *m)
{
	free(m->entries);
	*m = (struct model){0};
}

void model_copy(struct model *m, const struct model *from)
{
	*m = (struct model){.count = from->count};
	m->entries = malloc((from->count + 1) * sizeof(*m->entries));
	assert_non_null(m->entries);
	if (from->count)
		memcpy(m->entries, from->entries, from->count * sizeof(*m->entries));
}

char *model_text(const struct model *m, bool has_packages)
{
	char *text = malloc(m->count * (2 * MODEL_TEXT_MAX + 32) + 1);
	size_t at = 0;

	assert_non_null(text);
	text[0] = '\0';
	for (size_t i = 0; i < m->count; i++) {
		const struct model_entry *e = &m->entries[i];

		at += (size_t)sprintf(text + at, "%s%s%s%s", i ? " " : "", e->path,
			e->kind == MODEL_FILE			   ? "="
			: e->kind == MODEL_LINK			   ? "@"
			: e->kind == MODEL_PACKAGE && has_packages ? "//"
								   : "/",
			e->content);
		if (e->mtime)
			at += (size_t)sprintf(text + at, "~%lld", (long long)e->mtime);
		if (e->is_stale)
			at += (size_t)sprintf(text + at, "!");
	}
	return text;
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The last entry below `i`, or `i`: one past it. */
static size_t end_of(const struct model *m, size_t i)
{
	size_t end = i + 1;

	while (end < m->count && is_below(m->entries[end].path, m->entries[i].path))
		end++;
	return end;
}

static struct built_catalog *build_range(const struct model *m, const char *path,
	int64_t mtime, size_t first, size_t end, struct model_catalogs *out);

static void add_children(const struct model *m, struct catalog_builder *b,
	uint32_t parent, size_t first, size_t end, struct model_catalogs *out)
{
	uint32_t subdirectories = 0;

	for (size_t i = first; i < end; i = end_of(m, i)) {
		const struct model_entry *e = &m->entries[i];
		const char *name = name_of(e->path);
		uint32_t h;

		switch (e->kind) {
		case MODEL_FILE:
			h = builder_file(
				b, parent, name, e->content, strlen(e->content), 64);
			break;
		case MODEL_LINK:
			h = builder_symlink(b, parent, name, e->content);
			break;
		case MODEL_DIR:
			h = builder_dir(b, parent, name);
			add_children(m, b, h, i + 1, end_of(m, i), out);
			subdirectories++;
			break;
		default:
			h = builder_nested(b, parent, name,
				build_range(
					m, e->path, e->mtime, i + 1, end_of(m, i), out));
			subdirectories++;
			break;
		}
		builder_mtime(b, h, e->mtime);
		if (e->is_stale)
			builder_stale(b, h);
	}
	builder_subdirectories(b, parent, subdirectories);
}

static struct built_catalog *build_range(const struct model *m, const char *path,
	int64_t mtime, size_t first, size_t end, struct model_catalogs *out)
{
	struct catalog_builder *b = builder_new(path);

	builder_mtime(b, BUILDER_TOP, mtime);
	add_children(m, b, BUILDER_TOP, first, end, out);
	struct built_catalog *built = builder_finish(b);

	out->built = realloc(out->built, (out->count + 1) * sizeof(void *));
	assert_non_null(out->built);
	out->built[out->count++] = built;
	return built;
}

void model_build(const struct model *m, struct model_catalogs *out)
{
	*out = (struct model_catalogs){0};
	out->root = build_range(m, "", 0, 0, m->count, out)->ref;
}

void model_catalogs_release(struct model_catalogs *c)
{
	for (size_t i = 0; i < c->count; i++)
		built_free(c->built[i]);
	free(c->built);
	*c = (struct model_catalogs){0};
}

void model_keep(const struct model_catalogs *c, struct catalog_store *store)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct catalog_header *h = (const void *)c->built[i]->data;
		struct catalog *opened;

		if (h->flags & CATALOG_COMPOSED) {
			assert_int_equal(catalog_store_put_composed(store,
						 &c->built[i]->ref, c->built[i]->data),
				0);
			continue;
		}
		assert_int_equal(catalog_store_put(store, &c->built[i]->ref,
					 c->built[i]->data, &opened),
			0);
		catalog_close(opened);
	}
}

void model_serve(const struct model_catalogs *c, struct fake_source *source)
{
	for (size_t i = 0; i < c->count; i++)
		fake_source_serve(source, c->built[i]);
}

static void read_content(
	const struct catalog *c, const struct catalog_entry *e, struct model_entry *out)
{
	const struct catalog_content *content = catalog_content_of(c, e);

	if (S_ISLNK(e->mode)) {
		memcpy(out->content, c->targets + e->first, e->count);
		return;
	}
	if (!content)
		return;
	/* contents of these trees are short and are their own names: told by trying */
	for (unsigned int i = 0; i < 10000; i++) {
		struct digest digest;
		int len = snprintf(out->content, sizeof(out->content), "%u", i);

		assert_int_equal(digest_of(out->content, (size_t)len, &digest), 0);
		if (digest_equal(&digest, &content->digest))
			return;
	}
	fail_msg("%s has a content that is no number below 10000", out->path);
}

static uint64_t read_dir(struct model *m, struct catalog_store *store,
	const struct catalog *c, uint32_t dir, const char *path, bool is_stale);

static uint64_t read_nested(struct model *m, struct catalog_store *store,
	const struct catalog *c, const struct catalog_entry *e, const char *path,
	bool is_stale)
{
	const struct catalog_nested *nested = &c->nested[e->first];
	struct catalog_ref ref = catalog_nested_ref(nested);
	struct catalog *below;

	if (catalog_store_get(store, &ref, &below) < 0)
		fail_msg("the catalog of %s is not there", path);
	const struct catalog_entry *top = catalog_entry(below, CATALOG_ROOT);

	assert_int_equal(below->path_length, strlen(path));
	assert_memory_equal(below->path, path, strlen(path));
	assert_int_equal(top->mode, e->mode);
	assert_int_equal(top->mtime_sec, e->mtime_sec);
	assert_int_equal(top->nlink, e->nlink);
	assert_int_equal(below->header->tree_entries, nested->tree_entries);
	assert_int_equal(below->header->tree_bytes, nested->tree_bytes);
	uint64_t entries = read_dir(m, store, below, CATALOG_ROOT, path, is_stale);

	assert_int_equal(nested->tree_entries, entries);
	catalog_close(below);
	return entries;
}

/* Returns how many entries the directory has with all that is below. */
static uint64_t read_dir(struct model *m, struct catalog_store *store,
	const struct catalog *c, uint32_t dir, const char *path, bool is_stale)
{
	const struct catalog_entry *top = catalog_entry(c, dir);
	uint64_t entries = 1;
	uint32_t subdirectories = 0;

	for (uint32_t i = top->first; i < top->first + top->count; i++) {
		const struct catalog_entry *e = catalog_entry(c, i);
		struct model_entry out = {.kind = MODEL_DIR, .mtime = e->mtime_sec};

		out.is_stale = is_stale || catalog_entry_is_stale(e);
		assert_in_range(snprintf(out.path, sizeof(out.path), "%s%s%.*s", path,
					*path ? "/" : "", (int)e->name_length,
					catalog_name(c, e)),
			1, sizeof(out.path) - 1);
		subdirectories += S_ISDIR(e->mode);
		if (catalog_entry_is_nested(e)) {
			out.kind = MODEL_PACKAGE;
			model_set(m, &out);
			entries += read_nested(m, store, c, e, out.path, out.is_stale);
		} else if (S_ISDIR(e->mode)) {
			model_set(m, &out);
			entries += read_dir(m, store, c, i, out.path, is_stale);
		} else {
			out.kind = S_ISLNK(e->mode) ? MODEL_LINK : MODEL_FILE;
			read_content(c, e, &out);
			model_set(m, &out);
			entries++;
		}
	}
	if (top->nlink != 2 + subdirectories)
		fail_msg("'%s' has %u subdirectories and %u links", path, subdirectories,
			top->nlink);
	return entries;
}

void model_read(
	struct model *m, struct catalog_store *store, const struct catalog_ref *root)
{
	struct catalog *c;

	*m = (struct model){0};
	assert_int_equal(catalog_store_get(store, root, &c), 0);
	assert_int_equal(c->path_length, 0);
	assert_int_equal(
		c->header->tree_entries, read_dir(m, store, c, CATALOG_ROOT, "", false));
	catalog_close(c);
}
