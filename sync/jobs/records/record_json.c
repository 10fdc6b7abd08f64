/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/records/record_json.h"

#include "cache/base/data/hash.h"
#include "cache/base/memory.h"
#include "sync/watch/control_verbs.h"
#include "sync/watch/json_text.h"

#include <stdbool.h>
#include <string.h>

static void add_hex(cJSON *object, const char *name, const char *path)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = strlen(path);
	AUTO_FREE char *hex = mem_alloc(2 * len + 1);
	char key[64];

	if (!hex)
		return;
	for (size_t i = 0; i < len; i++) {
		hex[2 * i] = digits[(uint8_t)path[i] >> 4];
		hex[2 * i + 1] = digits[(uint8_t)path[i] & 15];
	}
	hex[2 * len] = '\0';
	(void)snprintf(key, sizeof(key), "%s_hex", name);
	cJSON_AddStringToObject(object, key, hex);
}

void record_add_path(cJSON *object, const char *name, const char *path)
{
	if (!json_add_text(object, name, path))
		add_hex(object, name, path);
}

char *record_path_of(const cJSON *item)
{
	const char *hex = control_text(item, "path_hex", NULL);
	char *path = mem_strdup(hex ? hex : control_text(item, "path", ""));

	for (size_t i = 0; path && hex && hex[2 * i] && hex[2 * i + 1]; i++) {
		const char pair[] = {hex[2 * i], hex[2 * i + 1], '\0'};
		char *end;
		unsigned long byte = strtoul(pair, &end, 16);

		if (*end)
			break;
		path[i] = (char)byte;
		path[i + 1] = '\0';
	}
	return path;
}

/* One glob a line, as an array. */
static void add_globs(cJSON *object, const char *name, const char *globs)
{
	cJSON *array = cJSON_AddArrayToObject(object, name);

	while (array && *globs) {
		size_t len = strcspn(globs, "\n");

		if (len)
			cJSON_AddItemToArray(array, json_text_item(globs, len));
		globs += len + (globs[len] == '\n');
	}
}

void record_add_run(cJSON *object, const struct run_record *run)
{
	const struct run_counts *c = &run->counts;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {{"revision_before", run->revision_before},
		{"revision_after", run->revision_after},
		{"bytes_fetched", c->bytes_fetched}, {"bytes_reused", c->bytes_reused},
		{"added", c->added}, {"changed", c->changed}, {"removed", c->removed},
		{"kept_stale", c->kept_stale}, {"skipped", c->skipped},
		{"errors", c->errors}};

	cJSON_AddNumberToObject(object, "run", (double)run->id);
	json_add_text(object, "job", run->job);
	cJSON_AddStringToObject(object, "trigger", run_trigger_text(run->trigger));
	cJSON_AddStringToObject(object, "state", run_state_text(run->state));
	cJSON_AddStringToObject(object, "mode", run->is_full ? "full" : "incremental");
	cJSON_AddBoolToObject(object, "dry_run", run->is_dry);
	cJSON_AddBoolToObject(object, "deep", run->is_deep);
	cJSON_AddBoolToObject(object, "allow_delete", run->is_delete_allowed);
	add_globs(object, "packages", run->selection ? run->selection : "");
	json_add_text(object, "prefetch", run->prefetch);
	control_add_time(object, "queued", run->queued_ns);
	control_add_time(object, "start", run->start_ns);
	control_add_time(object, "end", run->end_ns);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		cJSON_AddNumberToObject(
			object, numbers[i].name, (double)numbers[i].value);
	json_add_text(object, "message", run->message);
}

static void add_side(cJSON *object, const char *name, const struct change_side *side)
{
	char hex[DIGEST_HEX_SIZE];

	if (!side->is_set)
		return;
	cJSON *o = cJSON_AddObjectToObject(object, name);

	digest_to_hex(&side->digest, hex);
	cJSON_AddStringToObject(o, "digest", hex);
	cJSON_AddNumberToObject(o, "bytes", (double)side->bytes);
}

const char *record_mode_text(const cJSON *run)
{
	bool is_full = strcmp(control_text(run, "mode", ""), "full") == 0;

	if (control_is_true(run, "dry_run"))
		return is_full ? "dry full" : "dry incremental";
	return is_full ? "full" : "incremental";
}

void record_add_change(cJSON *object, const struct change_record *change)
{
	record_add_path(object, "path", change->path);
	cJSON_AddStringToObject(object, "what", change_what_text(change->what));
	add_side(object, "before", &change->before);
	add_side(object, "after", &change->after);
}

void record_print_path(FILE *to, const char *path)
{
	size_t left = strlen(path);

	while (left) {
		ssize_t n = json_next_character(path, left);
		/* U+0080 to U+009F are control characters as well */
		bool is_upper =
			n == 2 && path[0] == '\xc2' && (unsigned char)path[1] < 0xa0;
		bool is_plain =
			(n > 1 && !is_upper) || (n == 1 && (unsigned char)*path >= ' ' &&
							*path != '\x7f' && *path != '\\');

		if (is_plain)
			(void)fwrite(path, 1, (size_t)n, to);
		else
			(void)fprintf(to, "\\x%02x", (unsigned char)*path);
		path += is_plain ? n : 1;
		left -= is_plain ? (size_t)n : 1;
	}
}

void record_add_skipped(cJSON *array, const struct skipped_record *skipped)
{
	cJSON *item = cJSON_CreateObject();

	record_add_path(item, "path", skipped->path);
	json_add_text(item, "reason", skipped->reason);
	cJSON_AddItemToArray(array, item);
}

void record_print_skipped(const cJSON *skipped)
{
	AUTO_FREE char *path = record_path_of(skipped);

	printf("skipped   ");
	record_print_path(stdout, path ? path : "?");
	printf(": %s\n", control_text(skipped, "reason", ""));
}
