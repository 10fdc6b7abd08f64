/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/commands.h"

#include "cache/base/cli.h"
#include "sync/master/check/check.h"

#include <cjson/cJSON.h>
#include <inttypes.h>

static const char help[] =
	"usage: depotfs check DEPOT [--key FILE] [--deep] [--json]\n"
	"\n"
	"Verifies signatures, the chain of revisions, every catalog and every pack. "
	"Exits 0\n"
	"when all is sound, 3 when something falls short.\n"
	"\n"
	"  --key FILE   the public key (default: the publisher's own copy)\n"
	"  --deep       decode every frame and compare every chunk and content\n"
	"  --json       for programs\n";

static void print_text(const char *depot, const struct check_report *r, bool is_deep)
{
	for (size_t i = 0; i < r->fault_count; i++)
		printf("%s: %s\n", r->faults[i].object, r->faults[i].text);
	printf("%s: %s\n"
	       "  channels   %" PRIu64 "\n"
	       "  policies   %" PRIu64 "\n"
	       "  revisions  %" PRIu64 "\n"
	       "  catalogs   %" PRIu64 "\n"
	       "  packs      %" PRIu64 " (%" PRIu64 " bytes)\n",
		depot, r->fault_count ? "falls short" : "sound", r->channels, r->policies,
		r->revisions, r->catalogs, r->packs, r->pack_bytes);
	if (is_deep)
		printf("  decoded    %" PRIu64 " frames, %" PRIu64 " chunks, %" PRIu64
		       " contents\n",
			r->frames, r->chunks, r->contents);
	if (r->orphans)
		printf("  note: %" PRIu64 " objects (%" PRIu64
		       " bytes) belong to no revision: an "
		       "interrupted publish, or a policy that was replaced, left "
		       "them; they do no harm\n",
			r->orphans, r->orphan_bytes);
}

static int print_json(const struct check_report *r, bool is_deep)
{
	cJSON *top = cJSON_CreateObject();
	cJSON *faults = cJSON_AddArrayToObject(top, "faults");

	(void)cJSON_AddBoolToObject(top, "sound", r->fault_count == 0);
	(void)cJSON_AddNumberToObject(top, "channels", (double)r->channels);
	(void)cJSON_AddNumberToObject(top, "policies", (double)r->policies);
	(void)cJSON_AddNumberToObject(top, "revisions", (double)r->revisions);
	(void)cJSON_AddNumberToObject(top, "catalogs", (double)r->catalogs);
	(void)cJSON_AddNumberToObject(top, "packs", (double)r->packs);
	(void)cJSON_AddNumberToObject(top, "pack_bytes", (double)r->pack_bytes);
	if (is_deep) {
		(void)cJSON_AddNumberToObject(top, "frames", (double)r->frames);
		(void)cJSON_AddNumberToObject(top, "chunks", (double)r->chunks);
		(void)cJSON_AddNumberToObject(top, "contents", (double)r->contents);
	}
	(void)cJSON_AddNumberToObject(top, "orphans", (double)r->orphans);
	(void)cJSON_AddNumberToObject(top, "orphan_bytes", (double)r->orphan_bytes);
	for (size_t i = 0; i < r->fault_count; i++) {
		cJSON *f = cJSON_CreateObject();

		(void)cJSON_AddStringToObject(f, "object", r->faults[i].object);
		(void)cJSON_AddStringToObject(f, "fault", r->faults[i].text);
		(void)cJSON_AddItemToArray(faults, f);
	}
	char *text = cJSON_Print(top);

	if (text)
		printf("%s\n", text);
	cJSON_Delete(top);
	cJSON_free(text);
	return text ? 0 : -1;
}

struct arguments {
	const char *key;
	bool is_deep;
	bool as_json;
};

static int take_option(void *arg, int option)
{
	struct arguments *a = arg;

	if (option == 'k')
		a->key = optarg;
	a->is_deep |= option == 'd';
	a->as_json |= option == 'j';
	return 0;
}

int cmd_check(int argc, char **argv)
{
	static const struct option options[] = {{"key", required_argument, NULL, 'k'},
		{"deep", no_argument, NULL, 'd'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'}, {0}};
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct check_report report CLEANUP(check_report_release) = {0};
	struct arguments a = {0};
	int status = cli_options(argc, argv, options, help, take_option, &a);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 1)
		return cli_usage_error(argv[0], "name one DEPOT");
	if (check_depot(argv[optind], a.key, a.is_deep,
		    processors > 1 ? (unsigned int)processors : 1, &report) < 0)
		return EXIT_FAILED;
	if (!a.as_json)
		print_text(argv[optind], &report, a.is_deep);
	else if (print_json(&report, a.is_deep) < 0)
		return EXIT_FAILED;
	if (fflush(stdout))
		return EXIT_FAILED;
	return report.fault_count ? EXIT_SHORT : EXIT_DONE;
}
