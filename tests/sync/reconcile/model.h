/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Trees as a line of text, for tests of what a sync makes of two of them:
 *
 *	dir/  package//  dir/file=content  link@target   and behind it  ~7 (mtime)  ! (stale)
 *
 * Directories above need not be listed. As catalog_builder.h it aborts or fails the test.
 */
#pragma once

#include "tests/cache/support.h"
#include "tests/support/fake_source.h"

#include "cache/catalog/catalog_store.h"

#define MODEL_TEXT_MAX 64

enum model_kind { MODEL_DIR, MODEL_PACKAGE, MODEL_FILE, MODEL_LINK };

struct model_entry {
	char path[MODEL_TEXT_MAX];
	enum model_kind kind;
	char content[MODEL_TEXT_MAX];
	int64_t mtime;
	bool is_stale;
};

/* Sorted: parents before children, siblings by name. The root is not in it. */
struct model {
	struct model_entry *entries;
	size_t count;
};

void model_parse(struct model *m, const char *text);
void model_release(struct model *m);
void model_copy(struct model *m, const struct model *from);

/* Adds or replaces; removes with all that is below it. */
struct model_entry *model_set(struct model *m, const struct model_entry *e);
void model_remove(struct model *m, const char *path);
struct model_entry *model_find(const struct model *m, const char *path);
bool model_is_dir(const struct model_entry *e);

/* All of it in one line; the caller frees it. Without packages they are written as directories. */
char *model_text(const struct model *m, bool has_packages);

/* The catalogs of a tree: root and packages. */
struct model_catalogs {
	struct built_catalog **built;
	size_t count;
	struct catalog_ref root;
};

void model_build(const struct model *m, struct model_catalogs *out);
void model_catalogs_release(struct model_catalogs *c);
void model_keep(const struct model_catalogs *c, struct catalog_store *store);
void model_serve(const struct model_catalogs *c, struct fake_source *source);

/* The tree of a view whose catalogs are all in the store; checks what hangs together. */
void model_read(
	struct model *m, struct catalog_store *store, const struct catalog_ref *root);
