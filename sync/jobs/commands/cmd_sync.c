/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"
#include "cache/base/log.h"
#include "sync/jobs/commands/commands.h"
#include "sync/jobs/commands/run_watch.h"
#include "sync/watch/control.h"
#include "sync/watch/control_verbs.h"

#include <string.h>

static const char help[] =
	"usage: depotfs sync MOUNTPOINT [--full | --incremental] [--package GLOB]...\n"
	"                    [--prefetch WHAT] [--allow-delete] [--dry-run] [--deep] "
	"[--wait]\n"
	"\n"
	"Asks the master for news and brings the mirror up to date.\n"
	"\n"
	"  --full           the view becomes exactly the master's: what it dropped goes, "
	"its\n"
	"                   content too, and what is damaged here is repaired (the "
	"default)\n"
	"  --incremental    new and changed entries appear, dropped ones stay as stale\n"
	"  --package GLOB   only packages whose path matches, as in 'npm/typescript/*'\n"
	"  --prefetch WHAT  fetch ahead: none, cached, all, or GLOBs over paths (the "
	"mount's\n"
	"                   setting)\n"
	"  --allow-delete   even if it removes more than the guard allows\n"
	"  --dry-run        list what would change, and change nothing\n"
	"  --deep           hash all content that is here, not only look at its size\n"
	"  --wait           show progress until it is over; exit 1 if it failed\n";

struct arguments {
	const char *mountpoint;
	cJSON *request;
	cJSON *packages;
	bool is_waiting;
	bool is_dry;
};

static int take_option(void *arg, int option)
{
	struct arguments *a = arg;
	cJSON *text;

	switch (option) {
	case 'f':
	case 'i':
		cJSON_DeleteItemFromObjectCaseSensitive(a->request, "mode");
		cJSON_AddStringToObject(
			a->request, "mode", option == 'f' ? "full" : "incremental");
		return 0;
	case 'p':
		text = cJSON_CreateString(optarg);
		return text && cJSON_AddItemToArray(a->packages, text) ? 0 : -1;
	case 'P':
		cJSON_AddStringToObject(a->request, "prefetch", optarg);
		return 0;
	case 'd':
		cJSON_AddTrueToObject(a->request, "allow_delete");
		return 0;
	case 'n':
		cJSON_AddTrueToObject(a->request, "dry_run");
		a->is_dry = true;
		return 0;
	case 'D':
		cJSON_AddTrueToObject(a->request, "deep");
		return 0;
	case 'w':
		a->is_waiting = true;
		return 0;
	default:
		return -1;
	}
}

static int start(const struct arguments *a)
{
	AUTO_JSON cJSON *answer = NULL;

	if (control_ask(a->mountpoint, a->request, &answer) < 0)
		return EXIT_FAILED;
	double id = control_number(answer, "run", 0);

	if (a->is_dry)
		return run_watch_plan(a->mountpoint, id);
	if (a->is_waiting)
		return run_watch(a->mountpoint, id);
	printf("run %.0f is %s; 'depotfs job show %s %.0f' tells how it fares\n", id,
		control_text(answer, "state", "queued"), a->mountpoint, id);
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int cmd_sync(int argc, char **argv)
{
	static const struct option longopts[] = {{"help", no_argument, NULL, 'h'},
		{"full", no_argument, NULL, 'f'}, {"incremental", no_argument, NULL, 'i'},
		{"package", required_argument, NULL, 'p'},
		{"prefetch", required_argument, NULL, 'P'},
		{"allow-delete", no_argument, NULL, 'd'},
		{"dry-run", no_argument, NULL, 'n'}, {"deep", no_argument, NULL, 'D'},
		{"wait", no_argument, NULL, 'w'}, {0}};
	AUTO_JSON cJSON *request = control_request("sync");
	struct arguments a = {.request = request,
		.packages = cJSON_AddArrayToObject(request, "packages")};

	if (!a.packages)
		return EXIT_FAILED;
	int status = cli_options(argc, argv, longopts, help, take_option, &a);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind > 1)
		return cli_usage_error("sync",
			"one mountpoint is wanted, and %s is another word: put globs "
			"into quotes",
			argv[optind + 1]);
	if (argc - optind != 1)
		return cli_usage_error("sync", "a mountpoint is wanted");
	a.mountpoint = argv[optind];
	if ((a.is_waiting || a.is_dry) && control_is_own_hook(a.mountpoint))
		return cli_usage_error("sync",
			"a hook cannot wait for a sync of its own mount, which would "
			"wait for the hook: leave --%s away",
			a.is_dry ? "dry-run" : "wait");
	return start(&a);
}
