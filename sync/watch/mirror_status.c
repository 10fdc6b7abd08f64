/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/watch/mirror_status.h"

#include "cache/base/log.h"
#include "sync/watch/json_text.h"

#include <unistd.h>

static void add_source(cJSON *object, const struct source_status *source)
{
	cJSON *s = cJSON_AddObjectToObject(object, "source");

	cJSON_AddStringToObject(s, "url", source->url);
	cJSON_AddNumberToObject(s, "fetched_bytes", (double)source->fetched_bytes);
	cJSON_AddNumberToObject(s, "requests", (double)source->requests);
	control_add_time(s, "last_contact", source->last_contact);
}

static void add_requests(cJSON *object, const struct mirror_requests *requests)
{
	cJSON *r = cJSON_AddObjectToObject(object, "kernel");

	cJSON_AddNumberToObject(r, "lookups", (double)requests->lookups);
	cJSON_AddNumberToObject(r, "listings", (double)requests->listings);
	cJSON_AddNumberToObject(r, "getattrs", (double)requests->getattrs);
	cJSON_AddNumberToObject(r, "opens", (double)requests->opens);
	cJSON_AddNumberToObject(r, "reads", (double)requests->reads);
	cJSON_AddNumberToObject(r, "notifications", (double)requests->notifications);
	cJSON_AddNumberToObject(r, "pushes", (double)requests->pushes);
}

void mirror_status_fill(const struct mirror_status *status, cJSON *o)
{
	char last_error[512];
	int64_t logged_ns = log_last_error(last_error, sizeof(last_error));
	bool is_now = *status->last_error;

	cJSON_AddNumberToObject(o, "pid", (double)getpid());
	cJSON_AddStringToObject(o, "version", DEPOTFS_VERSION);
	cJSON_AddStringToObject(o, "mountpoint", status->mountpoint);
	cJSON_AddStringToObject(o, "cache", status->cache);
	cJSON_AddStringToObject(o, "repository", status->repository);
	cJSON_AddStringToObject(o, "channel", status->channel);
	cJSON_AddNumberToObject(o, "revision", (double)status->revision);
	cJSON_AddNumberToObject(o, "channel_revision", (double)status->channel_revision);
	control_add_time(o, "published", status->published_ns);
	control_add_time(o, "last_poll", status->last_poll_ns);
	control_add_time(o, "last_sync", status->last_sync_ns);
	cJSON_AddNumberToObject(o, "running", (double)status->running);
	cJSON_AddNumberToObject(o, "waiting", (double)status->waiting);
	cJSON_AddNumberToObject(o, "tree_entries", (double)status->tree_entries);
	cJSON_AddNumberToObject(o, "tree_bytes", (double)status->tree_bytes);
	cJSON_AddNumberToObject(o, "cache_used", (double)status->cache_used);
	cJSON_AddNumberToObject(o, "cache_limit", (double)status->cache_limit);
	cJSON_AddBoolToObject(o, "online", status->source.is_online);
	add_source(o, &status->source);
	add_requests(o, &status->requests);
	json_add_text(o, "policy_error", status->policy_error);
	json_add_text(o, "state_error", status->state_error);
	json_add_text(o, "last_error", is_now ? status->last_error : last_error);
	/* what was logged may be over: whoever reads it must be able to tell */
	control_add_time(o, "last_error_logged", is_now ? 0 : logged_ns);
}
