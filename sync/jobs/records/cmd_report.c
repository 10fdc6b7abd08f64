/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"
#include "cache/base/memory.h"
#include "sync/jobs/progress/progress_bar.h"
#include "sync/jobs/records/commands.h"
#include "sync/jobs/records/record_json.h"
#include "sync/watch/control_verbs.h"

#include <stdbool.h>
#include <string.h>

static const char help[] =
	"usage: depotfs report MOUNTPOINT [--all] [--json]\n"
	"\n"
	"Tells how each package stands against the newest revision that the mirror knows "
	"of,\n"
	"and what of it is cached. Exits with 3 if a package is missing, out of date or "
	"stale,\n"
	"or if content is not here that is pinned or promised by the prefetch policy.\n"
	"\n"
	"  --all    packages, too, that are current and lack nothing that was promised\n"
	"  --json   the daemon's own words\n";

static bool is_fine(const cJSON *package)
{
	return strcmp(control_text(package, "state", "?"), "current") == 0 &&
	       control_number(package, "promised_files", 0) <= 0 &&
	       !*control_text(package, "last_error", "");
}

static void print_package(const cJSON *package)
{
	AUTO_FREE char *path = record_path_of(package);
	const char *since = control_text(package, "since", NULL);
	const char *error = control_text(package, "last_error", "");
	const char *next = control_text(package, "next_attempt", NULL);
	double promised = control_number(package, "promised_files", 0);
	double stale = control_number(package, "stale_entries", 0);

	printf("%-11s  %-6s  %9s  /", control_text(package, "state", "?"),
		control_text(package, "content", "?"),
		cli_bytes(control_number(package, "bytes_to_fetch", 0)).text);
	record_print_path(stdout, path ? path : "");
	if (since)
		printf("  since %s", since);
	if (stale > 0)
		printf("  %.0f stale", stale);
	if (promised > 0)
		printf("  %.0f promised and not here", promised);
	if (*error)
		printf("  last error: %s", error);
	if (next)
		printf("  next attempt %s", next);
	(void)putchar('\n');
}

static void print_report(const cJSON *report, bool is_all)
{
	const cJSON *states = cJSON_GetObjectItemCaseSensitive(report, "states");
	double unknown = control_number(report, "unknown_catalogs", 0);
	const cJSON *package;
	const cJSON *state;

	printf("%-11s  %-6s  %9s  PACKAGE\n", "STATE", "CACHED", "TO FETCH");
	cJSON_ArrayForEach(package, cJSON_GetObjectItemCaseSensitive(report, "packages"))
	{
		if (is_all || !is_fine(package))
			print_package(package);
	}
	printf("\nrevision %.0f is shown, %.0f is the newest known\n",
		control_number(report, "revision", 0),
		control_number(report, "newest_revision", 0));
	cJSON_ArrayForEach(state, states)
		printf("%s%.0f %s", state == states->child ? "packages: " : ", ",
			cJSON_GetNumberValue(state), state->string);
	printf("\n%s are not here\n",
		cli_bytes(control_number(report, "bytes_to_fetch", 0)).text);
	if (unknown > 0)
		printf("%.0f catalogs of the newest revision are not here yet: what is "
		       "below them "
		       "may be out of date, too\n",
			unknown);
}

struct arguments {
	bool as_json;
	bool is_all;
};

static int take_option(void *arg, int option)
{
	struct arguments *a = arg;

	a->as_json |= option == 'j';
	a->is_all |= option == 'a';
	return 0;
}

int cmd_report(int argc, char **argv)
{
	static const struct option longopts[] = {{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'}, {"all", no_argument, NULL, 'a'}, {0}};
	AUTO_JSON cJSON *request = control_request("report");
	AUTO_JSON cJSON *report = NULL;
	struct arguments a = {0};
	int status = cli_options(argc, argv, longopts, help, take_option, &a);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 1)
		return cli_usage_error("report", "a mountpoint is wanted");
	if (control_ask(argv[optind], request, &report) < 0)
		return EXIT_FAILED;
	status = control_is_true(report, "falls_short") ? EXIT_SHORT : EXIT_DONE;

	if (a.as_json)
		return control_print(report) == EXIT_DONE ? status : EXIT_FAILED;
	print_report(report, a.is_all);
	return fflush(stdout) == 0 ? status : EXIT_FAILED;
}
