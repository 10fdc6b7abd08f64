/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/records/record_json.h"

#include "cache/base/data/hash.h"
#include "cache/base/memory.h"
#include "sync/watch/control_verbs.h"

#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

/* The bytes that the next character takes, negative if it is none: then one byte is to be skipped. */
static utf8proc_ssize_t next_character(const char *at, size_t len)
{
	utf8proc_int32_t point;

	return utf8proc_iterate(
		(const utf8proc_uint8_t *)at, (utf8proc_ssize_t)len, &point);
}

/* A copy with U+FFFD for what is no UTF-8. NULL when memory is short. */
static char *make_text(const char *path, bool *out_is_exact)
{
	static const char replacement[] = "\xef\xbf\xbd";
	size_t left = strlen(path);
	char *text = mem_alloc(left * (sizeof(replacement) - 1) + 1);
	size_t len = 0;

	*out_is_exact = true;
	while (text && left) {
		utf8proc_ssize_t n = next_character(path, left);
		const char *from = n > 0 ? path : replacement;
		size_t take = n > 0 ? (size_t)n : sizeof(replacement) - 1;

		memcpy(text + len, from, take);
		len += take;
		*out_is_exact &= n > 0;
		path += n > 0 ? n : 1;
		left -= n > 0 ? (size_t)n : 1;
	}
	if (text)
		text[len] = '\0';
	return text;
}

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
	bool is_exact;
	AUTO_FREE char *text = make_text(path, &is_exact);

	if (!text)
		return;
	cJSON_AddStringToObject(object, name, text);
	if (!is_exact)
		add_hex(object, name, path);
}

char *record_path_of(const cJSON *item)
{
	const char *hex = control_text(item, "path_hex", NULL);
	char *path = mem_strdup(hex ? hex : control_text(item, "path", ""));

	for (size_t i = 0; path && hex && hex[2 * i] && hex[2 * i + 1]; i++) {
		unsigned int byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
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
		AUTO_FREE char *glob = mem_dup(globs, len);

		if (glob && len)
			cJSON_AddItemToArray(array, cJSON_CreateString(glob));
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
	cJSON_AddStringToObject(object, "job", run->job ? run->job : "");
	cJSON_AddStringToObject(object, "trigger", run_trigger_text(run->trigger));
	cJSON_AddStringToObject(object, "state", run_state_text(run->state));
	cJSON_AddStringToObject(object, "mode", run->is_full ? "full" : "incremental");
	cJSON_AddBoolToObject(object, "dry_run", run->is_dry);
	cJSON_AddBoolToObject(object, "deep", run->is_deep);
	cJSON_AddBoolToObject(object, "allow_delete", run->is_delete_allowed);
	add_globs(object, "packages", run->selection ? run->selection : "");
	cJSON_AddStringToObject(object, "prefetch", run->prefetch ? run->prefetch : "");
	control_add_time(object, "queued", run->queued_ns);
	control_add_time(object, "start", run->start_ns);
	control_add_time(object, "end", run->end_ns);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		cJSON_AddNumberToObject(
			object, numbers[i].name, (double)numbers[i].value);
	cJSON_AddStringToObject(object, "message", run->message ? run->message : "");
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
		utf8proc_ssize_t n = next_character(path, left);
		bool is_plain = n > 1 || (n == 1 && (unsigned char)*path >= ' ' &&
						 *path != '\x7f' && *path != '\\');

		if (is_plain)
			(void)fwrite(path, 1, (size_t)n, to);
		else
			(void)fprintf(to, "\\x%02x", (unsigned char)*path);
		path += is_plain ? n : 1;
		left -= is_plain ? (size_t)n : 1;
	}
}
