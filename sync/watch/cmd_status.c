/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"
#include "sync/watch/commands.h"
#include "sync/watch/control_verbs.h"

#include <stdbool.h>

static const char help[] =
	"usage: depotfs status MOUNTPOINT [--json]\n"
	"\n"
	"Shows what the mirror on MOUNTPOINT serves and how it fares.\n"
	"\n"
	"  --json   the daemon's own words, with its `pid` at the top level\n";

static const char *text_of(const cJSON *object, const char *name)
{
	return control_text(object, name, "-");
}

static double number_of(const cJSON *object, const char *name)
{
	return control_number(object, name, 0);
}

static int print_status(const cJSON *s)
{
	const cJSON *source = cJSON_GetObjectItemCaseSensitive(s, "source");
	const cJSON *kernel = cJSON_GetObjectItemCaseSensitive(s, "kernel");
	const char *logged = control_text(s, "last_error_logged", NULL);
	bool online = control_is_true(s, "online");

	printf("mountpoint    %s (process %.0f)\n", text_of(s, "mountpoint"),
		number_of(s, "pid"));
	printf("repository    %s, channel %s\n", text_of(s, "repository"),
		text_of(s, "channel"));
	printf("revision      %.0f, published %s\n", number_of(s, "revision"),
		text_of(s, "published"));
	printf("tree          %.0f entries, %s\n", number_of(s, "tree_entries"),
		cli_bytes(number_of(s, "tree_bytes")).text);
	printf("cache         %s, %s used", text_of(s, "cache"),
		cli_bytes(number_of(s, "cache_used")).text);
	if (number_of(s, "cache_limit") > 0)
		printf(" of %s", cli_bytes(number_of(s, "cache_limit")).text);
	printf("\n");
	printf("source        %s, %s, last contact %s\n", text_of(source, "url"),
		online ? "online" : "offline", text_of(source, "last_contact"));
	printf("fetched       %s in %.0f requests since start\n",
		cli_bytes(number_of(source, "fetched_bytes")).text,
		number_of(source, "requests"));
	printf("kernel        asked for %.0f lookups, %.0f listings, %.0f attributes, "
	       "%.0f opens, %.0f reads; told to forget %.0f times\n",
		number_of(kernel, "lookups"), number_of(kernel, "listings"),
		number_of(kernel, "getattrs"), number_of(kernel, "opens"),
		number_of(kernel, "reads"), number_of(kernel, "notifications"));
	if (*control_text(s, "policy_error", ""))
		printf("policy        not taken up: %s\n", text_of(s, "policy_error"));
	if (*control_text(s, "state_error", ""))
		printf("records       %s\n", text_of(s, "state_error"));
	if (*text_of(s, "last_error"))
		printf("last error    %s%s%s\n", text_of(s, "last_error"),
			logged ? ", logged at " : "", logged ? logged : "");
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int cmd_status(int argc, char **argv)
{
	bool as_json = false;
	int status = cli_plain_options(argc, argv, help, &as_json);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 1)
		return cli_usage_error("status", "a mountpoint is wanted");
	AUTO_JSON cJSON *request = control_request("status");
	AUTO_JSON cJSON *answer = NULL;

	if (control_ask(argv[optind], request, &answer) < 0)
		return EXIT_FAILED;
	return as_json ? control_print(answer) : print_status(answer);
}
