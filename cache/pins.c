/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/pins.h"

#include "cache/base/memory.h"
#include "cache/base/threads/mutex.h"
#include "cache/state/package_records.h"

#include <errno.h>
#include <string.h>

struct pins {
	struct state_db *db;
	struct mutex lock;
	char **paths;	 /* lock; sorted by bytes */
	size_t count;	 /* lock */
	size_t capacity; /* lock */
};

/* Where the path is, or belongs. */
static size_t place_of(const struct pins *pins, const char *path, bool *out_is_there)
	REQUIRES(pins->lock)
{
	size_t low = 0;
	size_t high = pins->count;

	*out_is_there = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(pins->paths[middle], path);

		if (order == 0) {
			*out_is_there = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int insert(struct pins *pins, const char *path) REQUIRES(pins->lock)
{
	bool is_there;
	size_t at = place_of(pins, path, &is_there);

	if (is_there)
		return 0;
	int r = mem_grow((void **)&pins->paths, &pins->capacity, pins->count,
		sizeof(*pins->paths));
	char *copy = r == 0 ? mem_strdup(path) : NULL;

	if (!copy)
		return -ENOMEM;
	memmove(pins->paths + at + 1, pins->paths + at,
		(pins->count - at) * sizeof(*pins->paths));
	pins->paths[at] = copy;
	pins->count++;
	return 0;
}

int pins_open(struct state_db *db, struct pins **out)
{
	struct pins *pins = mem_calloc(1, sizeof(*pins));
	struct pin_list list;

	if (!pins)
		return -ENOMEM;
	pins->db = db;
	mutex_init(&pins->lock);
	int r = state_db_pins_list(db, &list);

	if (r == 0) {
		mutex_lock(&pins->lock);
		for (size_t i = 0; i < list.paths.count && r == 0; i++)
			r = insert(pins, list.paths.items[i]);
		mutex_unlock(&pins->lock);
		pin_list_release(&list);
	}
	if (r < 0) {
		pins_close(pins);
		return r;
	}
	*out = pins;
	return 0;
}

void pins_close(struct pins *pins)
{
	if (!pins)
		return;
	mutex_lock(&pins->lock);
	pins_free_copy(pins->paths, pins->count);
	mutex_unlock(&pins->lock);
	mutex_release(&pins->lock);
	free(pins);
}

int pins_add(struct pins *pins, const char *path)
{
	int r = state_db_pin_add(pins->db, path);

	if (r < 0)
		return r;
	mutex_lock(&pins->lock);
	r = insert(pins, path);
	mutex_unlock(&pins->lock);
	return r;
}

int pins_remove(struct pins *pins, const char *path)
{
	int r = state_db_pin_remove(pins->db, path);
	bool is_there;

	if (r < 0)
		return r;
	mutex_lock(&pins->lock);
	size_t at = place_of(pins, path, &is_there);

	if (is_there) {
		free(pins->paths[at]);
		pins->count--;
		memmove(pins->paths + at, pins->paths + at + 1,
			(pins->count - at) * sizeof(*pins->paths));
	}
	mutex_unlock(&pins->lock);
	return 0;
}

static bool covers(const char *pin, const char *path)
{
	size_t len = strlen(pin);

	return len == 0 ||
	       (strncmp(pin, path, len) == 0 && (path[len] == '/' || path[len] == '\0'));
}

bool pins_cover(struct pins *pins, const char *path)
{
	bool is_covered = false;

	mutex_lock(&pins->lock);
	for (size_t i = 0; i < pins->count && !is_covered; i++)
		is_covered = covers(pins->paths[i], path);
	mutex_unlock(&pins->lock);
	return is_covered;
}

bool pins_are_none(struct pins *pins)
{
	mutex_lock(&pins->lock);
	bool none = pins->count == 0;

	mutex_unlock(&pins->lock);
	return none;
}

void pins_free_copy(char **paths, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(paths[i]);
	free(paths);
}

int pins_copy(struct pins *pins, char ***out_paths, size_t *out_count)
{
	size_t copied = 0;

	mutex_lock(&pins->lock);
	size_t count = pins->count;
	char **paths = mem_calloc(count + 1, sizeof(*paths));

	while (paths && copied < count &&
		(paths[copied] = mem_strdup(pins->paths[copied])))
		copied++;
	mutex_unlock(&pins->lock);
	if (!paths || copied < count) {
		pins_free_copy(paths, copied);
		return -ENOMEM;
	}
	*out_paths = paths;
	*out_count = count;
	return 0;
}
