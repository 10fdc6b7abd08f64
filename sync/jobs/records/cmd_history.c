/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"
#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "sync/jobs/progress/progress_bar.h"
#include "sync/jobs/records/commands.h"
#include "sync/jobs/records/history.h"
#include "sync/jobs/records/record_json.h"

#include <stdbool.h>
#include <string.h>

static const char help[] =
	"usage: depotfs history MOUNTPOINT [--limit N] [--json]\n"
	"       depotfs history MOUNTPOINT --run ID [--changes] [--json]\n"
	"\n"
	"Lists the mirror's runs, newest first, or tells all of one of them.\n"
	"\n"
	"  --limit N    the newest N only (20)\n"
	"  --run ID     one run, with what it could not do and why\n"
	"  --changes    and each path that it changed\n"
	"  --json       the daemon's own words\n";

struct arguments {
	const char *mountpoint;
	unsigned long long limit;
	unsigned long long run; /* 0: list them */
	bool has_changes;
	bool as_json;
};

/* Asks for `verb` with up to two numbers; *out is the caller's. 0 or -errno (logged). */
static int ask(const struct arguments *a, const char *verb, const char *first_name,
	double first, const char *second_name, double second, cJSON **out)
{
	AUTO_JSON cJSON *request = control_request(verb);

	cJSON_AddNumberToObject(request, first_name, first);
	if (second_name)
		cJSON_AddNumberToObject(request, second_name, second);
	return control_ask(a->mountpoint, request, out);
}

/* 2026-03-01T12:00:00Z as it is read by people; "-" if there is none. */
static void short_time(const cJSON *run, const char *name, char out[32])
{
	const char *text = control_text(run, name, NULL);

	(void)snprintf(out, 32, "%s", text ? text : "-");
	if (strlen(out) == strlen("2026-03-01T12:00:00Z")) {
		out[10] = ' ';
		out[19] = '\0';
	}
}

static void print_row(const cJSON *run)
{
	char start[32];
	char revision[48];

	short_time(run, control_text(run, "start", NULL) ? "start" : "queued", start);
	(void)snprintf(revision, sizeof(revision), "%.0f-%.0f",
		control_number(run, "revision_before", 0),
		control_number(run, "revision_after", 0));
	printf("%6.0f  %-19s  %-9s  %-15s  %-12s  %9s  %7.0f  %7.0f  %7.0f  %9s  %s\n",
		control_number(run, "run", 0), start, control_text(run, "state", "?"),
		record_mode_text(run), control_text(run, "job", ""), revision,
		control_number(run, "added", 0), control_number(run, "changed", 0),
		control_number(run, "removed", 0),
		cli_bytes(control_number(run, "bytes_fetched", 0)).text,
		control_text(run, "message", ""));
}

static int list_runs(const struct arguments *a)
{
	AUTO_JSON cJSON *answer = NULL;
	const cJSON *run;

	if (ask(a, "history", "limit", (double)a->limit, NULL, 0, &answer) < 0)
		return EXIT_FAILED;
	if (a->as_json)
		return control_print(answer);
	printf("%6s  %-19s  %-9s  %-15s  %-12s  %9s  %7s  %7s  %7s  %9s\n", "RUN",
		"START (UTC)", "STATE", "MODE", "JOB", "REVISION", "ADDED", "CHANGED",
		"REMOVED", "FETCHED");
	cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(answer, "runs"))
		print_row(run);
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static void print_item(const cJSON *item, const char *word)
{
	AUTO_FREE char *path = record_path_of(item);

	printf("%-9s ", control_text(item, word, "?"));
	record_print_path(stdout, path ? path : "");
	(void)putchar('\n');
}

/* All pages of a run's list, each item printed as it comes: there may be a million. */
static int print_list(const struct arguments *a, const char *verb)
{
	bool is_changes = strcmp(verb, "changes") == 0;
	bool is_first = true;
	double after = 0;

	for (;;) {
		AUTO_JSON cJSON *page = NULL;
		const cJSON *item;

		if (ask(a, verb, "run", (double)a->run, "after", after, &page) < 0)
			return -1;
		const cJSON *items = cJSON_GetObjectItemCaseSensitive(page, verb);

		if (!cJSON_GetArraySize(items))
			return 0;
		cJSON_ArrayForEach(item, items)
		{
			if (a->as_json) {
				char *text = cJSON_PrintUnformatted(item);

				printf("%s%s", is_first ? "\n" : ",\n",
					text ? text : "null");
				cJSON_free(text);
			} else if (is_changes) {
				print_item(item, "what");
			} else {
				record_print_skipped(item);
			}
			is_first = false;
		}
		after = control_number(page, "last", 0);
	}
}

static void print_run(const cJSON *run)
{
	static const char *const numbers[] = {"revision_before", "revision_after",
		"added", "changed", "removed", "kept_stale", "skipped", "errors"};
	char text[32];
	const cJSON *glob;

	printf("run              %.0f, %s, %s%s, by %s\n", control_number(run, "run", 0),
		control_text(run, "job", ""), record_mode_text(run),
		control_is_true(run, "deep") ? ", deep" : "",
		control_text(run, "trigger", "?"));
	printf("state            %s\n", control_text(run, "state", "?"));
	cJSON_ArrayForEach(glob, cJSON_GetObjectItemCaseSensitive(run, "packages"))
		printf("packages         %s\n",
			cJSON_IsString(glob) ? glob->valuestring : "?");
	printf("prefetch         %s\n", control_text(run, "prefetch", ""));
	short_time(run, "queued", text);
	printf("queued           %s\n", text);
	short_time(run, "start", text);
	printf("start            %s\n", text);
	short_time(run, "end", text);
	printf("end              %s\n", text);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		printf("%-16s %.0f\n", numbers[i], control_number(run, numbers[i], 0));
	printf("fetched          %s\n",
		cli_bytes(control_number(run, "bytes_fetched", 0)).text);
	printf("re-used          %s\n",
		cli_bytes(control_number(run, "bytes_reused", 0)).text);
	if (*control_text(run, "message", ""))
		printf("message          %s\n", control_text(run, "message", ""));
}

/* The run's object, with its lists added as they come. */
static int print_run_json(const struct arguments *a, const cJSON *run)
{
	char *text = cJSON_PrintUnformatted(run);
	int r = text ? 0 : -1;

	/* all but the closing brace */
	if (text)
		printf("%.*s", (int)strlen(text) - 1, text);
	cJSON_free(text);
	if (r == 0 && a->has_changes) {
		printf(",\"changes\":[");
		r = print_list(a, "changes");
		printf("]");
	}
	if (r == 0) {
		printf(",\"skipped_paths\":[");
		r = print_list(a, "skipped");
		printf("]}\n");
	}
	return r;
}

static int tell_run(const struct arguments *a)
{
	AUTO_JSON cJSON *answer = NULL;

	if (ask(a, "history", "run", (double)a->run, NULL, 0, &answer) < 0)
		return EXIT_FAILED;
	const cJSON *run =
		cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(answer, "runs"), 0);
	int r;

	if (a->as_json) {
		r = print_run_json(a, run);
	} else {
		print_run(run);
		r = a->has_changes ? print_list(a, "changes") : 0;
		if (r == 0)
			r = print_list(a, "skipped");
	}
	return r < 0 || fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int take_option(void *arg, int option)
{
	struct arguments *a = arg;

	switch (option) {
	case 'l':
		return io_parse_u64(optarg, &a->limit) < 0 || a->limit == 0
			       ? cli_usage_error("history", "--limit: a number is wanted")
			       : 0;
	case 'r':
		return io_parse_u64(optarg, &a->run) < 0 || a->run == 0
			       ? cli_usage_error(
					 "history", "--run: a run's number is wanted")
			       : 0;
	default:
		a->as_json |= option == 'j';
		a->has_changes |= option == 'c';
		return 0;
	}
}

int cmd_history(int argc, char **argv)
{
	static const struct option longopts[] = {{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'}, {"limit", required_argument, NULL, 'l'},
		{"run", required_argument, NULL, 'r'},
		{"changes", no_argument, NULL, 'c'}, {0}};
	struct arguments a = {.limit = HISTORY_LIMIT};
	int status = cli_options(argc, argv, longopts, help, take_option, &a);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 1)
		return cli_usage_error("history", "a mountpoint is wanted");
	if (a.has_changes && !a.run)
		return cli_usage_error("history", "--changes wants --run ID");
	a.mountpoint = argv[optind];
	return a.run ? tell_run(&a) : list_runs(&a);
}
