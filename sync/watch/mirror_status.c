/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/watch/mirror_status.h"

#include "cache/base/clock.h"
#include "cache/base/log.h"
#include "sync/watch/control.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

#define STATUS_REQUEST "{\"verb\":\"status\"}"

static void add_time(cJSON *object, const char *name, int64_t real_ns)
{
	char text[CLOCK_TEXT_SIZE];

	if (real_ns == 0) {
		cJSON_AddNullToObject(object, name);
		return;
	}
	clock_format(real_ns, text);
	cJSON_AddStringToObject(object, name, text);
}

static void add_source(cJSON *object, const struct source_status *source)
{
	cJSON *s = cJSON_AddObjectToObject(object, "source");

	cJSON_AddStringToObject(s, "url", source->url);
	cJSON_AddNumberToObject(s, "fetched_bytes", (double)source->fetched_bytes);
	cJSON_AddNumberToObject(s, "requests", (double)source->requests);
	add_time(s, "last_contact", source->last_contact);
}

static cJSON *status_object(const struct mirror_status *status)
{
	char last_error[512];
	cJSON *o = cJSON_CreateObject();

	log_last_error(last_error, sizeof(last_error));
	cJSON_AddNumberToObject(o, "pid", (double)getpid());
	cJSON_AddStringToObject(o, "version", DEPOTFS_VERSION);
	cJSON_AddStringToObject(o, "mountpoint", status->mountpoint);
	cJSON_AddStringToObject(o, "cache", status->cache);
	cJSON_AddStringToObject(o, "repository", status->repository);
	cJSON_AddStringToObject(o, "channel", status->channel);
	cJSON_AddNumberToObject(o, "revision", (double)status->revision);
	add_time(o, "published", status->published_ns);
	cJSON_AddNumberToObject(o, "tree_entries", (double)status->tree_entries);
	cJSON_AddNumberToObject(o, "tree_bytes", (double)status->tree_bytes);
	cJSON_AddNumberToObject(o, "cache_used", (double)status->cache_used);
	cJSON_AddBoolToObject(o, "online", status->source.is_online);
	add_source(o, &status->source);
	cJSON_AddStringToObject(o, "last_error", last_error);
	return o;
}

int mirror_status_answer(
	const struct mirror_status *status, const char *request, struct buffer *reply)
{
	cJSON *asked = cJSON_Parse(request);
	const cJSON *verb = cJSON_GetObjectItemCaseSensitive(asked, "verb");
	cJSON *answer;

	if (cJSON_IsString(verb) && strcmp(verb->valuestring, "status") == 0) {
		answer = status_object(status);
	} else {
		answer = cJSON_CreateObject();
		cJSON_AddStringToObject(
			answer, "error", "this daemon does not know the request");
	}
	char *text = cJSON_Print(answer);
	int r = text ? buffer_add(reply, text, strlen(text)) : -ENOMEM;

	cJSON_free(text);
	cJSON_Delete(answer);
	cJSON_Delete(asked);
	return r;
}

int mirror_status_ask(const char *mountpoint, struct buffer *reply)
{
	int r = control_call(mountpoint, STATUS_REQUEST, reply);

	if (r == -ENOENT)
		return log_error_errno(r, "no depot is mounted on %s", mountpoint);
	if (r < 0)
		return log_error_errno(r, "the daemon of %s does not answer: %s",
			mountpoint, log_strerror(r));
	return buffer_add(reply, "", 1);
}
