/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/ops/xattr_virtual.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/epoch.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_ROOM ((size_t)64 * 1024)

struct sum {
	uint64_t files;
	uint64_t cached_files;
	uint64_t partial_files;
	uint64_t cached_bytes;
	uint64_t chunks;
	uint64_t chunks_cached;
	bool is_stale;
	bool is_pinned;
};

static void add_file(const struct xattr_virtual_context *context,
	const struct catalog *catalog, const struct catalog_entry *e, struct sum *sum)
{
	struct content_info info;

	content_state(context->contents, catalog, catalog_content_of(catalog, e), &info);
	sum->files++;
	sum->cached_files += info.state == CONTENT_CACHED;
	sum->partial_files += info.state == CONTENT_PARTIAL;
	sum->cached_bytes += info.cached_bytes;
	sum->chunks += info.chunks;
	sum->chunks_cached += info.chunks_cached;
}

/* Directories still to be summed, by number: pointers do not outlive an epoch. Each is remembered
 * as the kernel would, so that its number stays its own. */
struct node_stack {
	uint64_t *nodes;
	size_t count;
	size_t capacity;
};

static int push(struct node_stack *stack, const struct view_node *node)
{
	int r = mem_grow((void **)&stack->nodes, &stack->capacity, stack->count,
		sizeof(*stack->nodes));

	if (r < 0)
		return r;
	view_remember(node);
	stack->nodes[stack->count++] = node->id;
	return 0;
}

/* What is superseded meanwhile goes with the next flip. */
static void forget(const struct xattr_virtual_context *context, uint64_t id)
{
	AUTO_EPOCH epoch = epoch_enter();

	(void)view_forget(context->view, id, 1);
}

/* Lets go all above the first `count`. */
static void pop_to(const struct xattr_virtual_context *context, struct node_stack *stack,
	size_t count)
{
	while (stack->count > count)
		forget(context, stack->nodes[--stack->count]);
}

/* Adds the files of one directory, each name of a hard-linked one once, and pushes what is
 * below it. */
static int add_children(const struct xattr_virtual_context *context,
	const struct view_dir *dir, struct node_stack *stack, struct sum *sum)
{
	const struct catalog_entry *top = catalog_entry(dir->catalog, dir->index);

	for (uint32_t i = top->first; i < top->first + top->count; i++) {
		const struct catalog_entry *e = catalog_entry(dir->catalog, i);
		struct view_node child;

		if (S_ISREG(e->mode) && e->link == i)
			add_file(context, dir->catalog, e, sum);
		if (!S_ISDIR(e->mode))
			continue;
		int r = view_child(context->view, dir, i, &child);

		if (r == 0)
			r = push(stack, &child);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One directory of the sum, in an epoch of its own: a flip need not wait for all of them. A
 * package whose catalog was never fetched has no file here; it counts as one remote file, so that
 * the directory is not called cached. What a flip has taken away counts no more. */
static int add_directory(const struct xattr_virtual_context *context, uint64_t id,
	struct node_stack *stack, struct sum *sum)
{
	AUTO_EPOCH epoch = epoch_enter();
	struct sum before = *sum;
	size_t count = stack->count;
	struct view_node node;
	struct view_dir dir;
	int r;

	do {
		pop_to(context, stack, count);
		*sum = before;
		if (view_resolve(context->view, id, &node) < 0)
			return 0;
		r = view_enter_local(context->view, &node, &dir);
		if (r == -EAGAIN) {
			sum->files++;
			return 0;
		}
		if (r == 0)
			r = add_children(context, &dir, stack, sum);
	} while (r == -ERESTART);
	return r;
}

/* Everything below a directory. */
static int sum_directory(
	const struct xattr_virtual_context *context, uint64_t id, struct sum *sum)
{
	struct node_stack stack = {0};
	int r = add_directory(context, id, &stack, sum);

	while (r == 0 && stack.count) {
		/* it is remembered until it is summed */
		uint64_t top = stack.nodes[--stack.count];

		r = add_directory(context, top, &stack, sum);
		forget(context, top);
	}
	pop_to(context, &stack, 0);
	free(stack.nodes);
	return r;
}

/* Its path from the tree's root, NUL-terminated; the caller frees it. */
static int path_of_node(const struct view_node *node, char **out)
{
	AUTO_FREE char *path = mem_alloc(PATH_ROOM);

	if (!path)
		return -ENOMEM;
	int len = catalog_path_of(node->catalog, node->index, path, PATH_ROOM);

	if (len < 0)
		return len;
	*out = TAKE_PTR(path);
	return 0;
}

static bool is_pinned(
	const struct xattr_virtual_context *context, const struct view_node *node)
{
	AUTO_FREE char *path = NULL;

	if (!context->pins || pins_are_none(context->pins))
		return false;
	return path_of_node(node, &path) == 0 && pins_cover(context->pins, path);
}

static int sum_node(
	const struct xattr_virtual_context *context, uint64_t id, struct sum *out)
{
	struct view_node node;

	*out = (struct sum){0};
	{
		AUTO_EPOCH epoch = epoch_enter();
		int r = view_resolve(context->view, id, &node);

		if (r < 0)
			return r;
		out->is_stale = view_is_stale(context->view, &node);
		out->is_pinned = is_pinned(context, &node);
		if (!S_ISDIR(node.entry->mode)) {
			if (!S_ISREG(node.entry->mode))
				return -ENODATA;
			add_file(context, node.catalog, node.entry, out);
			return 0;
		}
	}
	return sum_directory(context, id, out);
}

static int put_state(const struct sum *sum, struct buffer *out)
{
	const char *state = "remote";

	if (sum->is_stale)
		state = "stale";
	else if (sum->cached_files == sum->files)
		state = sum->is_pinned ? "pinned" : "cached";
	else if (sum->cached_files || sum->partial_files)
		state = "partial";
	return buffer_printf(out, "%s", state);
}

static int put_cached_bytes(const struct sum *sum, struct buffer *out)
{
	return buffer_printf(out, "%llu", (unsigned long long)sum->cached_bytes);
}

static int put_chunks(const struct sum *sum, struct buffer *out)
{
	return buffer_printf(out, "%llu/%llu", (unsigned long long)sum->chunks_cached,
		(unsigned long long)sum->chunks);
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
	(void)context;
	if (!catalog_entry_is_nested(node->entry)) {
		if (node->catalog->path_length == 0)
			return buffer_printf(out, "/");
		return buffer_add(out, node->catalog->path, node->catalog->path_length);
	}
	AUTO_FREE char *path = NULL;
	int r = path_of_node(node, &path);

	return r < 0 ? r : buffer_add(out, path, strlen(path));
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

/* Of a file that is cached. A hole was never fetched. */
static int get_info(const struct xattr_virtual_context *context,
	const struct view_node *node, struct content_info *out)
{
	const struct catalog_content *content =
		catalog_content_of(node->catalog, node->entry);

	if (!content)
		return -ENODATA;
	content_state(context->contents, node->catalog, content, out);
	return out->state == CONTENT_CACHED && out->landed_ns ? 0 : -ENODATA;
}

static int print_time(struct buffer *out, int64_t real_ns)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(real_ns, text);
	return buffer_printf(out, "%s", text);
}

static int get_fetched(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	struct content_info info;
	int r = get_info(context, node, &info);

	return r < 0 ? r : print_time(out, info.landed_ns);
}

static int get_last_access(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	struct content_info info;
	int r = get_info(context, node, &info);

	return r < 0 ? r : print_time(out, info.accessed_ns);
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
	return buffer_printf(out, "%llu",
		(unsigned long long)usage_total(object_store_usage(context->objects)));
}

static int get_cache_limit(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	const struct usage *usage = object_store_usage(context->objects);

	(void)node;
	return buffer_printf(
		out, "%llu", (unsigned long long)atomic_load(&usage->limit_bytes));
}

static struct sync_state sync_state(const struct xattr_virtual_context *context)
{
	struct sync_state state = {0};

	if (context->sync.tell)
		context->sync.tell(context->sync.arg, &state);
	return state;
}

static int get_last_sync(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	const struct sync_state state = sync_state(context);

	(void)node;
	return state.last_sync_ns ? print_time(out, state.last_sync_ns) : -ENODATA;
}

static int get_last_error(const struct xattr_virtual_context *context,
	const struct view_node *node, struct buffer *out)
{
	const struct sync_state state = sync_state(context);

	(void)node;
	return buffer_printf(out, "%s", state.last_error);
}

static const struct {
	const char *name;
	bool is_of_root;
	int (*get)(const struct xattr_virtual_context *context,
		const struct view_node *node, struct buffer *out);
	int (*put)(const struct sum *sum, struct buffer *out); /* instead: of a sum */
} attributes[] = {
	{"state", false, NULL, put_state},
	{"cached_bytes", false, NULL, put_cached_bytes},
	{"digest", false, get_digest, NULL},
	{"chunks", false, NULL, put_chunks},
	{"package", false, get_package, NULL},
	{"revision", false, get_revision, NULL},
	{"source", false, get_source, NULL},
	{"fetched", false, get_fetched, NULL},
	{"last_access", false, get_last_access, NULL},
	{"channel", true, get_channel, NULL},
	{"online", true, get_online, NULL},
	{"cache_used", true, get_cache_used, NULL},
	{"cache_limit", true, get_cache_limit, NULL},
	{"last_sync", true, get_last_sync, NULL},
	{"last_error", true, get_last_error, NULL},
};

bool xattr_virtual_is_slow(const struct view_node *node, const char *name)
{
	for (size_t i = 0; S_ISDIR(node->entry->mode) && i < ARRAY_SIZE(attributes); i++)
		if (strcmp(attributes[i].name, name) == 0)
			return attributes[i].put;
	return false;
}

static int get_of_node(const struct xattr_virtual_context *context, uint64_t id,
	size_t attribute, struct buffer *out)
{
	AUTO_EPOCH epoch = epoch_enter();
	struct view_node node;
	int r = view_resolve(context->view, id, &node);

	return r < 0 ? r : attributes[attribute].get(context, &node, out);
}

int xattr_virtual_get(const struct xattr_virtual_context *context, uint64_t node,
	const char *name, struct buffer *out)
{
	struct sum sum;

	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		if (strcmp(attributes[i].name, name) != 0)
			continue;
		if (attributes[i].is_of_root && node != VIEW_ROOT)
			return -ENODATA;
		if (!attributes[i].put)
			return get_of_node(context, node, i, out);
		int r = sum_node(context, node, &sum);

		return r < 0 ? r : attributes[i].put(&sum, out);
	}
	return -ENODATA;
}
