/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/ops/xattr_virtual.h"

#include "cache/base/clock.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <sys/stat.h>

struct sum {
	uint64_t files;
	uint64_t cached_files;
	uint64_t partial_files;
	uint64_t cached_bytes;
	uint64_t chunks;
	uint64_t chunks_cached;
};

static void add_file(const struct xattr_virtual_context *context,
	const struct view_node *node, struct sum *sum)
{
	struct content_info info;

	content_state(context->contents, node->catalog,
		catalog_content_of(node->catalog, node->entry), &info);
	sum->files++;
	sum->cached_files += info.state == CONTENT_CACHED;
	sum->partial_files += info.state == CONTENT_PARTIAL;
	sum->cached_bytes += info.cached_bytes;
	sum->chunks += info.chunks;
	sum->chunks_cached += info.chunks_cached;
}

struct node_stack {
	struct view_node *nodes;
	size_t count;
	size_t capacity;
};

/* Adds the files of one directory, each name of a hard-linked one once, and pushes what is
 * below it. */
static int add_children(const struct xattr_virtual_context *context,
	const struct view_dir *dir, struct node_stack *stack, struct sum *sum)
{
	const struct catalog_entry *top = catalog_entry(dir->catalog, dir->index);

	for (uint32_t i = top->first; i < top->first + top->count; i++) {
		struct view_node child;
		int r = view_child(context->view, dir, i, &child);

		if (r < 0)
			return r;
		if (S_ISREG(child.entry->mode) && child.entry->link == i)
			add_file(context, &child, sum);
		if (!S_ISDIR(child.entry->mode))
			continue;
		r = mem_grow((void **)&stack->nodes, &stack->capacity, stack->count,
			sizeof(*stack->nodes));
		if (r < 0)
			return r;
		stack->nodes[stack->count++] = child;
	}
	return 0;
}

/* Everything below a directory. A package whose catalog was never fetched has no file here;
 * it counts as one remote file, so that the directory is not called cached. */
static int sum_directory(const struct xattr_virtual_context *context,
	const struct view_node *node, struct sum *sum)
{
	struct node_stack stack = {0};
	int r = 0;

	*sum = (struct sum){0};
	stack.nodes = mem_alloc(sizeof(*stack.nodes));
	if (!stack.nodes)
		return -ENOMEM;
	stack.nodes[stack.count++] = *node;
	stack.capacity = 1;
	while (r == 0 && stack.count) {
		struct view_node top = stack.nodes[--stack.count];
		struct view_dir dir;

		r = view_enter_local(context->view, &top, &dir);
		if (r == -EAGAIN) {
			sum->files++;
			r = 0;
		} else if (r == 0) {
			r = add_children(context, &dir, &stack, sum);
		}
	}
	free(stack.nodes);
	return r;
}

static int sum_node(const struct xattr_virtual_context *context,
	const struct view_node *node, struct sum *out)
{
	if (S_ISDIR(node->entry->mode))
		return sum_directory(context, node, out);
	if (!S_ISREG(node->entry->mode))
		return -ENODATA;
	*out = (struct sum){0};
	add_file(context, node, out);
	return 0;
}

static int get_state(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	struct sum sum;
	int r = sum_node(context, node, &sum);

	if (r < 0)
		return r;
	if (sum.cached_files == sum.files)
		return buffer_printf(out, "cached");
	return buffer_printf(
		out, "%s", sum.cached_files || sum.partial_files ? "partial" : "remote");
}

static int get_cached_bytes(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	struct sum sum;
	int r = sum_node(context, node, &sum);

	return r < 0 ? r
		     : buffer_printf(out, "%llu", (unsigned long long)sum.cached_bytes);
}

static int get_chunks(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	struct sum sum;
	int r = sum_node(context, node, &sum);

	return r < 0 ? r
		     : buffer_printf(out, "%llu/%llu",
			       (unsigned long long)sum.chunks_cached,
			       (unsigned long long)sum.chunks);
}

/* A file's content, or the catalog behind a package's directory. */
static int get_digest(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	const struct catalog_content *content =
		catalog_content_of(node->catalog, node->entry);
	char hex[DIGEST_HEX_SIZE];
	struct digest digest;
	int r = 0;

	(void)context;
	if (content)
		digest = content->digest;
	else if (S_ISREG(node->entry->mode))
		r = digest_of("", 0, &digest);
	else if (catalog_entry_is_nested(node->entry))
		digest = node->catalog->nested[node->entry->first].digest;
	else
		return -ENODATA;
	if (r < 0)
		return r;
	digest_to_hex(&digest, hex);
	return buffer_printf(out, "%s", hex);
}

/* The path of the package that holds the node; a package's own directory belongs to it. */
static int get_package(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	static const size_t room = 64 * 1024;

	(void)context;
	if (!catalog_entry_is_nested(node->entry)) {
		if (node->catalog->path_length == 0)
			return buffer_printf(out, "/");
		return buffer_add(out, node->catalog->path, node->catalog->path_length);
	}
	AUTO_FREE char *path = mem_alloc(room);

	if (!path)
		return -ENOMEM;
	int len = catalog_path_of(node->catalog, node->index, path, room);

	return len < 0 ? len : buffer_add(out, path, (size_t)len);
}

static int get_revision(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	return buffer_printf(
		out, "%llu", (unsigned long long)view_revision(context->view, node));
}

static int get_source(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	struct source_status status;

	(void)node;
	if (!context->source)
		return -ENODATA;
	source_status(context->source, &status);
	return buffer_printf(out, "%s", status.url);
}

static int get_fetched(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	const struct catalog_content *content =
		catalog_content_of(node->catalog, node->entry);
	char text[CLOCK_TEXT_SIZE];
	struct content_info info;

	if (!content)
		return -ENODATA;
	content_state(context->contents, node->catalog, content, &info);
	/* a hole was never fetched */
	if (info.state != CONTENT_CACHED || info.landed_ns == 0)
		return -ENODATA;
	clock_format(info.landed_ns, text);
	return buffer_printf(out, "%s", text);
}

static int get_channel(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	(void)node;
	return buffer_printf(out, "%s", context->channel);
}

static int get_online(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	struct source_status status = {0};

	(void)node;
	if (context->source)
		source_status(context->source, &status);
	return buffer_printf(out, "%s", status.is_online ? "yes" : "no");
}

static int get_cache_used(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	(void)node;
	return buffer_printf(
		out, "%llu", (unsigned long long)object_store_used(context->objects));
}

static const struct {
	const char *name;
	bool is_of_root;
	int (*get)(const struct xattr_virtual_context *context,
		const struct view_node *node, struct buffer *out);
} attributes[] = {
	{"state", false, get_state},
	{"cached_bytes", false, get_cached_bytes},
	{"digest", false, get_digest},
	{"chunks", false, get_chunks},
	{"package", false, get_package},
	{"revision", false, get_revision},
	{"source", false, get_source},
	{"fetched", false, get_fetched},
	{"channel", true, get_channel},
	{"online", true, get_online},
	{"cache_used", true, get_cache_used},
};

bool xattr_virtual_is_slow(const struct view_node *node, const char *name)
{
	static const char *const sums[] = {"state", "cached_bytes", "chunks"};

	for (size_t i = 0; S_ISDIR(node->entry->mode) && i < ARRAY_SIZE(sums); i++)
		if (strcmp(sums[i], name) == 0)
			return true;
	return false;
}

int xattr_virtual_get(const struct xattr_virtual_context *context,
	const struct view_node *node, const char *name, struct buffer *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		if (strcmp(attributes[i].name, name) != 0)
			continue;
		if (attributes[i].is_of_root && node->id != VIEW_ROOT)
			return -ENODATA;
		return attributes[i].get(context, node, out);
	}
	return -ENODATA;
}
