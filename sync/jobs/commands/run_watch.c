/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/commands/run_watch.h"

#include "cache/base/cli.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "sync/jobs/commands/window_notice.h"
#include "sync/jobs/progress/progress_show.h"
#include "sync/jobs/records/record_json.h"
#include "sync/watch/control_verbs.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define LOOK_MS 200

/* What the daemon says of the run; NULL after a line in the log. */
static cJSON *ask(const char *mountpoint, double id)
{
	AUTO_JSON cJSON *request = control_request("job");
	cJSON *run = NULL;

	cJSON_AddNumberToObject(request, "run", id);
	return control_ask(mountpoint, request, &run) < 0 ? NULL : run;
}

static bool is_over(const cJSON *run)
{
	const char *state = control_text(run, "state", "");

	return strcmp(state, "queued") != 0 && strcmp(state, "running") != 0;
}

static void show(struct progress_show *progress, const cJSON *run)
{
	const cJSON *p = cJSON_GetObjectItemCaseSensitive(run, "progress");

	progress_show_set(progress, control_text(p, "phase", "waiting"),
		(uint64_t)control_number(p, "bytes_done", 0),
		(uint64_t)control_number(p, "bytes_total", 0));
}

/* Says so if it waits for a window, as the run before it may. */
static void tell_window(struct progress_show *progress, struct window_notice *notice,
	double id, const cJSON *run)
{
	const cJSON *p = cJSON_GetObjectItemCaseSensitive(run, "progress");
	struct window_wait wait;
	char how_far[64];
	char behind[64] = "";

	(void)snprintf(how_far, sizeof(how_far), "%s %.0f", control_text(p, "phase", ""),
		control_number(p, "bytes_done", 0));
	if (!window_notice_look(notice, how_far, &wait))
		return;
	if (wait.run != id)
		(void)snprintf(behind, sizeof(behind), "run %.0f waits for run %.0f; ",
			id, wait.run);
	progress_show_end(progress);
	log_info(
		"%srun %.0f waits for a window: background fetching pauses, %s. To go on "
		"at once: 'depotfs job cancel %s %.0f', then the sync with --prefetch "
		"none; or change the windows and 'depotfs reload %s'",
		behind, wait.run, wait.until, notice->mountpoint, wait.run,
		notice->mountpoint);
}

/* The run as it ended; NULL if the daemon cannot be asked any more. */
static cJSON *wait_for(const char *mountpoint, double id, bool is_shown)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
	struct window_notice notice = {.mountpoint = mountpoint, .is_for_run = true};
	struct progress_show progress;
	cJSON *run;

	progress_show_begin(&progress, stderr);
	while ((run = ask(mountpoint, id)) && !is_over(run)) {
		if (is_shown)
			show(&progress, run);
		tell_window(&progress, &notice, id, run);
		cJSON_Delete(run);
		(void)nanosleep(&pause, NULL);
	}
	progress_show_end(&progress);
	return run;
}

static int judge(const cJSON *run)
{
	const char *message = control_text(run, "message", "");

	if (strcmp(control_text(run, "state", ""), "done") == 0) {
		/* a hook behind it has failed, or not all could be fetched ahead */
		if (*message)
			log_warn("run %.0f is done, but: %s",
				control_number(run, "run", 0), message);
		return EXIT_DONE;
	}
	log_error("run %.0f %s%s%s", control_number(run, "run", 0),
		control_text(run, "state", "?"), *message ? ": " : "", message);
	return EXIT_FAILED;
}

int run_watch(const char *mountpoint, double id)
{
	AUTO_JSON cJSON *run = wait_for(mountpoint, id, true);

	if (!run)
		return EXIT_FAILED;
	printf("revision %.0f: %.0f added, %.0f changed, %.0f removed, %.0f kept as "
	       "stale, "
	       "%.0f skipped; %s fetched, %s re-used\n",
		control_number(run, "revision_after", 0), control_number(run, "added", 0),
		control_number(run, "changed", 0), control_number(run, "removed", 0),
		control_number(run, "kept_stale", 0), control_number(run, "skipped", 0),
		cli_bytes(control_number(run, "bytes_fetched", 0)).text,
		cli_bytes(control_number(run, "bytes_reused", 0)).text);
	if (fflush(stdout))
		return EXIT_FAILED;
	return judge(run);
}

/* One page of the plan; *at moves on, and stays where there is no more. */
static int print_page(const char *mountpoint, double id, double *at)
{
	AUTO_JSON cJSON *request = control_request("changes");
	AUTO_JSON cJSON *answer = NULL;
	const cJSON *change;

	cJSON_AddNumberToObject(request, "run", id);
	cJSON_AddNumberToObject(request, "after", *at);
	int r = control_ask(mountpoint, request, &answer);

	if (r < 0)
		return r;
	cJSON_ArrayForEach(change, cJSON_GetObjectItemCaseSensitive(answer, "changes"))
	{
		AUTO_FREE char *path = record_path_of(change);

		printf("%-8s ", control_text(change, "what", "?"));
		record_print_path(stdout, path ? path : "?");
		printf("\n");
	}
	*at = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(answer, "changes"))
		      ? control_number(answer, "last", *at)
		      : -1;
	return 0;
}

int run_watch_plan(const char *mountpoint, double id)
{
	AUTO_JSON cJSON *run = wait_for(mountpoint, id, false);
	int status = run ? judge(run) : EXIT_FAILED;
	double at = 0;

	while (status == EXIT_DONE && at >= 0)
		if (print_page(mountpoint, id, &at) < 0)
			status = EXIT_FAILED;
	if (status != EXIT_DONE)
		return status;
	printf("%.0f added, %.0f changed, %.0f removed, %.0f kept as stale; nothing was "
	       "changed\n",
		control_number(run, "added", 0), control_number(run, "changed", 0),
		control_number(run, "removed", 0), control_number(run, "kept_stale", 0));
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}
