/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"
#include "cache/base/log.h"
#include "sync/jobs/commands/window_notice.h"
#include "sync/jobs/progress/progress_show.h"
#include "sync/jobs/records/record_json.h"
#include "sync/upkeep/commands.h"
#include "sync/upkeep/mount_place.h"
#include "sync/watch/control.h"
#include "sync/watch/control_verbs.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define LOOK_MS 200

enum option_flags { HAS_DEEP = 1, HAS_FORCE = 2, HAS_LIST = 4, HAS_TASK = 8 };

struct upkeep_command {
	const char *verb;
	const char *help;
	unsigned int options;
};

static const struct upkeep_command pin_command = {"pin",
	"usage: depotfs pin PATH... [--no-wait] [--json]\n"
	"       depotfs pin --list PATH [--json]\n"
	"\n"
	"Keeps the files and directories at PATH, with all below, in the cache for ever, "
	"in\n"
	"whatever revision is shown, and fetches what is missing of them.\n"
	"\n"
	"  --list      what is pinned in the mount that PATH lies in\n"
	"  --no-wait   do not wait until everything is fetched\n"
	"  --json      the daemon's own words\n",
	HAS_LIST | HAS_TASK};

static const struct upkeep_command unpin_command = {"unpin",
	"usage: depotfs unpin PATH... [--json]\n"
	"\n"
	"Takes pins back. What was pinned stays in the cache as long as there is room.\n"
	"\n"
	"  --json      the daemon's own words\n",
	0};

static const struct upkeep_command prefetch_command = {"prefetch",
	"usage: depotfs prefetch PATH... [--no-wait] [--json]\n"
	"\n"
	"Fetches the content of the files at and below PATH into the cache.\n"
	"\n"
	"  --no-wait   do not wait until everything is fetched\n"
	"  --json      the daemon's own words\n",
	HAS_TASK};

static const struct upkeep_command evict_command = {"evict",
	"usage: depotfs evict PATH... [--force] [--no-wait] [--json]\n"
	"\n"
	"Removes the content of the files at and below PATH from the cache; it is "
	"fetched\n"
	"again when it is read. Content that other paths share goes too, unless it is "
	"pinned.\n"
	"\n"
	"  --force     what is pinned, too\n"
	"  --no-wait   do not wait for the end\n"
	"  --json      the daemon's own words\n",
	HAS_FORCE | HAS_TASK};

static const struct upkeep_command verify_command = {"verify",
	"usage: depotfs verify PATH... [--deep] [--no-wait] [--json]\n"
	"\n"
	"Checks the cached content of the files at and below PATH: its size, or every "
	"byte.\n"
	"What is damaged is removed, to be fetched again, and makes the exit status 3.\n"
	"\n"
	"  --deep      compare every byte with its digest\n"
	"  --no-wait   do not wait for the end\n"
	"  --json      the daemon's own words\n",
	HAS_DEEP | HAS_TASK};

struct arguments {
	const struct upkeep_command *command;
	bool as_json;
	bool is_deep;
	bool is_forced;
	bool is_list;
	bool no_wait;
};

static int take_option(void *arg, int option)
{
	static const struct {
		int option;
		unsigned int needs;
	} needs[] = {{'d', HAS_DEEP}, {'f', HAS_FORCE}, {'l', HAS_LIST}, {'n', HAS_TASK}};
	struct arguments *a = arg;

	for (size_t i = 0; i < ARRAY_SIZE(needs); i++)
		if (needs[i].option == option && !(a->command->options & needs[i].needs))
			return -1;
	a->as_json |= option == 'j';
	a->is_deep |= option == 'd';
	a->is_forced |= option == 'f';
	a->is_list |= option == 'l';
	a->no_wait |= option == 'n';
	return 0;
}

/* CLI_GO_ON, or an exit status. */
static int parse(int argc, char **argv, struct arguments *out)
{
	static const struct option longopts[] = {{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'}, {"deep", no_argument, NULL, 'd'},
		{"force", no_argument, NULL, 'f'}, {"list", no_argument, NULL, 'l'},
		{"no-wait", no_argument, NULL, 'n'}, {0}};
	int status =
		cli_options(argc, argv, longopts, out->command->help, take_option, out);

	if (status == CLI_GO_ON && optind == argc)
		return cli_usage_error(out->command->verb, "a path in a mount is wanted");
	return status;
}

/* Adds what the paths are called in their mount, which must be one. 0 or -errno (logged). */
static int add_paths(cJSON *request, char **paths, int count, char mountpoint[PATH_MAX])
{
	cJSON *list = cJSON_AddArrayToObject(request, "paths");

	for (int i = 0; i < count; i++) {
		struct mount_place place;
		int r = mount_place_of(paths[i], &place);

		if (r < 0)
			return log_error_errno(
				r, "cannot find %s: %s", paths[i], log_strerror(r));
		if (i == 0)
			(void)snprintf(mountpoint, PATH_MAX, "%s", place.mountpoint);
		else if (strcmp(mountpoint, place.mountpoint) != 0)
			return log_error_errno(-EXDEV,
				"%s and %s lie in two mounts: ask for one at a time",
				paths[0], paths[i]);
		cJSON_AddItemToArray(list, cJSON_CreateString(place.path));
	}
	return 0;
}

static cJSON *ask_task(const char *mountpoint, double id)
{
	AUTO_JSON cJSON *request = control_request("task");
	cJSON *task = NULL;

	cJSON_AddNumberToObject(request, "task", id);
	return control_ask(mountpoint, request, &task) < 0 ? NULL : task;
}

static bool is_over(const cJSON *task)
{
	const char *state = control_text(task, "state", "");

	return strcmp(state, "queued") != 0 && strcmp(state, "running") != 0;
}

static bool is_fetching(const char *verb)
{
	return strcmp(verb, "pin") == 0 || strcmp(verb, "prefetch") == 0;
}

/* Says so if it waits for a window, as the task before it may. */
static void tell_window(
	struct progress_show *progress, struct window_notice *notice, const cJSON *task)
{
	const char *verb = control_text(task, "verb", "");
	const char *behind = control_text(task, "behind", "");
	double total = control_number(task, "bytes_total", 0);
	double done = control_number(task, "bytes_fetched", 0) +
		      control_number(task, "bytes_reused", 0);
	struct window_wait wait;
	char how_far[64];

	if (!is_fetching(*behind ? behind : verb) || (!*behind && done >= total))
		return;
	(void)snprintf(how_far, sizeof(how_far), "%s %.0f of %.0f", behind, done, total);
	if (!window_notice_look(notice, how_far, &wait))
		return;
	progress_show_end(progress);
	log_info("%s waits for a %s%s: background fetching pauses, %s. To go on at once, "
		 "change the windows and 'depotfs reload %s'; what is read comes at once",
		verb, behind, *behind ? ", which waits for a window" : "window",
		wait.until, notice->mountpoint);
}

/* The task as it ended; NULL if the daemon cannot be asked any more. */
static cJSON *wait_for(const char *mountpoint, double id)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
	struct window_notice notice = {.mountpoint = mountpoint};
	struct progress_show progress;
	cJSON *task;

	progress_show_begin(&progress, stderr);
	while ((task = ask_task(mountpoint, id)) && !is_over(task)) {
		double total = control_number(task, "bytes_total", 0);

		if (total > 0)
			progress_show_set(&progress, "fetching",
				(uint64_t)(control_number(task, "bytes_fetched", 0) +
					   control_number(task, "bytes_reused", 0)),
				(uint64_t)total);
		tell_window(&progress, &notice, task);
		cJSON_Delete(task);
		(void)nanosleep(&pause, NULL);
	}
	progress_show_end(&progress);
	return task;
}

static void print_result(const cJSON *task)
{
	const char *verb = control_text(task, "verb", "");
	const cJSON *path;

	if (strcmp(verb, "evict") == 0)
		printf("%.0f removed, %s; %.0f pinned and kept\n",
			control_number(task, "removed", 0),
			cli_bytes(control_number(task, "removed_bytes", 0)).text,
			control_number(task, "kept", 0));
	else if (strcmp(verb, "verify") == 0)
		printf("%.0f checked, %.0f damaged and removed\n",
			control_number(task, "contents", 0),
			control_number(task, "damaged", 0));
	else
		printf("%.0f contents here, %s fetched, %s re-used\n",
			control_number(task, "contents_done", 0),
			cli_bytes(control_number(task, "bytes_fetched", 0)).text,
			cli_bytes(control_number(task, "bytes_reused", 0)).text);
	cJSON_ArrayForEach(path, cJSON_GetObjectItemCaseSensitive(task, "paths"))
	{
		if (!cJSON_IsString(path))
			continue;
		printf("%s ", strcmp(verb, "verify") == 0 ? "damaged" : "missing");
		record_print_path(stdout, path->valuestring);
		printf("\n");
	}
}

static int judge(const cJSON *task)
{
	const char *message = control_text(task, "message", "");

	if (strcmp(control_text(task, "state", ""), "done") != 0) {
		log_error("%s %s%s%s", control_text(task, "verb", ""),
			control_text(task, "state", "?"), *message ? ": " : "", message);
		return EXIT_FAILED;
	}
	return control_number(task, "damaged", 0) > 0 ? EXIT_SHORT : EXIT_DONE;
}

static int follow(const char *mountpoint, const cJSON *started, const struct arguments *a)
{
	if (a->no_wait)
		return a->as_json ? control_print(started) : EXIT_DONE;
	AUTO_JSON cJSON *task = wait_for(mountpoint, control_number(started, "task", 0));

	if (!task)
		return EXIT_FAILED;
	if (a->as_json)
		(void)control_print(task);
	else
		print_result(task);
	return fflush(stdout) == 0 ? judge(task) : EXIT_FAILED;
}

static int print_pins(const cJSON *answer)
{
	const cJSON *pin;

	cJSON_ArrayForEach(pin, cJSON_GetObjectItemCaseSensitive(answer, "pins"))
	{
		if (!cJSON_IsString(pin))
			continue;
		printf("/");
		record_print_path(stdout, pin->valuestring);
		printf("\n");
	}
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int run(const struct upkeep_command *command, int argc, char **argv)
{
	AUTO_JSON cJSON *request = NULL;
	AUTO_JSON cJSON *answer = NULL;
	struct arguments a = {.command = command};
	char mountpoint[PATH_MAX];
	int status = parse(argc, argv, &a);

	if (status != CLI_GO_ON)
		return status;
	request = control_request(a.is_list ? "pins" : command->verb);
	cJSON_AddBoolToObject(request, "deep", a.is_deep);
	cJSON_AddBoolToObject(request, "force", a.is_forced);
	if (add_paths(request, argv + optind, argc - optind, mountpoint) < 0)
		return EXIT_FAILED;
	char *text = cJSON_PrintUnformatted(request);
	bool is_long = !text || strlen(text) >= CONTROL_REQUEST_MAX;

	cJSON_free(text);
	if (is_long)
		return cli_usage_error(
			command->verb, "too many paths at once: name directories");
	if (control_ask(mountpoint, request, &answer) < 0)
		return EXIT_FAILED;
	if ((command->options & HAS_TASK) && !a.is_list)
		return follow(mountpoint, answer, &a);
	if (a.as_json)
		return control_print(answer);
	return a.is_list ? print_pins(answer) : EXIT_DONE;
}

int cmd_pin(int argc, char **argv)
{
	return run(&pin_command, argc, argv);
}

int cmd_unpin(int argc, char **argv)
{
	return run(&unpin_command, argc, argv);
}

int cmd_prefetch(int argc, char **argv)
{
	return run(&prefetch_command, argc, argv);
}

int cmd_evict(int argc, char **argv)
{
	return run(&evict_command, argc, argv);
}

int cmd_verify(int argc, char **argv)
{
	return run(&verify_command, argc, argv);
}
