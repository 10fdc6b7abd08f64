/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/walk/xattr_read.h"

#include "cache/base/data/buffer.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>

#define LIST_FIRST 1024 /* nearly every list fits; the rest ask again */
#define SET_MAX	   (16 * 1024 * 1024)

static ssize_t list_names(int fd, const char *path, char *out, size_t size)
{
	ssize_t n = fd >= 0 ? flistxattr(fd, out, size) : llistxattr(path, out, size);

	return n < 0 ? -errno : n;
}

static ssize_t get_value(
	int fd, const char *path, const char *name, void *out, size_t size)
{
	ssize_t n = fd >= 0 ? fgetxattr(fd, name, out, size)
			    : lgetxattr(path, name, out, size);

	return n < 0 ? -errno : n;
}

static bool travels(const char *name)
{
	static const char *const exact[] = {"security.NTACL", "security.capability",
		"system.posix_acl_access", "system.posix_acl_default"};

	if (strncmp(name, "user.", 5) == 0)
		return strncmp(name, "user.depotfs.", 13) != 0;
	for (size_t i = 0; i < ARRAY_SIZE(exact); i++) {
		if (strcmp(name, exact[i]) == 0)
			return true;
	}
	return false;
}

static int compare_names(const void *a, const void *b)
{
	const char *const *x = a;
	const char *const *y = b;

	return strcmp(*x, *y);
}

static int add_attribute(
	struct buffer *set, int fd, const char *path, const char *name, char *value)
{
	ssize_t n = get_value(fd, path, name, value, XATTR_SIZE_MAX);

	/* gone since it was listed: the caller's comparison of times sees it */
	if (n == -ENODATA)
		return 0;
	if (n < 0)
		return (int)n;
	uint16_t name_len = (uint16_t)strlen(name);
	uint32_t value_len = (uint32_t)n;
	int r = buffer_add(set, &name_len, sizeof(name_len));

	if (r == 0)
		r = buffer_add(set, &value_len, sizeof(value_len));
	if (r == 0)
		r = buffer_add(set, name, name_len);
	if (r == 0)
		r = buffer_add(set, value, value_len);
	return r;
}

static int encode(
	int fd, const char *path, const char *list, size_t list_len, struct buffer *set)
{
	AUTO_FREE const char **names = NULL;
	size_t capacity = 0;
	size_t count = 0;

	for (const char *p = list; p < list + list_len; p += strlen(p) + 1) {
		if (!travels(p))
			continue;
		int r = mem_grow((void **)&names, &capacity, count, sizeof(char *));

		if (r < 0)
			return r;
		names[count++] = p;
	}
	if (!count)
		return 0;
	AUTO_FREE char *value = mem_alloc(XATTR_SIZE_MAX);

	if (!value)
		return -ENOMEM;
	qsort(names, count, sizeof(char *), compare_names);
	for (size_t i = 0; i < count; i++) {
		int r = add_attribute(set, fd, path, names[i], value);

		if (r < 0)
			return r;
	}
	return 0;
}

int xattr_read(int fd, const char *path, struct arena *arena, const struct blob **out)
{
	char first[LIST_FIRST];
	AUTO_FREE char *large = NULL;
	const char *list = first;
	ssize_t n = list_names(fd, path, first, sizeof(first));

	if (n == -ERANGE) {
		large = mem_alloc(XATTR_LIST_MAX);
		if (!large)
			return -ENOMEM;
		list = large;
		n = list_names(fd, path, large, XATTR_LIST_MAX);
	}
	*out = NULL;
	if (n == 0 || n == -ENOTSUP)
		return 0;
	if (n < 0)
		return (int)n;
	struct buffer set AUTO_BUFFER = BUFFER_INIT(SET_MAX);
	int r = encode(fd, path, list, (size_t)n, &set);

	if (r < 0 || set.len == 0)
		return r;
	struct blob *b = arena_alloc(arena, sizeof(*b) + set.len);

	if (!b)
		return -ENOMEM;
	b->length = (uint32_t)set.len;
	memcpy(b->bytes, set.data, set.len);
	*out = b;
	return 0;
}
