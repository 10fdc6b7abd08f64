/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/commands.h"

#include "cache/base/cli.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "sync/master/depot/depot.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char help[] =
	"usage: depotfs log DEPOT [--key FILE] [--json]\n"
	"\n"
	"Lists the depot's revisions, newest first, and its channels.\n"
	"\n"
	"  --key FILE   the public key (default: the publisher's own copy)\n"
	"  --json       for programs\n";

struct log {
	struct depot *depot;
	struct trust trust;
	struct head *heads;
	size_t head_count;
};

static void log_release(struct log *l)
{
	free(l->heads);
	depot_close(l->depot);
}

static int load_heads(struct log *l)
{
	char **names;
	size_t count;
	int r = depot_channels(l->depot, &names, &count);

	if (r < 0)
		return r;
	l->heads = mem_calloc(count, sizeof(*l->heads));
	if (!l->heads)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = depot_head(l->depot, &l->trust, names[i], &l->heads[l->head_count]);
		if (r == 0)
			l->head_count++;
		else if (r != -ENOMEM) {
			log_warn("left out %s/channel/%s: %s", l->depot->path, names[i],
				log_strerror(r));
			r = 0;
		}
	}
	depot_channels_free(names, count);
	return r;
}

static void print_revision(const struct log *l, const struct revision *v)
{
	char when[CLOCK_TEXT_SIZE];

	clock_format(v->published_ns, when);
	printf("revision %" PRIu64 "  %s  %" PRIu64 " entries  %" PRIu64 " bytes",
		v->number, when, v->tree_entries, v->tree_bytes);
	for (size_t i = 0; i < l->head_count; i++) {
		if (l->heads[i].revision == v->number)
			printf("  [%s]", l->heads[i].channel);
	}
	printf("\n");
	if (*v->message)
		printf("    %s\n", v->message);
}

static cJSON *revision_json(const struct log *l, const struct revision *v)
{
	char when[CLOCK_TEXT_SIZE];
	char root[DIGEST_HEX_SIZE];
	cJSON *o = cJSON_CreateObject();
	cJSON *channels = cJSON_AddArrayToObject(o, "channels");

	clock_format(v->published_ns, when);
	digest_to_hex(&v->root.digest, root);
	(void)cJSON_AddNumberToObject(o, "revision", (double)v->number);
	(void)cJSON_AddStringToObject(o, "published", when);
	(void)cJSON_AddNumberToObject(o, "entries", (double)v->tree_entries);
	(void)cJSON_AddNumberToObject(o, "bytes", (double)v->tree_bytes);
	(void)cJSON_AddStringToObject(o, "message", v->message);
	(void)cJSON_AddStringToObject(o, "root", root);
	for (size_t i = 0; i < l->head_count; i++) {
		if (l->heads[i].revision == v->number)
			(void)cJSON_AddItemToArray(
				channels, cJSON_CreateString(l->heads[i].channel));
	}
	return o;
}

static cJSON *head_json(const struct head *h)
{
	char when[CLOCK_TEXT_SIZE];
	cJSON *o = cJSON_CreateObject();

	(void)cJSON_AddStringToObject(o, "channel", h->channel);
	(void)cJSON_AddNumberToObject(o, "sequence", (double)h->sequence);
	(void)cJSON_AddNumberToObject(o, "revision", (double)h->revision);
	clock_format(h->published_ns, when);
	(void)cJSON_AddStringToObject(o, "published", when);
	if (h->expires_ns) {
		clock_format(h->expires_ns, when);
		(void)cJSON_AddStringToObject(o, "expires", when);
	} else {
		(void)cJSON_AddNullToObject(o, "expires");
	}
	if (h->policy.bytes) {
		char policy[DIGEST_HEX_SIZE];

		digest_to_hex(&h->policy.digest, policy);
		(void)cJSON_AddStringToObject(o, "policy", policy);
	} else {
		(void)cJSON_AddNullToObject(o, "policy");
	}
	return o;
}

/* `revisions`: the JSON list to fill; NULL prints lines. */
static int list_revisions(const struct log *l, uint64_t latest, cJSON *revisions)
{
	for (uint64_t n = latest; n > 0; n--) {
		struct revision v;
		struct digest digest;
		int r = depot_revision(l->depot, &l->trust, n, &v, &digest);

		/* retention drops old ones */
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		if (revisions)
			(void)cJSON_AddItemToArray(revisions, revision_json(l, &v));
		else
			print_revision(l, &v);
	}
	return 0;
}

static int print_json(const struct log *l, uint64_t latest)
{
	cJSON *top = cJSON_CreateObject();
	cJSON *channels = cJSON_AddArrayToObject(top, "channels");

	(void)cJSON_AddStringToObject(top, "name", l->trust.name);
	(void)cJSON_AddStringToObject(top, "repository", l->trust.id);
	for (size_t i = 0; i < l->head_count; i++)
		(void)cJSON_AddItemToArray(channels, head_json(&l->heads[i]));
	int r = list_revisions(l, latest, cJSON_AddArrayToObject(top, "revisions"));
	char *text = r == 0 ? cJSON_Print(top) : NULL;

	if (r == 0 && !text)
		r = -ENOMEM;
	if (text)
		printf("%s\n", text);
	cJSON_free(text);
	cJSON_Delete(top);
	return r;
}

static int show(const char *path, const char *key, bool is_json)
{
	struct log l CLEANUP(log_release) = {0};
	uint64_t latest = 0;
	int r = depot_open(path, &l.depot);

	if (r == 0)
		r = depot_trust(l.depot, key, &l.trust);
	if (r == 0)
		r = load_heads(&l);
	if (r == 0)
		r = depot_latest_number(l.depot, &l.trust, &latest);
	if (r < 0)
		return r;
	if (is_json)
		return print_json(&l, latest);
	r = list_revisions(&l, latest, NULL);
	if (r == 0 && !latest)
		printf("nothing was published yet\n");
	return r;
}

struct arguments {
	const char *key;
	bool as_json;
};

static int take_option(void *arg, int option)
{
	struct arguments *a = arg;

	if (option == 'k')
		a->key = optarg;
	a->as_json |= option == 'j';
	return 0;
}

int cmd_log(int argc, char **argv)
{
	static const struct option options[] = {{"key", required_argument, NULL, 'k'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	struct arguments a = {0};
	int status = cli_options(argc, argv, options, help, take_option, &a);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 1)
		return cli_usage_error(argv[0], "name one DEPOT");
	int r = show(argv[optind], a.key, a.as_json);

	return r < 0 || fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}
