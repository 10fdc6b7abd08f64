/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/plan/selection.h"

#include "cache/base/memory.h"

#include <errno.h>
#include <fnmatch.h>
#include <linux/limits.h>
#include <stdint.h>
#include <string.h>

#define GLOB_MAX 1024 /* bytes of one component */

struct selection {
	size_t count;
	char *globs[];
};

int selection_new(const char *const *globs, size_t count, struct selection **out)
{
	if (count > SIZE_MAX / sizeof(char *) / 2)
		return -ENOMEM;
	struct selection *s = mem_calloc(1, sizeof(*s) + count * sizeof(char *));
	int r = s ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const char *glob = globs[i] + strspn(globs[i], "/");
		size_t len = strlen(glob);

		while (len && glob[len - 1] == '/')
			len--;
		if (!len || len > GLOB_MAX) {
			r = -EINVAL;
			break;
		}
		s->globs[i] = mem_dup(glob, len);
		s->count++;
		if (!s->globs[i])
			r = -ENOMEM;
	}
	if (r < 0) {
		selection_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void selection_free(struct selection *s)
{
	for (size_t i = 0; s && i < s->count; i++)
		free(s->globs[i]);
	free(s);
}

bool selection_is_everything(const struct selection *s)
{
	return s->count == 0;
}

bool selection_has(const struct selection *s, const char *path)
{
	if (s->count == 0)
		return true;
	if (!*path) /* '*' would match it, but nobody means it */
		return false;
	for (size_t i = 0; i < s->count; i++)
		if (fnmatch(s->globs[i], path, FNM_PATHNAME) == 0)
			return true;
	return false;
}

/* One component after the other: '*' stops at '/', so the numbers of components must agree. */
static bool is_above(const char *path, const char *glob)
{
	for (;;) {
		char name[NAME_MAX + 1];
		char part[GLOB_MAX + 1];
		size_t name_length = strcspn(path, "/");
		size_t part_length = strcspn(glob, "/");

		if (!glob[part_length] || name_length > NAME_MAX ||
			part_length > GLOB_MAX)
			return false;
		memcpy(name, path, name_length);
		memcpy(part, glob, part_length);
		name[name_length] = part[part_length] = '\0';
		if (fnmatch(part, name, FNM_PATHNAME) != 0)
			return false;
		if (!path[name_length])
			return true;
		path += name_length + 1;
		glob += part_length + 1;
	}
}

bool selection_reaches_below(const struct selection *s, const char *path)
{
	if (s->count == 0 || !*path)
		return true;
	for (size_t i = 0; i < s->count; i++)
		if (is_above(path, s->globs[i]))
			return true;
	return false;
}

bool selection_concerns(const struct selection *s, const char *path)
{
	if (selection_has(s, path) || selection_reaches_below(s, path))
		return true;
	/* something above */
	AUTO_FREE char *above = mem_strdup(path);

	for (char *slash; above && (slash = strrchr(above, '/'));) {
		*slash = '\0';
		if (selection_has(s, above))
			return true;
	}
	return !above;
}
