/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"
#include "cache/base/data/buffer.h"
#include "sync/jobs/commands/commands.h"
#include "sync/watch/control_verbs.h"

#include <string.h>

static const char help[] =
	"usage: depotfs schedule list MOUNTPOINT [--json]\n"
	"       depotfs schedule add MOUNTPOINT NAME --when TEXT [--tz ZONE] [--splay "
	"TIME]\n"
	"                    [--full | --incremental] [--package GLOB]... [--prefetch "
	"WHAT]\n"
	"                    [--rate RATE]\n"
	"       depotfs schedule remove|disable|enable MOUNTPOINT NAME\n"
	"\n"
	"  --when TEXT     'daily at 02:00', 'every 6 hours', 'monthly on 1 at 03:30',\n"
	"                  'second tuesday + 4 days at 02:00', or five fields as in "
	"cron\n"
	"  --tz ZONE       Europe/Oslo; the machine's own if not given\n"
	"  --splay TIME    begin up to so much later: '30 minutes'\n"
	"  --rate RATE     of its transfers: 20M (bytes a second), idle, unlimited\n"
	"\n"
	"Schedules of the configuration file and of the master's policy can be disabled "
	"here,\n"
	"but are changed where they were made.\n";

/* The daemon's are one a line. */
static void print_packages(const char *globs)
{
	printf(" of ");
	for (; *globs; globs++)
		putchar(*globs == '\n' ? ' ' : *globs);
}

static int print_list(const cJSON *answer)
{
	const cJSON *s;

	cJSON_ArrayForEach(s, cJSON_GetObjectItemCaseSensitive(answer, "schedules"))
	{
		printf("%-16s %-8s %-8s %s", control_text(s, "name", "?"),
			control_text(s, "origin", "?"),
			control_is_true(s, "enabled") ? "enabled" : "disabled",
			control_text(s, "when", "?"));
		if (*control_text(s, "tz", ""))
			printf(" (%s)", control_text(s, "tz", ""));
		printf("; %s", control_text(s, "mode", "full"));
		if (*control_text(s, "packages", ""))
			print_packages(control_text(s, "packages", ""));
		printf("; next %s\n", control_text(s, "next", "never"));
		if (*control_text(s, "error", ""))
			printf("%-16s cannot run: %s\n", "",
				control_text(s, "error", ""));
	}
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

struct arguments {
	cJSON *request;
	struct buffer packages; /* one a line */
	bool as_json;
};

static void arguments_release(struct arguments *a)
{
	buffer_release(&a->packages);
}

/* Options of `add`, by the name that the request has for them. */
static int take_option(void *arg, int option)
{
	struct arguments *a = arg;
	static const struct {
		int option;
		const char *name;
	} texts[] = {{'w', "when"}, {'z', "tz"}, {'s', "splay"}, {'P', "prefetch"},
		{'r', "rate"}};

	if (option == 'j') {
		a->as_json = true;
		return 0;
	}
	if (option == 'p' && !*optarg)
		return cli_usage_error("schedule", "--package: a glob is wanted");
	if (option == 'p')
		return buffer_printf(&a->packages, "%s%s", a->packages.len ? "\n" : "",
			       optarg) < 0
			       ? EXIT_FAILED
			       : 0;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].option == option)
			return cJSON_AddStringToObject(a->request, texts[i].name, optarg)
				       ? 0
				       : EXIT_FAILED;
	cJSON_DeleteItemFromObjectCaseSensitive(a->request, "mode");
	return cJSON_AddStringToObject(
		       a->request, "mode", option == 'f' ? "full" : "incremental")
		       ? 0
		       : EXIT_FAILED;
}

static int ask(const char *verb, const char *mountpoint, const char *name, cJSON *request,
	bool as_json)
{
	static const char *const verbs[] = {"list", "add", "remove", "disable", "enable"};
	AUTO_JSON cJSON *answer = NULL;
	char full[32];
	size_t i = 0;

	while (i < ARRAY_SIZE(verbs) && strcmp(verbs[i], verb) != 0)
		i++;
	if (i == ARRAY_SIZE(verbs))
		return cli_usage_error("schedule", "there is no 'schedule %s'", verb);
	if ((i == 0) != !name)
		return cli_usage_error("schedule",
			i == 0 ? "'list' takes a mountpoint alone"
			       : "a mountpoint and the schedule's name are wanted");
	(void)snprintf(full, sizeof(full), "schedule-%s", verb);
	cJSON_ReplaceItemInObjectCaseSensitive(request, "verb", cJSON_CreateString(full));
	if (name)
		cJSON_AddStringToObject(request, "name", name);
	if (control_ask(mountpoint, request, &answer) < 0)
		return EXIT_FAILED;
	if (i > 0)
		return EXIT_DONE;
	return as_json ? control_print(answer) : print_list(answer);
}

int cmd_schedule(int argc, char **argv)
{
	static const struct option longopts[] = {{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'}, {"when", required_argument, NULL, 'w'},
		{"tz", required_argument, NULL, 'z'},
		{"splay", required_argument, NULL, 's'}, {"full", no_argument, NULL, 'f'},
		{"incremental", no_argument, NULL, 'i'},
		{"package", required_argument, NULL, 'p'},
		{"prefetch", required_argument, NULL, 'P'},
		{"rate", required_argument, NULL, 'r'}, {0}};
	AUTO_JSON cJSON *request = control_request("");
	struct arguments a CLEANUP(arguments_release) = {
		.request = request, .packages = BUFFER_INIT(64 * 1024)};

	if (!request)
		return EXIT_FAILED;
	int status = cli_options(argc, argv, longopts, help, take_option, &a);

	if (status != CLI_GO_ON)
		return status;
	if (buffer_add(&a.packages, "", 1) < 0 ||
		!cJSON_AddStringToObject(
			request, "packages", (const char *)a.packages.data))
		return EXIT_FAILED;
	if (argc - optind < 2 || argc - optind > 3)
		return cli_usage_error("schedule",
			"list, add, remove, disable or enable, and a mountpoint are "
			"wanted");
	return ask(argv[optind], argv[optind + 1],
		argc - optind == 3 ? argv[optind + 2] : NULL, request, a.as_json);
}
