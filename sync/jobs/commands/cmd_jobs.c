/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"
#include "cache/base/disk/io.h"
#include "sync/jobs/commands/commands.h"
#include "sync/jobs/records/record_json.h"
#include "sync/watch/control_verbs.h"

#include <inttypes.h>
#include <string.h>

static const char jobs_help[] =
	"usage: depotfs jobs MOUNTPOINT [--json]\n"
	"\n"
	"Lists what runs, what waits, and when schedules run next.\n";

static const char job_help[] =
	"usage: depotfs job show MOUNTPOINT RUN [--json]\n"
	"       depotfs job cancel MOUNTPOINT RUN\n"
	"\n"
	"Shows one run and how far it has come, or ends it. What it has fetched stays.\n";

static void print_globs(const cJSON *run)
{
	const cJSON *globs = cJSON_GetObjectItemCaseSensitive(run, "packages");
	const cJSON *glob;

	if (cJSON_GetArraySize(globs) == 0)
		printf("everything");
	cJSON_ArrayForEach(glob, globs)
		printf("%s%s", glob == globs->child ? "" : " ", glob->valuestring);
}

static void print_run(const cJSON *run)
{
	const cJSON *p = cJSON_GetObjectItemCaseSensitive(run, "progress");
	double total = control_number(p, "bytes_total", 0);

	printf("%6.0f  %-9s  %-20s %-15s ", control_number(run, "run", 0),
		control_text(run, "state", "?"), control_text(run, "job", "?"),
		record_mode_text(run));
	print_globs(run);
	if (p)
		printf("  %s", control_text(p, "phase", ""));
	if (total > 0)
		printf(" %s of %s", cli_bytes(control_number(p, "bytes_done", 0)).text,
			cli_bytes(total).text);
	printf("\n");
}

static int print_jobs(const cJSON *answer)
{
	const cJSON *item;
	bool is_first = true;

	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(answer, "runs"))
	{
		if (is_first)
			printf("   run  state      job                  mode            "
			       "packages\n");
		is_first = false;
		print_run(item);
	}
	if (is_first)
		printf("nothing runs and nothing waits\n");
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(answer, "next"))
		printf("next: %s at %s\n", control_text(item, "name", "?"),
			control_text(item, "at", "never"));
	if (!control_is_true(answer, "window_open"))
		printf("background work pauses until the window opens at %s\n",
			control_text(answer, "window_changes", "?"));
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int cmd_jobs(int argc, char **argv)
{
	bool as_json = false;
	int status = cli_plain_options(argc, argv, jobs_help, &as_json);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 1)
		return cli_usage_error("jobs", "a mountpoint is wanted");
	AUTO_JSON cJSON *request = control_request("jobs");
	AUTO_JSON cJSON *answer = NULL;

	if (control_ask(argv[optind], request, &answer) < 0)
		return EXIT_FAILED;
	return as_json ? control_print(answer) : print_jobs(answer);
}

static int print_job(const cJSON *run)
{
	static const struct {
		const char *name;
		const char *label;
	} numbers[] = {{"added", "added"}, {"changed", "changed"}, {"removed", "removed"},
		{"kept_stale", "kept as stale"}, {"skipped", "skipped"},
		{"errors", "errors"}};

	print_run(run);
	printf("queued %s, started %s, ended %s\n", control_text(run, "queued", "-"),
		control_text(run, "start", "-"), control_text(run, "end", "-"));
	printf("revision %.0f to %.0f\n", control_number(run, "revision_before", 0),
		control_number(run, "revision_after", 0));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		printf("%-14s %.0f\n", numbers[i].label,
			control_number(run, numbers[i].name, 0));
	printf("%-14s %s\n%-14s %s\n", "fetched",
		cli_bytes(control_number(run, "bytes_fetched", 0)).text, "re-used",
		cli_bytes(control_number(run, "bytes_reused", 0)).text);
	if (*control_text(run, "message", ""))
		printf("%s\n", control_text(run, "message", ""));
	if (control_text(run, "next_attempt", NULL))
		printf("next attempt   %s\n", control_text(run, "next_attempt", "?"));
	const cJSON *paths = cJSON_GetObjectItemCaseSensitive(run, "skipped_paths");
	const cJSON *path;

	cJSON_ArrayForEach(path, paths) record_print_skipped(path);
	double more = control_number(run, "skipped", 0) - cJSON_GetArraySize(paths);

	if (more > 0)
		printf("and %.0f more: 'depotfs history' tells of up to 1000\n", more);
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* job VERB MOUNTPOINT RUN: options were taken out. */
static int ask_job(const char *verb, const char *mountpoint, const char *id, bool as_json)
{
	bool is_cancel = strcmp(verb, "cancel") == 0;
	AUTO_JSON cJSON *request = control_request(is_cancel ? "job-cancel" : "job");
	AUTO_JSON cJSON *answer = NULL;
	unsigned long long number;

	if (!is_cancel && strcmp(verb, "show") != 0)
		return cli_usage_error("job", "'show' or 'cancel' is wanted");
	if (io_parse_u64(id, &number) < 0)
		return cli_usage_error("job", "%s is not the number of a run", id);
	cJSON_AddNumberToObject(request, "run", (double)number);
	if (control_ask(mountpoint, request, &answer) < 0)
		return EXIT_FAILED;
	if (is_cancel)
		return EXIT_DONE;
	return as_json ? control_print(answer) : print_job(answer);
}

int cmd_job(int argc, char **argv)
{
	bool as_json = false;
	int status = cli_plain_options(argc, argv, job_help, &as_json);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 3)
		return cli_usage_error("job",
			"show or cancel, a mountpoint and a run's number are wanted");
	return ask_job(argv[optind], argv[optind + 1], argv[optind + 2], as_json);
}
